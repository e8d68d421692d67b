"""Means from exact values in some situations and predictions in all, with intervals that survive looking.

Prediction-powered inference (Angelopoulos et al. 2023, arXiv 2301.09633) with power tuning (PPI++:
Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453): predictions are averaged over all situations, and what
they get wrong is averaged over those that were measured. In surveys this is double sampling with regression
(Cochran 1977, "Sampling Techniques", 3rd ed., chapter 12).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from takeback.run.errors import TakebackError
from takeback.run.stats import Clusters, cluster_codes

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Codes = NDArray[np.int64]

FLAT = 1e-9
"""Share of the predictions' squares that must be left without a cluster for a slope to be fitted."""


@dataclass(frozen=True, eq=False)
class Means:
    """Estimated means, one for each column; every array has shape (columns,).

    Attributes:
        value: the estimates.
        se: their standard errors.
        low: lower ends of the intervals.
        high: upper ends.
        weight: λ, what predictions count: 1 takes them as they are, 0 not at all.
        n: in how many situations each column was measured.
    """

    value: Floats
    se: Floats
    low: Floats
    high: Floats
    weight: Floats
    n: NDArray[np.int64]

    @property
    def reach(self) -> Floats:
        """How far each interval reaches from its estimate: half its length where both sides are alike."""
        return np.maximum(self.high - self.value, self.value - self.low)

    def no_narrower(self, precision: float) -> Means:
        """Return these with every interval reaching at least `precision` to both sides.

        A fixed-width interval (Chow and Robbins 1965, Annals of Mathematical Statistics 36(2)) claims no more
        than was asked, where one that stopped early because the spread looked small would claim too much.
        """
        low = np.minimum(self.low, self.value - precision)
        return replace(self, low=low, high=np.maximum(self.high, self.value + precision))


def schedule(most: int, first: int, growth: float = 2.0) -> tuple[int, ...]:
    """Return after how many clusters to look: first, then `growth` times as many, at last all.

    >>> schedule(500, 64)
    (64, 128, 256, 500)

    Raises:
        TakebackError: fewer than two clusters at first, or no growth.
    """
    if first < 2 or growth <= 1:
        raise TakebackError(f"looks start at 2 clusters or more and grow, not at {first} times {growth:g}")
    looks = [first]
    while looks[-1] < most:
        looks.append(max(round(looks[-1] * growth), looks[-1] + 1))
    return (*looks[:-1], most)


def spent(confidence: float, intervals: int, looks: int) -> float:
    """Return how often one interval may miss at one look for all to hold at all looks together.

    By the union bound they do, however they depend on each other and whatever is decided at a look. For few
    looks it is narrower than a boundary for all times: with 31 intervals and 6 looks 3.6 standard errors,
    where asymptotic confidence sequences (Waudby-Smith et al. 2021, arXiv 2103.06476) take 4.1 at best.

    >>> round(spent(0.95, intervals=10, looks=5), 6)
    0.001

    Raises:
        TakebackError: a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise TakebackError(f"confidence {confidence} is not between 0 and 1")
    return (1 - confidence) / (intervals * looks)


def predicted_means(
    exact: Floats, predicted: Floats, clusters: Clusters = None, error: float = 0.05
) -> Means:
    """Estimate the mean of every column over what situations were drawn from.

    With y measured in n of N situations and f predicted in all, the estimate is mean_n(y) − λ (mean_n(f) −
    mean_N(f)); its variance is least, Var(y − λf)/n + λ² Var(f)/N, where λ is the slope of y on f. The λ
    that multiplies a cluster's f is fitted without that cluster: predictions never bias the estimate
    (cross-fitting, as in Zrnic and Candès 2023, arXiv 2309.16598), and no outlier hides in a slope of its own
    making. Once all situations are measured, the estimate is their mean.

    Intervals are Student's on what each cluster adds, with (measured clusters − 1) degrees of freedom. The
    end on the side of a long tail goes as far out as skewness asks (Hall 1992, "On the removal of skewness by
    transformation", Journal of the Royal Statistical Society B 54(1)); the other stays. They hold for many
    clusters; an effect in a share p of the situations is in none of n with probability (1 − p)ⁿ.

    >>> y, f = np.array([[1.0], [2.0], [4.0], [np.nan]]), np.array([[0.0], [1.0], [3.0], [8.0]])
    >>> predicted_means(y, f).value
    array([4.])

    Args:
        exact: y, shape (situations, columns), NaN where not measured. The clusters measured in a column must
            be a random choice, each measured whole.
        predicted: f, the same shape, NaN where a column does not apply.
        clusters: which situations belong together.
        error: how often one interval may miss.

    Raises:
        TakebackError: shapes differ, or a column was measured in fewer than two clusters.
    """
    if exact.shape != predicted.shape or exact.ndim != 2:
        raise TakebackError(f"exact values {exact.shape} and predictions {predicted.shape} are not one table")
    codes = cluster_codes(clusters, len(exact))
    known = np.isfinite(exact) & np.isfinite(predicted)
    rest = np.isnan(exact) & np.isfinite(predicted)
    groups = (_sums(codes, known) > 0).sum(0)
    if groups.min(initial=2) < 2:
        raise TakebackError("a measure applies in fewer than two measured clusters; measure more situations")
    n, left = known.sum(0), rest.sum(0)
    centre = np.where(rest, predicted, 0.0).sum(0) / np.maximum(left, 1)
    y, f = np.where(known, exact, 0.0), np.where(known | rest, predicted - centre, 0.0)
    slope, share = _slopes_without(codes, y, np.where(known, f, 0.0), known), left / (n + left)
    weight = slope.mean(0, where=known)
    corrected = y - share * slope * f
    value = corrected.mean(0, where=known)
    added = np.where(known, (corrected - value) / n, share * weight * f / np.maximum(left, 1))
    by_cluster = _sums(codes, np.where(known | rest, added, 0.0))
    se = np.sqrt((by_cluster**2).sum(0) * groups / (groups - 1))
    skewness = np.divide((by_cluster**3).sum(0), se**3, out=np.zeros_like(se), where=se > 0)
    quantile = np.asarray(special.stdtrit(groups - 1, 1 - error / 2))
    down = np.maximum(quantile, _unskewed(quantile, skewness)) * se
    up = np.maximum(quantile, -_unskewed(-quantile, skewness)) * se
    return Means(value, se, value - down, value + up, weight, n)


def _slopes_without(codes: Codes, y: Floats, f: Floats, known: Bools) -> Floats:
    """Return for each situation the slope of y on f over the other clusters, 0 where their f is flat."""

    def others(values: Floats | Bools) -> Floats:
        return values.sum(0) - _sums(codes, values)

    n, sum_f, sum_y, squares = others(known), others(f), others(y), others(f * f)
    spread, joint = squares - sum_f * sum_f / n, others(f * y) - sum_f * sum_y / n
    varies = spread > FLAT * (f * f).sum(0)
    return np.divide(joint, spread, out=np.zeros_like(spread), where=varies)[codes]


def _unskewed(quantile: Floats, skewness: Floats) -> Floats:
    """Return the t that Hall's transformation, t + s t²/3 + s² t³/27 + s/6, takes to a quantile."""
    straight = np.abs(skewness) < 1e-6
    s = np.where(straight, 1.0, skewness)
    return np.where(straight, quantile, 3 / s * (np.cbrt(1 + s * (quantile - s / 6)) - 1))


def _sums(codes: Codes, values: Floats | Bools) -> Floats:
    """Sum situations by cluster, shape (clusters, columns)."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return np.add.reduceat(values[order].astype(np.float64), starts)
