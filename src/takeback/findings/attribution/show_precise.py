"""Precise effects for people: what was reached, and every effect with its interval."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from takeback.draw.columns import Column, table_of, with_ends
from takeback.draw.forest import Dot, ForestRow, forest
from takeback.draw.numbers import count, interval, number, percent, signed
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.findings.attribution.precise import Precise
from takeback.run.tables import records

LISTED = 12
"""How many of a measure's largest effects are drawn and listed."""

_NOTE = (
    "Effects of taking a set back from tuned (taken back minus tuned). The intervals of all measures and "
    "sets hold together, wherever measuring stopped; none is narrower than asked. λ is what attribution "
    "counts: 1 taken as it is, 0 of no use. Exact alone: the same situations without it, by the same rule."
)


@section_of.register
def _(found: Precise) -> Section:
    """Draw the largest effects on each measure with their intervals; all are folded."""
    return Section(
        title="Effects to a precision",
        words=tuple(_sentences(found)),
        figures=tuple(_figure(str(measure), rows) for measure, rows in _largest(found)),
        tables=(_listed(pd.concat([rows for _, rows in _largest(found)])),),
        folded=(("All sets", _listed(found.table)),),
        notes=(_NOTE,),
    )


def _sentences(found: Precise) -> Iterator[str]:
    table, aim = found.table, found.aim
    reached, every = int(table["reached"].sum()), len(found.bench.situations)
    yield (
        f"{reached} of {count(len(table), 'effect')} are known to ±{number(aim.precision)}, all together "
        f"with {percent(aim.confidence)} confidence. Measured exactly in {number(table['n'].mean(), 0)} "
        f"situations on average, {table['n'].max()} at most, of {every}; attribution: {aim.method}."
    )
    if not table["reached"].all():
        yield "The others need more situations: all that there were have been measured."


def _largest(found: Precise) -> Iterator[tuple[str, pd.DataFrame]]:
    order = found.table["effect"].abs().sort_values(ascending=False, kind="stable").index
    for measure, rows in found.table.loc[order].groupby("measure", sort=False):
        yield str(measure), rows.head(LISTED)


def _figure(measure: str, rows: pd.DataFrame) -> Figure:
    dots: list[ForestRow] = []
    for row in records(rows):
        title = f"{row['set']}: {with_ends(row, 'effect', signed, 4)}"
        dots.append(ForestRow(row["set"], (Dot(row["effect"], row["low"], row["high"], title),)))
    picture = forest(dots, 0, f"effect on {measure}", None, f"effects on {measure} with their intervals")
    return Figure.of(measure, picture, "The largest effects. Lines: intervals that hold together.")


def _listed(rows: pd.DataFrame) -> Table:
    return table_of(
        rows,
        Column("measure"),
        Column("set"),
        Column("effect", signed, digits=4),
        Column("interval", interval, "low", "high", digits=4, words=True),
        Column("situations", str, "n"),
        Column("λ", number, "weight", digits=2),
        Column("exact alone", signed, "exact", digits=4),
        Column("its interval", interval, "exact_low", "exact_high", digits=4, words=True),
    )
