"""Interactions for people: a matrix for each direction, and the pairs that interact most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from takeback.component import Component
from takeback.draw.columns import Column, table_of
from takeback.draw.heatmap import Cell, Ends, limit_of
from takeback.draw.matrix import matrix
from takeback.draw.numbers import ABSENT, interval, number, percent, short, span
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.findings.localise.pairs import Pairs
from takeback.findings.localise.shares import TAKE_BACK
from takeback.findings.sweep.run import DIRECTIONS
from takeback.run.tables import records

TOP = 8
"""Pairs that are listed for each measure and direction: those that interact most."""

MOST_DRAWN = 10
"""Components that a matrix is drawn of: those with the strongest interactions."""

_DONE = {TAKE_BACK: ("taken back", "lose"), DIRECTIONS[1]: ("grafted", "bring")}
_NOTES = (
    "Shares of the change from base to tuned. An interaction is what two components carry together beyond "
    "the sum of what each carries alone. Positive when taken back, negative when grafted: they stand in for "
    "each other. Negative when taken back, positive when grafted: they need each other.",
    "Intervals hold for all pairs of a direction together (Bonferroni). p ranks a pair's magnitude among the "
    "others of the same two kinds, its controls, not corrected for the number of pairs.",
)


@section_of.register
def _(found: Pairs) -> Section:
    """Draw the matrices and list the strongest pairs."""
    lanes = [(measure, direction) for measure in found.changes["measure"] for direction in DIRECTIONS]
    return Section(
        "Interactions",
        tuple(_sentences(found)),
        tuple(_matrix(found.rows(*lane), *lane) for lane in lanes),
        tuple(_strongest(found, *lane, TOP) for lane in lanes),
        tuple((f"All pairs: {', '.join(lane)}", _strongest(found, *lane)) for lane in lanes),
        _NOTES,
    )


def _sentences(found: Pairs) -> Iterator[str]:
    for measure in found.changes["measure"]:
        for direction, (done, do) in _DONE.items():
            rows = found.rows(measure, direction)
            best = records(rows)[0]
            above, below = int((rows["low"] > 0).sum()), int((rows["high"] < 0).sum())
            again = found.reproduced(measure, direction)
            yield (
                f"{measure}, {done}: {best['a']} and {best['b']} {do} {percent(best['alone_a'])} and "
                f"{percent(best['alone_b'])} of the change alone and {percent(best['together'])} together. "
                f"Of {len(rows)} interactions {above} lie above 0 and {below} below; between the two halves "
                f"of the situations they correlate at {ABSENT if again is None else number(again, 2)} "
                "(chance: 0)."
            )


def _matrix(rows: pd.DataFrame, measure: str, direction: str) -> Figure:
    ordered = rows.reindex(rows["interaction"].abs().sort_values(ascending=False, kind="stable").index)
    chosen: list[str] = []
    for row in records(ordered):
        chosen += [name for name in (row["a"], row["b"]) if name not in chosen]
    names = sorted(chosen[:MOST_DRAWN], key=lambda name: Component.parse(name).place())
    cells = {
        pair: Cell(row["interaction"], _tooltip(row), short(100 * row["interaction"], 1))
        for row in records(rows)
        for pair in ((row["a"], row["b"]), (row["b"], row["a"]))
        if set(pair) <= set(names)
    }
    most = limit_of(cell.value for cell in cells.values())
    ends = Ends(most, percent(most, 1), percent(-most, 1))
    done, _ = _DONE[direction]
    drawn = (
        f"the {len(names)} components that interact most" if len(chosen) > len(names) else "all components"
    )
    return Figure.of(
        f"Interactions when {done}: {measure}",
        matrix(names, cells, ends, "diverging", f"interactions when {done}, {measure}"),
        f"In percent of the change; {drawn}.",
    )


def _tooltip(row: dict[str, Any]) -> str:
    return (
        f"{row['a']} {percent(row['alone_a'])}, {row['b']} {percent(row['alone_b'])}, together "
        f"{percent(row['together'])}: {number(row['interaction'])} {interval(row['low'], row['high'])}"
    )


def _strongest(found: Pairs, measure: str, direction: str, most: int | None = None) -> Table:
    return table_of(
        found.rows(measure, direction)[:most],
        Column(f"{_DONE[direction][0]}: a", None, "a"),
        Column("b"),
        Column("a alone", percent, "alone_a"),
        Column("b alone", percent, "alone_b"),
        Column("together", percent),
        Column("interaction", percent),
        Column("interval", span, "low", "high"),
        Column("p", number),
    )
