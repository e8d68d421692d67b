"""Weighted contrasts of training runs: sums over arms, tested by flipping the signs of whole seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from takeback.run.errors import TakebackError
from takeback.run.relabelling import TIE, PValues, Relabelling
from takeback.run.stats import EVERY, Estimate, dealt, seeds_estimate, smallest_p

Floats = NDArray[np.float64]
Test = Literal["permutation", "sign flips"]

LISTED: Final = 14
"""Most seeds of which all 2ⁿ ways to flip signs are listed; beyond it 20,000 are drawn."""

ROUNDING: Final = 1e-12
"""A sum that is so small a part of its terms is their rounding, and 0: it has the same sign in every seed."""


@dataclass(frozen=True, eq=False)
class WeightedContrast:
    """A weighted sum over arms for many components.

    Attributes:
        estimates: each component's mean over seeds with Student's interval over them.
        p: two-sided p-values, each component alone, shape (components,).
        p_family: the same, right for all components together, shape (components,).
        p_family_flips: the same by sign flips, whatever `test` is; it needs no equal spread of two arms.
        smallest_p: the smallest that so many seeds can give.
        test: how p was found.
        sums: the weighted sum of each seed, shape (seeds, components).
        errors: standard error over runs that goes with the test: of seeds' sums, or pooled over two arms.
    """

    estimates: tuple[Estimate, ...]
    p: Floats
    p_family: Floats
    p_family_flips: Floats
    smallest_p: float
    test: Test
    sums: Floats
    errors: Floats | None


def smallest_flip_p(seeds: int) -> float:
    """Return the smallest two-sided p-value that flipping the signs of so many seeds can give: 2 / 2ⁿ.

    >>> smallest_flip_p(8), smallest_flip_p(5)
    (0.0078125, 0.0625)

    Raises:
        TakebackError: there are no seeds.
    """
    if seeds < 1:
        raise TakebackError(f"{seeds} seeds: a test by sign flips needs one or more")
    return 2.0 ** (1 - seeds)


def flip_p_values(values: ArrayLike, seed: int = 0) -> PValues:
    """Test whether the mean over seeds of many components is 0; `values` is [seeds, components].

    The p-value of a component is the share of all ways to flip the signs of whole seeds in which its |sum|
    is at least as large as observed (Fisher 1935, "The Design of Experiments", section 21;
    `scipy.stats.permutation_test` of type "samples"). For the family it is the share in which that of *any*
    component is (single-step maxT, Westfall and Young 1993, "Resampling-Based Multiple Testing"), with sums
    over the root of the component's sum of squares, which flips leave alone: they order flips and components
    as Student's one-sample |t| does. All components of a seed flip together, so that how they depend on each
    other is kept. Up to 14 seeds all 2ⁿ ways are listed; beyond, 20,000 are drawn with `seed`, and the
    observed one counts too. A component that is 0 in every seed has p = 1.

    It assumes that, were there no effect, a seed's values would be distributed symmetrically about 0, all
    components together, and seeds independently. A difference of two arms under the same law is symmetric; a
    sum of more arms, or of one arm, need not be. Where the distribution is skewed the error differs from the
    nominal one: `validation.simulate` measures by how much.

    >>> found = flip_p_values([[1.0, 0.1], [2.0, -0.2], [3.0, 0.1], [2.5, 0.0], [1.5, -0.1]])
    >>> found.each.tolist(), found.family.tolist()
    ([0.0625, 1.0], [0.0625, 1.0])

    Raises:
        TakebackError: no seeds, no components, or a value that is not finite.
    """
    return flipped(values, seed).p_values()


def flipped(values: ArrayLike, seed: int = 0) -> Relabelling:
    """Return the ways to flip the signs of seeds of `values` [seeds, components]; `flip_p_values` says more.

    Of a sum u of scaled seeds, t² = (n − 1) u² / (n − u²) is the square of Student's one-sample t.

    Raises:
        TakebackError: no seeds, no components, or a value that is not finite.
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or not array.size:
        raise TakebackError(f"values of shape {array.shape}; sign flips need [seeds, components]")
    if not np.isfinite(array).all():
        raise TakebackError(f"{int((~np.isfinite(array)).sum())} of {array.size} numbers are not finite")
    n = len(array)
    least = smallest_flip_p(n)
    peak = np.abs(array).max(axis=0)
    some = peak > 0
    unit = array / np.where(some, peak, 1.0)
    scaled = unit / np.where(some, np.sqrt((unit**2).sum(axis=0)), 1.0)

    def as_t(u: float) -> float:
        return u * math.sqrt((n - 1) / (n - u**2)) if n - u**2 > TIE else math.inf

    ways, listed = _signs(n, seed, 0 if n <= LISTED else EVERY)
    return Relabelling(ways, listed, scaled, np.abs(scaled.sum(axis=0)), some, least, n - 1, as_t)


def sign_flip_test(values: ArrayLike, seed: int = 0) -> float:
    """Return the two-sided p-value of a mean over seeds; `flip_p_values` of one component, shape (seeds,).

    >>> sign_flip_test([0.2, 0.3, 0.1, 0.4, 0.2, 0.3, 0.1, 0.2])
    0.0078125

    Raises:
        TakebackError: no values, or one that is not finite.
    """
    return float(flip_p_values(np.atleast_1d(np.asarray(values, np.float64))[:, None], seed).each[0])


def how_tested(weights: Sequence[float]) -> Test:
    """Return how a contrast is tested: two arms with weights w and −w by dealing out runs, others by flips.

    >>> how_tested([1, -1]), how_tested([0.5, 0.5, -1]), how_tested([1])
    ('permutation', 'sign flips', 'sign flips')
    """
    return "permutation" if len(weights) == 2 and weights[0] == -weights[1] else "sign flips"


def smallest_contrast_p(weights: Sequence[float], seeds: int) -> float:
    """Return the smallest p-value that a contrast of these weights can reach with so many seeds.

    >>> round(smallest_contrast_p([1, -1], 8), 5), smallest_contrast_p([0.5, 0.5, -1], 8)
    (0.00016, 0.0078125)

    Raises:
        TakebackError: there are no seeds.
    """
    return smallest_p(seeds, seeds) if how_tested(weights) == "permutation" else smallest_flip_p(seeds)


def weighted_contrast(arms: ArrayLike, weights: Sequence[float], seed: int = 0) -> WeightedContrast:
    """Estimate and test a weighted sum over arms for many components; `arms` is [arms, seeds, components].

    Seeds are paired: the same seed of every arm shares its situations and its place in the array. The
    interval is Student's over the seeds' weighted sums (`seeds_estimate`), uncorrected. Two arms with weights
    w and −w are tested by dealing the runs out to the arms (`permutation_p_values`), which assumes that runs
    of the two arms may be exchanged were there no difference: that they spread alike too. All other sums are
    tested by flipping the signs of seeds (`flip_p_values`), which assumes symmetry alone; so are two arms
    once more, with less power, for where one arm spreads much more than the other.

    >>> arms = [[[1.0], [1.2], [0.9], [1.1]], [[0.1], [0.3], [0.1], [0.2]]]
    >>> found = weighted_contrast(arms, [1, -1])
    >>> print(found.estimates[0], found.test, round(found.p[0], 4), round(found.smallest_p, 4))
    0.875 [0.7954, 0.9546] (n=4) permutation 0.0286 0.0286

    Raises:
        TakebackError: there is not one weight for each arm, a weight is 0, or a value is not finite.
    """
    array = np.asarray(arms, np.float64)
    if array.ndim != 3 or not array.size or len(array) != len(weights) or not all(weights):
        raise TakebackError(
            f"values of shape {array.shape} and weights {list(weights)}; a contrast needs [arms, seeds, "
            "components] and a weight other than 0 for each arm"
        )
    factors = np.asarray(weights, np.float64)
    sums = np.tensordot(factors, array, 1)
    sums[np.abs(sums) <= ROUNDING * np.tensordot(np.abs(factors), np.abs(array), 1)] = 0.0
    test = how_tested(weights)
    flips = flip_p_values(sums, seed)
    p = dealt(array[0], array[1], seed).p_values() if test == "permutation" else flips
    estimates = tuple(seeds_estimate(column) for column in sums.T)
    least = smallest_contrast_p(weights, array.shape[1])
    errors = _errors(array, sums, factors, test)
    return WeightedContrast(estimates, *p, flips.family, least, test, sums, errors)


def _errors(array: Floats, sums: Floats, weights: Floats, test: Test) -> Floats | None:
    n = len(sums)
    if n < 2:
        return None
    if test == "permutation":
        return np.sqrt(array.var(axis=1, ddof=1).mean(axis=0) * float(weights @ weights) / n)
    return sums.std(axis=0, ddof=1) / math.sqrt(n)


@lru_cache(maxsize=4)
def _signs(seeds: int, seed: int, draws: int) -> tuple[Floats, bool]:
    """Return the sign of each seed in each way, shape (ways, seeds), and whether those are all ways.

    Of a way and its opposite, whose |sum| is the same, one is listed.
    """
    if draws:
        heads = np.random.default_rng(seed).integers(0, 2, size=(draws, seeds))
        return 2 * heads.astype(np.float64) - 1, False
    bits = np.arange(2 ** (seeds - 1))[:, None] >> np.arange(seeds) & 1
    return 1 - 2 * bits.astype(np.float64), True
