"""Strength for people: a curve over the degrees for each set, its controls grey, and the barriers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from takeback.draw.columns import Column, table_of
from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.numbers import ABSENT, interval, number, signed, span
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.findings.localise.strength import EVERYTHING, StrengthCurves, is_control
from takeback.findings.sweep.run import MATCHES
from takeback.run.tables import records

PANELS = 12
"""Sets that are drawn for each measure, in the order asked; the table has all."""

_NO_HILL = ("none", ABSENT, ABSENT)
_NOTE = "Bands are 95% intervals over situations; grey: random sets that match, at the same degrees."


@section_of.register
def _(found: StrengthCurves) -> Section:
    """Draw a curve for each set and measure, and tell the barriers."""
    return Section(
        "Strength",
        tuple(_sentences(found)),
        tuple(_figures(found.table)),
        (_barriers(found),),
        notes=(
            _NOTE,
            "The barrier is the largest loss (1 − measure) above the straight line between the two ends of a "
            "path; it is at least 0, since the ends lie on the line. Its interval ignores that the degree "
            "was chosen.",
        ),
    )


def _sentences(found: StrengthCurves) -> Iterator[str]:
    rows = found.barriers
    for row in records(rows[rows["set"] == EVERYTHING]):
        height = f"{number(row['excess'])} {_ends(row, 'excess_')} at degree {row['degree']:g}"
        told = (
            f"a barrier of {height}" if (row["excess_low"] or 0) > 0 else "no barrier that can be told from 0"
        )
        yield f"{row['measure']}: the straight path from tuned to base crosses {told}."


def _figures(table: pd.DataFrame) -> Iterator[Figure]:
    real, random = table[~is_control(table)], table[is_control(table)]
    names = list(dict.fromkeys(real["set"]))[:PANELS]
    for (measure, name), rows in real[real["set"].isin(names)].groupby(["measure", "set"], sort=False):
        beside = random[(random["measure"] == measure) & random["matches"].map(_of(str(name)))]
        curves = [
            Series(-1, tuple(_points(one, False)), quiet=True, mark_every=0)
            for _, one in beside.groupby("set", sort=False)
        ]
        curves.append(Series(0, tuple(_points(rows)), band=True))
        title = f"{measure}: change from tuned, {'everything' if name == EVERYTHING else name} by degree"
        axes = Axes("degree (0 tuned, 1 base)", y_include=(0.0,))
        note = "" if len(beside) else "No random set has its size."
        yield Figure.of(title, line_plot(curves, axes, title), note)


def _of(name: str) -> Any:
    return lambda matches: name in str(matches).split(MATCHES)


def _points(rows: pd.DataFrame, spread: bool = True) -> Iterator[Point]:
    for row in records(rows):
        if row["effect"] is not None:
            told = f"{row['set']} at {row['degree']:g}: {signed(row['effect'])} {_ends(row, 'effect_')}"
            ends = (row["effect_low"], row["effect_high"]) if spread else ()
            yield Point(row["degree"], row["effect"], *ends, title=told)


def _barriers(found: StrengthCurves) -> Table:
    """Return a row for each set and measure: the ends, the barrier, and the largest of its controls."""
    barriers = found.barriers
    values = found.table.set_index(["set", "measure", "degree"])["value"]
    rows: list[dict[str, Any]] = []
    for row in records(barriers[~is_control(barriers)]):
        mine = barriers["matches"].map(_of(row["set"])) & (barriers["measure"] == row["measure"])
        others = barriers.loc[mine, "excess"].tolist()
        tuned, taken = (float(values[row["set"], row["measure"], end]) for end in (0.0, 1.0))
        beside = span(min(others), max(others), number) if others else "none match"
        hill = (number(row["excess"]), _ends(row, "excess_"), f"{row['degree']:g}")
        told = dict(zip(("height", "ends", "at"), hill if 0 < row["degree"] < 1 else _NO_HILL, strict=True))
        rows.append({**row, "tuned": tuned, "taken": taken, **told, "controls": beside})
    return table_of(
        rows,
        (
            Column("set"),
            Column("measure"),
            Column("tuned", number),
            Column("taken back", number, "taken"),
            Column("barrier", str, "height"),
            Column("95% interval", str, "ends"),
            Column("at degree", str, "at"),
            Column("controls' barriers", str, "controls"),
        ),
    )


def _ends(row: dict[str, Any], prefix: str) -> str:
    return interval(row[f"{prefix}low"], row[f"{prefix}high"])
