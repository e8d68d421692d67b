"""Retargeting for people: the smallest sets, and what they do to the goal, to legality and to other goals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from takeback.draw.numbers import count, interval, number, percent, share, signed
from takeback.draw.page import Section, Table
from takeback.draw.terminal import print_tables
from takeback.run.tables import records

if TYPE_CHECKING:
    from takeback.findings.localise.retarget import Retargeted

_HEAD = (
    "order",
    "components",
    "measure",
    "before",
    "with the set",
    "the other model",
    "effect",
    "95% interval",
)
_WORDS = ("order", "measure")
_NOTE = (
    "Sets are chosen on half of the situations and told on the other half. Random sets have as many "
    "components of each kind, from the same model; p is the rank among them. Intervals are over situations "
    "of these runs."
)


def as_section(found: Retargeted) -> Section:
    """Show what the smallest sets are and what they do."""
    return Section(
        title=found.title,
        words=tuple(_sentences(found)),
        tables=(_table(found),),
        folded=(("How each order got there", _steps(found)),),
        notes=(_NOTE,),
    )


def print_retarget(found: Retargeted) -> None:
    """Print what the smallest sets are and what they do."""
    print_tables(found.title, _sentences(found), [_table(found)])


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
    return Table(_HEAD, tuple(map(_row, records(found.table))), _WORDS)


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["order"],
        str(row["n_components"]),
        row["measure"],
        number(row["tuned"]),
        number(row["hybrid"]),
        number(row["other"]),
        signed(row["effect"]),
        interval(row["effect_low"], row["effect_high"]),
    )


def _steps(found: Retargeted) -> Table:
    head = ("order", "components", "added", "share of the gain", "legal")
    rows = (
        (row["order"], str(row["step"]), row["added"], percent(row["selected"]), signed(row["legal"]))
        for row in records(found.steps)
    )
    return Table(head, tuple(rows), ("order", "added"))
