"""Strength for people: a curve over the degrees for each set, its controls grey, and the barriers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from takeback.draw.columns import Column, ends_of, table_of, with_ends
from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.numbers import ABSENT, interval, number, range_of, signed
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.findings.localise.measured import matching
from takeback.findings.localise.strength import EVERYTHING, StrengthCurves, is_control
from takeback.run.tables import records

PANELS = 12
"""Sets that are drawn for each measure, in the order asked; the table has all."""

_NO_HILL = ("none", ABSENT, ABSENT)


@section_of.register
def _(found: StrengthCurves) -> Section:
    """Draw a curve for each set and measure, and tell the barriers."""
    return Section(
        "Strength",
        tuple(_sentences(found)),
        tuple(_figures(found.table)),
        (_barriers(found),),
        notes=(
            "Bands are 95% intervals over situations; grey: random sets that match, at the same degrees.",
            "The barrier is the largest loss (1 − measure) above the straight line between the two ends of a "
            "path; it is at least 0, since the ends lie on the line. Its interval ignores that the degree "
            "was chosen.",
        ),
    )


def _sentences(found: StrengthCurves) -> Iterator[str]:
    rows = found.barriers
    for row in records(rows[rows["set"] == EVERYTHING]):
        hill = f"a barrier of {with_ends(row, 'excess')} at degree {row['degree']:g}"
        crossed = hill if (row["excess_low"] or 0) > 0 else "no barrier that can be told from 0"
        yield f"{row['measure']}: the straight path from tuned to base crosses {crossed}."


def _figures(table: pd.DataFrame) -> Iterator[Figure]:
    real, random = table[~is_control(table)], table[is_control(table)]
    names = list(dict.fromkeys(real["set"]))[:PANELS]
    for (measure, name), rows in real[real["set"].isin(names)].groupby(["measure", "set"], sort=False):
        beside = matching(random[random["measure"] == measure], str(name))
        curves = [
            Series(-1, tuple(_points(one, False)), quiet=True, mark_every=0)
            for _, one in beside.groupby("set", sort=False)
        ]
        curves.append(Series(0, tuple(_points(rows)), band=True))
        title = f"{measure}: change from tuned, {'everything' if name == EVERYTHING else name} by degree"
        axes = Axes("degree (0 tuned, 1 base)", y_include=(0.0,))
        note = "" if len(beside) else "No random set has its size."
        yield Figure.of(title, line_plot(curves, axes, title), note)


def _points(rows: pd.DataFrame, spread: bool = True) -> Iterator[Point]:
    for row in records(rows):
        if row["effect"] is not None:
            title = f"{row['set']} at {row['degree']:g}: {with_ends(row, 'effect', signed)}"
            ends = ends_of(row, "effect") if spread else ()
            yield Point(row["degree"], row["effect"], *ends, title=title)


def _barriers(found: StrengthCurves) -> Table:
    """Return a row for each set and measure: the ends, the barrier, and the largest of its controls."""
    barriers = found.barriers
    values = found.table.set_index(["set", "measure", "degree"])["value"]
    rows: list[dict[str, Any]] = []
    for row in records(barriers[~is_control(barriers)]):
        others = matching(barriers[barriers["measure"] == row["measure"]], row["set"])["excess"]
        tuned, taken = (float(values[row["set"], row["measure"], end]) for end in (0.0, 1.0))
        beside = range_of(others) if len(others) else "none match"
        hill = (number(row["excess"]), interval(*ends_of(row, "excess")), f"{row['degree']:g}")
        drawn = dict(zip(("height", "ends", "at"), hill if 0 < row["degree"] < 1 else _NO_HILL, strict=True))
        rows.append({**row, "tuned": tuned, "taken": taken, **drawn, "controls": beside})
    return table_of(
        rows,
        Column("set"),
        Column("measure"),
        Column("tuned", number),
        Column("taken back", number, "taken"),
        Column("barrier", str, "height"),
        Column("95% interval", str, "ends"),
        Column("at degree", str, "at"),
        Column("controls' barriers", str, "controls"),
    )
