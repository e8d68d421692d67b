"""Precise effects for people: what was reached, and every effect with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from takeback.draw.forest import Dot, Row, forest
from takeback.draw.numbers import count, interval, number, percent, signed
from takeback.draw.page import Figure, Section, Table
from takeback.draw.terminal import print_tables
from takeback.run.tables import records

if TYPE_CHECKING:
    from takeback.findings.attribution.precise import Precise

LISTED = 12
"""How many of a measure's largest effects are drawn and listed."""

_TITLE = "Effects to a precision"
_HEAD = ("measure", "set", "effect", "interval", "situations", "λ", "exact alone", "its interval")
_WORDS = ("measure", "set", "interval", "its interval")
_NOTE = (
    "Effects of taking a set back from tuned (taken back minus tuned). The intervals of all measures and "
    "sets hold together, wherever measuring stopped; none is narrower than asked. λ is what attribution "
    "counts: 1 taken as it is, 0 of no use. Exact alone: the same situations without it, by the same rule."
)


def as_section(found: Precise) -> Section:
    """Draw the largest effects on each measure with their intervals; all are folded."""
    return Section(
        title=_TITLE,
        words=tuple(_sentences(found)),
        figures=tuple(_figure(str(measure), rows) for measure, rows in _largest(found)),
        tables=(_listed([rows for _, rows in _largest(found)]),),
        folded=(("All sets", _listed([found.table])),),
        notes=(_NOTE,),
    )


def print_precise(found: Precise) -> None:
    """Print what was reached, and the largest effects on each measure."""
    print_tables(_TITLE, _sentences(found), [_listed([rows for _, rows in _largest(found)])])


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
    dots = [
        Row(row["set"], (Dot(row["effect"], row["low"], row["high"], f"{row['set']}: {_effect(row)}"),))
        for row in records(rows)
    ]
    picture = forest(dots, 0, f"effect on {measure}", None, f"effects on {measure} with their intervals")
    return Figure.of(measure, picture, "The largest effects. Lines: intervals that hold together.")


def _effect(row: dict[str, float]) -> str:
    return f"{signed(row['effect'], 4)} {interval(row['low'], row['high'], 4)}"


def _listed(tables: Sequence[pd.DataFrame]) -> Table:
    cells = tuple(
        (
            str(row["measure"]),
            str(row["set"]),
            signed(row["effect"], 4),
            interval(row["low"], row["high"], 4),
            str(row["n"]),
            number(row["weight"], 2),
            signed(row["exact"], 4),
            interval(row["exact_low"], row["exact_high"], 4),
        )
        for rows in tables
        for row in records(rows)
    )
    return Table(_HEAD, cells, _WORDS)
