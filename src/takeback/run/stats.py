"""Every estimator the project uses, with its source; numpy and scipy only."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from takeback.run.errors import TakebackError
from takeback.run.relabelling import TIE, PValues, Relabelling

Clusters = Sequence[Hashable] | NDArray[np.int64] | None
"""Which observations belong together: one label each; None when every one stands alone."""

EVERY = 20_000
"""Most ways to share out the runs of two arms that a permutation test lists; beyond it they are drawn."""


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
    labels = clusters.tolist() if isinstance(clusters, np.ndarray) else clusters
    return np.array([codes.setdefault(label, len(codes)) for label in labels], dtype=np.int64)


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
    return mean_estimate(ratio_terms(over, under), clusters, confidence)


def ratio_terms(over: ArrayLike, under: ArrayLike) -> NDArray[np.float64]:
    """Return each observation's part of `ratio_estimate`, to first order; their mean is the ratio; (n,).

    >>> ratio_terms([1.0, 2.0, 3.0], [2.0, 4.0, 3.0]).round(3)
    array([0.556, 0.444, 1.   ])

    Raises:
        TakebackError: different numbers of observations, or `under` is 0 on average.
    """
    above, below = _observations(over), _observations(under)
    if len(above) != len(below):
        raise TakebackError(f"{len(above)} observations over {len(below)}; a ratio needs pairs")
    whole = float(below.mean())
    if whole == 0:
        raise TakebackError("the mean that a ratio is taken of is 0; nothing can be a share of it")
    ratio = float(above.mean()) / whole
    terms = (above - ratio * below) / whole
    return ratio + terms - terms.mean()


def parts(numbers: ArrayLike, applies: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each observation's part of a mean over those to which it applies; their mean is it; (n,).

    To first order, as `ratio_terms`: an observation to which the mean does not apply adds nothing to it.

    Args:
        numbers: of the observations to which it applies, in order, shape (m,).
        applies: which of all those are, shape (n,).

    >>> parts([1.0, 3.0], np.array([True, False, True, False]))
    array([0., 2., 4., 2.])
    """
    some = _observations(numbers)
    found = np.full(len(applies), some.mean())
    found[applies] += (some - some.mean()) * (len(applies) / len(some))
    return found


def sum_estimate(estimates: Sequence[Estimate], confidence: float = 0.95) -> Estimate:
    """Estimate the sum of independent estimates, such as means over situations of two arenas.

    Variances add up; the interval is Student's with the degrees of freedom of the one with fewest clusters,
    which is wider than Welch's.

    >>> print(sum_estimate([mean_estimate([1.0, 2.0, 3.0]), mean_estimate([0.0, 1.0, 2.0])]))
    3 [-0.5131, 6.513] (n=3)
    """
    value, n = sum(one.value for one in estimates), min(one.n for one in estimates)
    clusters = min(one.clusters for one in estimates)
    errors = [one.se for one in estimates if one.se is not None]
    quantile = _t_quantile(clusters - 1, confidence)
    if quantile is None or len(errors) < len(estimates):
        return Estimate(value, None, None, None, n, clusters)
    error = math.hypot(*errors)
    return Estimate(value, error, value - quantile * error, value + quantile * error, n, clusters)


def seeds_estimate(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Estimate what a recipe gives on average over training runs, from one number for each run.

    The run is the unit: Student's interval with (runs − 1) degrees of freedom (Student 1908, Biometrika 6).
    An interval over the situations of one run says nothing of the next one. One run has no interval.

    >>> print(seeds_estimate([0.2, 0.3, 0.4]))
    0.3 [0.05159, 0.5484] (n=3)

    Raises:
        TakebackError: no values, a value that is not finite, or a confidence outside (0, 1).
    """
    return mean_estimate(values, None, confidence)


def smallest_p(one: int, other: int) -> float:
    """Return the smallest p-value that a permutation test of so many runs of two arms can reach.

    It is 1 / C(runs, one), and twice that for arms of one size, where swapping the arms changes no distance.

    >>> round(smallest_p(5, 5), 4), smallest_p(3, 3), smallest_p(1, 3)
    (0.0079, 0.1, 0.25)

    Raises:
        TakebackError: an arm without runs.
    """
    if min(one, other) < 1:
        raise TakebackError(f"arms of {one} and {other} runs: a permutation test needs a run in each")
    return (2 if one == other else 1) / math.comb(one + other, one)


def permutation_test(one: ArrayLike, other: ArrayLike, seed: int = 0) -> float:
    """Return the two-sided p-value of a difference of means between the runs of two arms.

    It is the share of all ways to deal the runs out to the arms in which the means lie at least as far apart
    (Fisher 1935, "The Design of Experiments"; `scipy.stats.permutation_test` with the distance as
    statistic), exact and never below `smallest_p`. Beyond 20,000 ways that many are drawn with the seed.

    >>> permutation_test([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    0.1

    Raises:
        TakebackError: an arm without runs, or a value that is not finite.
    """
    return float(max_permutation(_observations(one)[:, None], _observations(other)[:, None], seed)[0])


def max_permutation(one: ArrayLike, other: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
    """Return two-sided p-values of many components, each right for the whole family; shape (components,).

    `one` and `other` are [runs, components]. A component's p-value is the share of all ways to deal the runs
    out to the arms in which any component's distance is at least as large as its own (single-step maxT,
    Westfall and Young 1993, "Resampling-Based Multiple Testing"). Distances are differences of
    means over the component's standard deviation in all runs together: they order dealings and components as
    Student's |t| with pooled variance does, and stay finite. A component that never varies has p = 1. With at
    most 20,000 ways all are listed, else that many are drawn, and the observed one counts too (Phipson and
    Smyth 2010, "Permutation P-values should never be zero", arXiv 1603.05766).

    >>> p = max_permutation([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0]], [[4.0, 0.0], [5.0, 1.0], [6.0, 1.0]])
    >>> p.round(2)
    array([0.2, 1. ])

    Raises:
        TakebackError: an arm without runs, arms of other components, or a value that is not finite.
    """
    return permutation_p_values(one, other, seed).family


def permutation_p_values(one: ArrayLike, other: ArrayLike, seed: int = 0) -> PValues:
    """Return what `max_permutation` does, and beside it the p-values of each component alone.

    >>> permutation_p_values([[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]).each
    array([0.1])

    Raises:
        TakebackError: an arm without runs, arms of other components, or a value that is not finite.
    """
    return dealt(one, other, seed).p_values()


def dealt(one: ArrayLike, other: ArrayLike, seed: int = 0) -> Relabelling:
    """Return the ways to deal the runs of two arms out to them; `max_permutation` says the rest.

    Of a sum s of scaled runs of the first arm, s² / (n m) is the squared correlation r² with the arm, and t²
    = (n + m − 2) r² / (1 − r²).

    Raises:
        TakebackError: an arm without runs, arms of other components, or a value that is not finite.
    """
    left, right = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if left.ndim != 2 or right.ndim != 2 or left.shape[1:] != right.shape[1:] or not left.shape[1]:
        raise TakebackError(f"arms of shapes {left.shape} and {right.shape}; both need [runs, components]")
    n, m = len(left), len(right)
    least = smallest_p(n, m)
    runs = np.concatenate([left, right])
    if not np.isfinite(runs).all():
        raise TakebackError(f"{int((~np.isfinite(runs)).sum())} of {runs.size} numbers are not finite")
    centred = runs - runs.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    varies = spread > TIE * np.abs(runs).max(axis=0)
    scaled = np.where(varies, centred / np.where(varies, spread, 1.0), 0.0)

    def as_t(s: float) -> float:
        left_over = 1 - s**2 / (n * m)
        return s * math.sqrt((n + m - 2) / (n * m * left_over)) if left_over > TIE else math.inf

    ways, listed = _dealings(n, m, seed, EVERY)
    observed = np.abs(scaled[:n].sum(axis=0))
    return Relabelling(ways, listed, scaled, observed, varies, least, n + m - 2, as_t)


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
    check_confidence(confidence)
    interval = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


@lru_cache(maxsize=4)
def _dealings(one: int, other: int, seed: int, most: int) -> tuple[NDArray[np.float64], bool]:
    """Return which runs the first arm gets, 1 or 0, shape (ways, runs), and whether those are all ways.

    Of arms of one size every way has a twin, with the arms swapped, that is as far apart: one of the two is
    listed.
    """
    runs = one + other
    if math.comb(runs, one) > most:
        order = np.random.default_rng(seed).random((most, runs)).argsort(axis=1)
        return (order < one).astype(np.float64), False
    chosen = np.array(list(combinations(range(runs), one)))
    chosen = chosen[chosen[:, 0] == 0] if one == other else chosen
    ways = np.zeros((len(chosen), runs))
    np.put_along_axis(ways, chosen, 1.0, axis=1)
    return ways, True


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
    check_confidence(confidence)
    return float(special.stdtrit(freedom, (1 + confidence) / 2)) if freedom > 0 else None


def check_confidence(confidence: float) -> None:
    """Raise unless a confidence is between 0 and 1."""
    if not 0 < confidence < 1:
        raise TakebackError(f"confidence {confidence} is not between 0 and 1")
