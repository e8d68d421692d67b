"""Published definitions for people: what their code prints, the number we would give, and what each hides."""

from __future__ import annotations

from takeback.draw.columns import Column, table_of
from takeback.draw.numbers import number
from takeback.draw.page import Section
from takeback.draw.result import section_of
from takeback.weights.published.published import Published

_COLUMNS = (
    Column("definition"),
    Column("scope"),
    Column("published", number, "value", digits=4),
    Column("ours", number, digits=4),
    Column("what it hides, and what ours is", None, "hides"),
)


@section_of.register
def _(found: Published) -> Section:
    """Draw a table of the definitions of the whole model and what each hides, those of layers folded."""
    whole = found.table["scope"] == "whole"
    table, layers = table_of(found.table[whole], _COLUMNS), table_of(found.table[~whole], _COLUMNS[:4])
    words = (
        "What published code prints for this pair, and the number that we would put in its place.",
        "Published sparsity and rank are of both models rounded to bfloat16 and subtracted there.",
    )
    return Section(
        "Published definitions",
        words,
        tables=(table,),
        folded=(("The published number of each layer", layers),) if layers.rows else (),
        terminal=(table.only("definition", "published", "ours", "what it hides, and what ours is"),),
    )
