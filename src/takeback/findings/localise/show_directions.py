"""Directions for people: curves over k, those of random directions grey, and a table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from takeback.draw.columns import Column, ends_of, table_of, with_ends
from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.numbers import interval, number, range_of, signed
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.findings.localise.directions import LEADING, RANDOM, WITHOUT, DirectionCuts
from takeback.run.tables import records

_TITLES = {"only": "with only k directions", "without": "without k directions"}
_NOTE = (
    "Blue: leading singular directions, with 95% intervals over situations; grey: random ones, a line for "
    "each seed. Singular directions ignore the borders between heads. Computed in float32 or wider, not "
    "bit-exact."
)


@section_of.register
def _(found: DirectionCuts) -> Section:
    """Draw the measures over k, with and without the restored norm."""
    return Section(
        "Directions of the change",
        tuple(_sentences(found)),
        tuple(_figures(found)),
        (_by_k(found),),
        notes=(_NOTE,),
    )


def _sentences(found: DirectionCuts) -> Iterator[str]:
    """Compare leading directions with random ones at the smallest k."""
    table = found.table[~found.table["scaled"]]
    least = table.loc[table["k"] > 0, "k"].min()
    for measure, rows in table.groupby("measure", sort=False):
        cut = rows[(rows["k"] == least) & (rows["what"] == WITHOUT)]
        leading = records(cut[cut["directions"] == LEADING])[0]
        random = cut.loc[cut["directions"] == RANDOM, "effect"].dropna()
        beside = f", without {least} random by {number(float(random.mean()))}" if len(random) else ""
        yield (
            f"{measure}: without the {least} leading of each matrix it changes by "
            f"{with_ends(leading, 'effect')}{beside}."
        )


def _figures(found: DirectionCuts) -> Iterator[Figure]:
    for (measure, what), rows in found.table.groupby(["measure", "what"], sort=False):
        start = rows[rows["k"] == 0]
        for scaled, group in rows[rows["k"] > 0].groupby("scaled", sort=False):
            curves = [
                Series(-1, tuple(_points(pd.concat([start, one]), False)), quiet=True, mark_every=0)
                for _, one in group[group["directions"] == RANDOM].groupby("seed")
            ]
            leading = pd.concat([start, group[group["directions"] == LEADING]])
            curves.append(Series(0, tuple(_points(leading)), band=True))
            stretched = ", stretched to ‖Δ‖" if scaled else ""
            title = f"{measure}: change from tuned {_TITLES[str(what)]}{stretched}"
            axes = Axes("directions in each matrix", y_include=(0.0,), write_x=_tick)
            yield Figure.of(title, line_plot(curves, axes, title))


def _points(rows: pd.DataFrame, spread: bool = True) -> Iterator[Point]:
    for row in records(rows):
        if row["effect"] is not None:
            title = f"{row['k']} {row['directions']}: {with_ends(row, 'effect', signed)}"
            ends = ends_of(row, "effect") if spread else ()
            yield Point(_place(row["k"]), row["effect"], *ends, title=title)


def _place(k: int) -> float:
    """Return where k is drawn: by its logarithm, and 0 a doubling before 1."""
    return 1 + math.log2(k) if k else 0.0


def _tick(place: float) -> str:
    return f"{2 ** (place - 1):g}" if place else "0"


def _by_k(found: DirectionCuts) -> Table:
    """Return a row for each part of Δ: leading directions beside the range of the random ones."""
    rows: list[dict[str, Any]] = []
    for (*_, what, scaled, _), group in found.table.groupby(["measure", "what", "scaled", "k"], sort=False):
        random = group.loc[group["directions"] == RANDOM, "value"].dropna()
        leading = records(group[group["directions"] == LEADING])[0]
        part = f"{what}{', stretched' if scaled else ''}"
        rows.append({**leading, "part": part, "random": range_of(random)})
    return table_of(
        rows,
        Column("measure"),
        Column("part of Δ", None, "part"),
        Column("k", str),
        Column("leading", number, "value"),
        Column("95% interval", interval, "low", "high"),
        Column("random", str),
    )
