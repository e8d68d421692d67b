"""Every estimator the project uses, with its source; numpy and scipy only."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from takeback.errors import TakebackError

Clusters = Sequence[Hashable] | NDArray[np.int64] | None
"""Which observations belong together: one label each; None when every one stands alone."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error and interval; with fewer than two clusters these are unknown, None."""

    value: float
    se: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int

    def __str__(self) -> str:
        """Write the mean and its interval."""
        spread = "" if self.low is None else f" [{self.low:.4g}, {self.high:.4g}]"
        return f"{self.value:.4g}{spread} (n={self.n})"


def cluster_codes(clusters: Clusters, n: int) -> NDArray[np.int64]:
    """Number the clusters 0, 1, … in order of first appearance; shape (n,).

    >>> cluster_codes(["b", "a", "b"], 3)
    array([0, 1, 0])

    Raises:
        TakebackError: there isn't one label for each of the n observations.
    """
    if clusters is None:
        return np.arange(n)
    if len(clusters) != n:
        raise TakebackError(f"{len(clusters)} cluster labels for {n} observations; give one for each")
    if isinstance(clusters, np.ndarray):
        _, first, code = np.unique(clusters, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[code]
    codes: dict[Hashable, int] = {}
    return np.array([codes.setdefault(label, len(codes)) for label in clusters], dtype=np.int64)


def clustered_se(values: ArrayLike, clusters: Clusters = None) -> float:
    """Return the standard error of a mean whose observations may depend on each other within clusters.

    SE² = SE_CLT² + (1/n²) Σ_c Σ_{i≠j in c} (s_i − s̄)(s_j − s̄), with SE_CLT² = Σ(s_i − s̄)² / (n(n − 1))
    (Miller 2024, "Adding error bars to evals", arXiv 2411.00640). Alone in their clusters, observations have
    the usual standard error.

    >>> round(clustered_se([0, 0, 1, 1]), 4), round(clustered_se([0, 0, 1, 1], ["a", "a", "b", "b"]), 4)
    (0.2887, 0.3819)

    Raises:
        TakebackError: no values, a value that is not finite, or fewer than two clusters.
    """
    array = _observations(values)
    codes = cluster_codes(clusters, len(array))
    if np.all(codes == codes[0]):
        raise TakebackError(
            "all observations are in one cluster: a standard error needs two or more clusters"
        )
    return _clustered_se(array, codes)


def mean_estimate(values: ArrayLike, clusters: Clusters = None, confidence: float = 0.95) -> Estimate:
    """Estimate a mean with its clustered standard error and interval.

    The interval is Student's with (clusters − 1) degrees of freedom (Cameron and Miller 2015, "A
    practitioner's guide to cluster-robust inference", Journal of Human Resources 50(2), section VI).

    >>> print(mean_estimate([1.0, 2.0, 3.0, 4.0]))
    2.5 [0.4457, 4.554] (n=4)

    Raises:
        TakebackError: no values, a value that is not finite, or a confidence outside (0, 1).
    """
    array = _observations(values)
    codes = cluster_codes(clusters, len(array))
    count = int(codes.max()) + 1
    quantile = _t_quantile(count - 1, confidence)
    mean = float(array.mean())
    if quantile is None:
        return Estimate(mean, None, None, None, len(array), count)
    error = _clustered_se(array, codes)
    return Estimate(mean, error, mean - quantile * error, mean + quantile * error, len(array), count)


def paired_difference(
    after: ArrayLike, before: ArrayLike, clusters: Clusters = None, confidence: float = 0.95
) -> Estimate:
    """Estimate the mean of after − before on the same observations (Miller 2024, arXiv 2411.00640).

    >>> paired_difference([1, 2, 3], [0, 1, 2]).se
    0.0

    Raises:
        TakebackError: different numbers of observations, or what `mean_estimate` raises.
    """
    left, right = _observations(after), _observations(before)
    if len(left) != len(right):
        raise TakebackError(f"{len(left)} observations after and {len(right)} before; pairs need both")
    return mean_estimate(left - right, clusters, confidence)


def ratio_estimate(
    over: ArrayLike, under: ArrayLike, clusters: Clusters = None, confidence: float = 0.95
) -> Estimate:
    """Estimate the ratio of two means of the same observations: mean(over) / mean(under).

    Its error is that of the mean of (over − ratio × under) / mean(under): the delta method (Cochran 1977,
    "Sampling Techniques", 3rd ed., section 2.11), clustered. It holds while `under` is far from 0.

    >>> print(ratio_estimate([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]))
    0.5 [0.5, 0.5] (n=3)

    Raises:
        TakebackError: different numbers of observations, `under` is 0 on average, or what `mean_estimate`
            raises.
    """
    above, below = _observations(over), _observations(under)
    if len(above) != len(below):
        raise TakebackError(f"{len(above)} observations over {len(below)}; a ratio needs pairs")
    whole = float(below.mean())
    if whole == 0:
        raise TakebackError("the mean that a ratio is taken of is 0; nothing can be a share of it")
    ratio = float(above.mean()) / whole
    spread = mean_estimate((above - ratio * below) / whole, clusters, confidence)
    low, high = (None if end is None else ratio + end - spread.value for end in (spread.low, spread.high))
    return Estimate(ratio, spread.se, low, high, spread.n, spread.clusters)


def proportion_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (Wilson 1927, JASA 22; `scipy.stats.binomtest`).

    >>> low, high = proportion_interval(9, 10)
    >>> round(low, 3), round(high, 3)
    (0.596, 0.982)

    Raises:
        TakebackError: n is not positive, successes are not between 0 and n, or a bad confidence.
    """
    from scipy.stats import binomtest

    if n <= 0 or not 0 <= successes <= n:
        raise TakebackError(f"{successes} successes of {n}: a proportion needs n > 0 and 0 <= successes <= n")
    _check_confidence(confidence)
    interval = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def _observations(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise TakebackError(f"a mean needs one row of at least one observation, not shape {array.shape}")
    if not np.isfinite(array).all():
        raise TakebackError(f"{int((~np.isfinite(array)).sum())} of {len(array)} observations are not finite")
    return array


def _clustered_se(array: NDArray[np.float64], codes: NDArray[np.int64]) -> float:
    n = len(array)
    deviations = array - array.mean()
    squares = float(deviations @ deviations)
    sums = np.bincount(codes, weights=deviations)
    between = float(sums @ sums) - squares
    return math.sqrt(max(squares / (n * (n - 1)) + between / n**2, 0.0))


@cache
def _t_quantile(freedom: int, confidence: float) -> float | None:
    _check_confidence(confidence)
    return float(special.stdtrit(freedom, (1 + confidence) / 2)) if freedom > 0 else None


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise TakebackError(f"confidence {confidence} is not between 0 and 1")
