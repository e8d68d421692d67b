"""Retargeting for people: the smallest sets, and what they do to the goal, to legality and to other goals."""

from __future__ import annotations

from collections.abc import Iterator

from takeback.draw.columns import Column, table_of
from takeback.draw.numbers import count, interval, number, percent, share, signed
from takeback.draw.page import Section, Table
from takeback.draw.result import section_of
from takeback.findings.localise.retarget import Retargeted
from takeback.run.tables import records

_NOTE = (
    "Sets are chosen on half of the situations and told on the other half. Random sets have as many "
    "components of each kind, from the same model; p is the rank among them. Intervals are over situations "
    "of these runs."
)


@section_of.register
def _(found: Retargeted) -> Section:
    """Show what the smallest sets are and what they do."""
    return Section(
        title=found.title,
        words=tuple(_sentences(found)),
        tables=(_table(found),),
        folded=(("How each order got there", _steps(found)),),
        notes=(_NOTE,),
    )


def _sentences(found: Retargeted) -> Iterator[str]:
    for row in records(found.table.drop_duplicates("order")):
        if row["n_components"] == row["of"]:
            yield f"{row['order']}: nothing less than all components brings {percent(found.wanted)} lawfully."
            continue
        told = share(row["carried"], row["carried_low"], row["carried_high"])
        yield (
            f"{row['order']}: {count(row['n_components'], 'component')} of {row['of']} "
            f"({percent(row['parameters'])} of the parameters) bring {told} of the gain in {row['goal']}; "
            f"{count(row['controls'], 'random set')} {percent(row['controls_carried'])}, "
            f"p {number(row['p'], 2)}: {row['components']}"
        )


def _table(found: Retargeted) -> Table:
    return table_of(
        found.table,
        Column("order"),
        Column("components", str, "n_components"),
        Column("measure"),
        Column("before", number, "tuned"),
        Column("with the set", number, "hybrid"),
        Column("the other model", number, "other"),
        Column("effect", signed),
        Column("95% interval", interval, "effect_low", "effect_high"),
    )


def _steps(found: Retargeted) -> Table:
    return table_of(
        found.steps,
        Column("order"),
        Column("components", str, "step"),
        Column("added"),
        Column("share of the gain", percent, "selected"),
        Column("legal", signed),
    )
