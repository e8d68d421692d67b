"""Strength for people: a curve over the degrees for each set, its controls grey, and the barriers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.numbers import ABSENT, interval, number, signed
from takeback.draw.page import Figure, Section, Table
from takeback.draw.terminal import print_tables
from takeback.findings.localise.strength import EVERYTHING, is_control
from takeback.findings.sweep.run import MATCHES
from takeback.run.tables import records

if TYPE_CHECKING:
    from takeback.findings.localise.strength import Strength

TITLE = "Strength"
PANELS = 12
"""Sets that are drawn for each measure, in the order asked; the table has all."""

_NOTE = "Bands are 95% intervals over situations; grey: random sets that match, at the same degrees."


def as_section(found: Strength) -> Section:
    """Draw a curve for each set and measure, and tell the barriers."""
    return Section(
        TITLE,
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


def print_strength(found: Strength) -> None:
    """Print the ends and the barriers."""
    print_tables(TITLE, _sentences(found), [_barriers(found)])


def _sentences(found: Strength) -> Iterator[str]:
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


def _barriers(found: Strength) -> Table:
    """Return a row for each set and measure: the ends, the barrier, and the largest of its controls."""
    table, barriers = found.table, found.barriers
    head = (
        "set",
        "measure",
        "tuned",
        "taken back",
        "barrier",
        "95% interval",
        "at degree",
        "controls' barriers",
    )
    values = table.set_index(["set", "measure", "degree"])["value"]
    rows: list[tuple[str, ...]] = []
    for row in records(barriers[~is_control(barriers)]):
        key = (row["set"], row["measure"])
        mine = barriers["matches"].map(_of(row["set"])) & (barriers["measure"] == row["measure"])
        others = barriers[mine]["excess"].tolist()
        ends = (number(float(values[(*key, end)])) for end in (0.0, 1.0))
        span = f"{number(min(others))} to {number(max(others))}" if others else "none match"
        hill = (number(row["excess"]), _ends(row, "excess_"), f"{row['degree']:g}")
        rows.append((*key, *ends, *(hill if 0 < row["degree"] < 1 else ("none", ABSENT, ABSENT)), span))
    return Table(head, tuple(rows), ("set", "measure"))


def _ends(row: dict[str, Any], prefix: str) -> str:
    return interval(row[f"{prefix}low"], row[f"{prefix}high"])
