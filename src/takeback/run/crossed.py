"""Means over runs and situations that are crossed: every run is read in the same situations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from takeback.run.errors import TakebackError
from takeback.run.stats import Clusters, Estimate, check_confidence, cluster_codes, seeds_estimate

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Crossed:
    """A mean over runs and situations, with intervals for both and for runs alone.

    Attributes:
        both: interval for other runs *and* other situations; what is unknown of it is None.
        runs: interval for other runs in the same situations.
        freedom: degrees of freedom of `both`, None where it has no interval.
        of_runs: share of the variance of the mean that is from runs, 0 to 1; None where that is unknown.
        of_situations: share that is from situations; the rest is how runs differ by situation.
    """

    both: Estimate
    runs: Estimate
    freedom: float | None
    of_runs: float | None
    of_situations: float | None


def crossed_estimate(values: ArrayLike, clusters: Clusters = None, confidence: float = 0.95) -> Crossed:
    """Estimate the mean of a table that holds every run in every situation; `values` is [runs, situations].

    With V_R the squared standard error of the mean by runs alone, V_S by clusters of situations alone, and
    V_RS by pairs of a run and a cluster of what is left of each entry without its run's and its situation's
    mean, the squared standard error is V_R + V_S − V_RS: the two-way cluster sandwich (Cameron, Gelbach and
    Miller 2011, "Robust inference with multiway clustering", JBES 29(2)), each part with the factor
    levels / (levels − 1). Without clusters this is the ANOVA estimator (MS_R + MS_S − MS_RS) / (R S) of the
    crossed model with random effects (Searle, Casella and McCulloch 1992, "Variance components", section
    4.3). It is never taken to be less than the part of the factor with fewer levels. Student's degrees of
    freedom are Satterthwaite's (1946, Biometrics Bulletin 2), at least the fewer levels less 1. Without these
    two limits the sandwich can be 0 or less, with degrees of freedom below 1, where all that varies is runs
    by situation. `validation.simulate` tells how often the interval covers.

    >>> table = [[0.0, 1.0, 2.0, 1.0], [0.2, 1.1, 2.4, 1.3], [0.1, 0.9, 2.2, 1.2]]
    >>> found = crossed_estimate(table)
    >>> print(found.both, found.runs)
    1.117 [-0.2337, 2.467] (n=3) 1.117 [0.8041, 1.429] (n=3)
    >>> round(found.of_runs, 3), round(found.of_situations, 3)
    (0.025, 0.972)

    Args:
        values: a number for each run and situation.
        clusters: which situations belong together, one label each.
        confidence: of the intervals.

    Raises:
        TakebackError: the table is empty, a value is not finite, or situations and labels differ in number.
    """
    check_confidence(confidence)
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or not table.size:
        raise TakebackError(f"a crossed mean needs [runs, situations], not shape {table.shape}")
    if not np.isfinite(table).all():
        raise TakebackError(f"{int((~np.isfinite(table)).sum())} of {table.size} numbers are not finite")
    codes = cluster_codes(clusters, table.shape[1])
    runs, groups = len(table), int(codes.max()) + 1
    alone = seeds_estimate(table.mean(axis=1), confidence)
    if runs < 2 or groups < 2:
        return Crossed(Estimate(alone.value, None, None, None, runs, groups), alone, None, None, None)
    parts = _parts(table, codes, groups)
    freedoms = np.array([runs - 1, groups - 1, (runs - 1) * (groups - 1)], np.float64)
    fewer = int(groups < runs)
    square = max(float(parts @ (1, 1, -1)), float(parts[fewer]))
    spread = float(np.sum(parts**2 / freedoms))
    freedom = freedoms[fewer] if not spread else max(square**2 / spread, freedoms[fewer])
    reach = float(special.stdtrit(freedom, (1 + confidence) / 2)) * square**0.5
    mean, each = float(table.mean()), np.maximum([*(parts[:2] - parts[2]), parts[2]], 0.0)
    shares = each / each.sum() if each.sum() else np.full(3, np.nan)
    both = Estimate(mean, square**0.5, mean - reach, mean + reach, runs, groups)
    known = bool(np.isfinite(shares[0]))
    return Crossed(both, alone, float(freedom), *(float(s) if known else None for s in shares[:2]))


def _parts(table: Floats, codes: NDArray[np.int64], groups: int) -> Floats:
    """Return the squared errors of the mean by runs, by clusters of situations, and by both at once."""
    runs, situations = table.shape
    by_run = table.mean(axis=1) - table.mean()
    by_situation = table.mean(axis=0) - table.mean()
    left = table - table.mean() - by_run[:, None] - by_situation
    of_clusters = np.bincount(codes, by_situation, groups)
    of_both = np.zeros((groups, runs))
    np.add.at(of_both, codes, left.T)
    more = runs / (runs - 1), groups / (groups - 1)
    return np.array(
        [
            by_run @ by_run / runs**2 * more[0],
            of_clusters @ of_clusters / situations**2 * more[1],
            (of_both**2).sum() / (runs * situations) ** 2 * more[0] * more[1],
        ]
    )
