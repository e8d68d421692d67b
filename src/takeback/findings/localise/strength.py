"""Strength: what becomes of behaviour as a set goes step by step from tuned to base, and beyond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from takeback.component import ComponentSet
from takeback.draw.result import Result, as_table
from takeback.findings.localise.measured import MEASURED, SET, ends, mean, measured, named, tabled
from takeback.findings.localise.shares import Controls
from takeback.findings.sweep.sets import CONTROLS, NamedSet
from takeback.measure.bench import Answers, Bench
from takeback.measure.read import Ask

COLUMNS: Mapping[str, str] = {
    **SET,
    "degree": "how far the set went: 0 is tuned, 1 base, beyond them extrapolated",
    **MEASURED,
    "excess": "loss above the straight line between degrees 0 and 1, where loss is 1 − measure; missing "
    "beyond them",
    "excess_low": "lower end of its interval",
    "excess_high": "upper end of its interval",
    "barrier": "whether the excess is largest here: it is the loss barrier between the two models",
}
"""What each column of the table means."""

DEGREES = (-0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
"""Degrees that are asked by default."""

EVERYTHING = "*"
"""The name of the set of all components, which is always asked."""


@dataclass(frozen=True, eq=False, repr=False)
class StrengthCurves(Result):
    """Holds measures by degree of takeback: a row of `COLUMNS` for each set, degree and measure.

    Attributes:
        table: the sets, everything first, then their controls.
    """

    name = "strength"
    table: pd.DataFrame = field(metadata=as_table("strength", COLUMNS))

    @property
    def barriers(self) -> pd.DataFrame:
        """The rows where the loss is farthest above the straight line, one for each set and measure."""
        return self.table[self.table["barrier"]].reset_index(drop=True)


def strength(
    bench: Bench,
    sets: Sequence[NamedSet],
    controls: Controls,
    degrees: Sequence[float] = DEGREES,
) -> StrengthCurves:
    """Measure each set, and everything, at every degree α of a takeback: tuned + α (base − tuned) in the set.

    Random sets that match the given ones are measured at the same degrees. The barrier is the largest rise of
    the loss over the straight line between the ends, on the degrees from 0 to 1, which are always among
    those asked (after Frankle et al. 2020, "Linear Mode Connectivity and the Lottery Ticket Hypothesis",
    arXiv 1912.05671, who subtract the ends' mean; the line is that of Entezari et al. 2022, "The Role of
    Permutation Invariance in Linear Mode Connectivity of Neural Networks", arXiv 2110.06296). Its interval
    is for the degree where it lies and knows nothing of the choice among degrees.

    Raises:
        TakebackError: an answer can't be had (see `Bench.answer`).
    """
    whole = NamedSet("by name", EVERYTHING, bench.anatomy.universe)
    real = [whole, *(one for one in sets if one.components != whole.components)]
    every = [*real, *controls.beside(bench.anatomy, real)]
    steps = sorted({0.0, 1.0, *map(float, degrees)})
    asks = [at_degree(one.components, degree) for one in every for degree in steps]
    answers = bench.answer([bench.nothing, *asks])
    rows = [row for one in every for measure in bench.measures for row in _path(answers, one, measure, steps)]
    return StrengthCurves(str(bench.pair), tabled(rows, COLUMNS))


def at_degree(components: ComponentSet, degree: float) -> Ask:
    """Return the hybrid that takes a set back by a degree; its ends are tuned and the ordinary takeback."""
    if degree in (0.0, 1.0):
        return Ask(components if degree else components - components)
    return Ask(components, f"strength:{degree!r}")


def is_control(table: pd.DataFrame) -> pd.Series:
    """Return which rows are of random sets."""
    return table["family"].isin(CONTROLS)


def _path(answers: Answers, one: NamedSet, measure: str, steps: Sequence[float]) -> list[dict[str, Any]]:
    """Return the rows of one set and measure, by degree."""
    first, last = (answers.of(at_degree(one.components, end), measure) for end in (0.0, 1.0))
    rows: list[dict[str, Any]] = []
    for degree in steps:
        ask = at_degree(one.components, degree)
        over = (1 - degree) * first + degree * last - answers.of(ask, measure)
        excess = mean(answers, over) if 0 <= degree <= 1 else None
        row = {**named(one), "degree": degree, **measured(answers, ask, measure), **ends("excess", excess)}
        rows.append({**row, "barrier": False})
    inside = [row for row in rows if row["excess"] is not None]
    if inside:
        max(inside, key=lambda row: row["excess"])["barrier"] = True
    return rows
