"""Tests of many components at once, by all ways in which the labels of runs might have fallen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TIE = 1e-9
"""Test statistics that differ by less are equal: what is left is the order of summation."""

_ROWS = 1024

Floats = NDArray[np.float64]


class PValues(NamedTuple):
    """Two-sided p-values of many components: each alone, and right for the whole family; (components,)."""

    each: Floats
    family: Floats


@dataclass(frozen=True, eq=False)
class Relabelling:
    """What relabelling runs gives for a family of components.

    Attributes:
        ways: the factor of each run in each way, shape (ways, runs).
        listed: whether these are all ways, the observed one among them; it is counted if not.
        scaled: the runs, scaled so that components are alike, shape (runs, components).
        observed: |sum| of each component as it was observed, shape (components,).
        varies: which components vary at all; the others have p = 1.
        least: the smallest p-value that so many runs can give.
        freedom: degrees of freedom of Student's t for one component.
        as_t: Student's |t| that goes with a statistic, infinite at the largest there is.
    """

    ways: Floats
    listed: bool
    scaled: Floats
    observed: Floats
    varies: NDArray[np.bool_]
    least: float
    freedom: int
    as_t: Callable[[float], float]

    def p_values(self) -> PValues:
        """Compare each component's statistic with its own, and with the largest, in all ways (maxT)."""
        alone, beaten = np.zeros(len(self.observed)), np.zeros(len(self.observed))
        for sums in self._sums(self.scaled):
            alone += (sums >= self.observed - TIE).sum(axis=0)
            largest = np.sort(sums.max(axis=1))
            beaten += len(largest) - np.searchsorted(largest, self.observed - TIE)
        return PValues(self._shares(alone), self._shares(beaten))

    def step_down(self) -> Floats:
        """Return p-values right for the family by step-down maxT; shape (components,).

        A component is compared with the largest statistic of those that are not more certain than it itself
        (Westfall and Young 1993, algorithm 4.1), so that no p is above that of single-step maxT.
        """
        order = np.argsort(-self.observed, kind="stable")
        observed = self.observed[order]
        beaten = np.zeros(len(order))
        for sums in self._sums(self.scaled[:, order]):
            rest = np.maximum.accumulate(sums[:, ::-1], axis=1)[:, ::-1]
            beaten += (rest >= observed - TIE).sum(axis=0)
        found = np.empty(len(order))
        found[order] = np.maximum.accumulate(self._shares(beaten, order))
        return found

    def critical(self, level: float) -> float | None:
        """Return Student's |t| beyond which a component has p ≤ level by the largest statistic of all.

        None where no statistic, however large, gets there with so many runs.
        """
        more = 0 if self.listed else 1
        allowed = math.floor(level * (len(self.ways) + more) + TIE) - more
        if allowed < (1 if self.listed else 0) or self.least > level:
            return None
        largest = np.sort(np.concatenate([sums.max(axis=1) for sums in self._sums(self.scaled)]))[::-1]
        if allowed >= len(largest):
            return 0.0
        t = self.as_t(float(largest[allowed]))
        return t if math.isfinite(t) else None

    def _sums(self, scaled: Floats) -> Iterator[Floats]:
        for start in range(0, len(self.ways), _ROWS):
            yield np.abs(self.ways[start : start + _ROWS] @ scaled)

    def _shares(self, counts: Floats, order: NDArray[np.int64] | None = None) -> Floats:
        more = 0 if self.listed else 1
        varies = self.varies if order is None else self.varies[order]
        shares = (counts + more) / (len(self.ways) + more)
        return np.where(varies, np.clip(shares, self.least, 1.0), 1.0)
