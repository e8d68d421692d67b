from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import takeback.run.stats
from takeback.run.errors import TakebackError
from takeback.run.stats import max_permutation, permutation_test, seeds_estimate, smallest_p

runs = st.lists(st.integers(-20, 20), min_size=2, max_size=5)


def distance(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    return np.abs(x.mean(axis=axis) - y.mean(axis=axis))


@given(runs, runs)
def test_one_component_is_scipys_exact_test(one: list[int], other: list[int]) -> None:
    found = scipy.stats.permutation_test(
        (one, other), distance, vectorized=True, n_resamples=np.inf, alternative="greater"
    )
    varies = len(set(one + other)) > 1
    assert permutation_test(one, other) == pytest.approx(found.pvalue if varies else 1)


def test_arms_of_one_size_have_scipys_two_sided_p() -> None:
    one, other = np.random.default_rng(0).normal(size=(2, 5))
    found = scipy.stats.permutation_test(
        (one, other),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        vectorized=True,
        n_resamples=np.inf,
    )
    assert permutation_test(one, other) == pytest.approx(found.pvalue)


@given(runs, runs)
def test_no_p_is_below_the_smallest_and_arms_may_swap(one: list[int], other: list[int]) -> None:
    p = permutation_test(one, other)
    assert smallest_p(len(one), len(other)) <= p <= 1
    assert p == permutation_test(other, one)


@pytest.mark.parametrize(("one", "other"), [(5, 5), (3, 3), (2, 4), (1, 3)])
def test_the_smallest_p_is_reached(one: int, other: int) -> None:
    values = np.arange(one + other) ** 2.0
    assert permutation_test(values[other:], values[:other]) == pytest.approx(smallest_p(one, other))


def test_the_maximum_is_over_components_and_by_hand() -> None:
    """The slow way: each dealing's largest pooled |t|, compared with each component's own."""
    rng = np.random.default_rng(1)
    one, other = rng.normal([4, 0, 1, 0], size=(3, 4)), rng.normal(size=(4, 4)) * [1, 10, 1, 0.1]
    both = np.concatenate([one, other])

    def t_values(first: list[int]) -> np.ndarray:
        rest = [i for i in range(7) if i not in first]
        return np.abs(scipy.stats.ttest_ind(both[first], both[rest]).statistic)

    every = [t_values([a, b, c]) for a in range(7) for b in range(a) for c in range(b)]
    largest = np.array([t.max() for t in every])
    expected = [(largest >= t - 1e-9).mean() for t in t_values([0, 1, 2])]
    np.testing.assert_allclose(max_permutation(one, other), expected)


def test_components_may_have_any_scale_and_shift() -> None:
    rng = np.random.default_rng(2)
    one, other = rng.normal(size=(2, 4, 6))
    scale, shift = rng.uniform(0.01, 100, size=(2, 6))
    np.testing.assert_allclose(
        max_permutation(one, other), max_permutation(one * scale + shift, other * scale + shift)
    )


def test_a_component_that_never_varies_says_nothing() -> None:
    one, other = np.random.default_rng(3).normal(size=(2, 3, 2))
    still = np.full((3, 1), 0.1)
    p = max_permutation(np.hstack([one, still]), np.hstack([other, still]))
    assert p[2] == 1
    np.testing.assert_array_equal(p[:2], max_permutation(one, other))


def test_family_wise_error_is_nominal_and_power_is_there() -> None:
    """With 5 runs in each arm p is a multiple of 2/252, so that 12/252 = 4.8% of null families may err."""
    rng, families, components = np.random.default_rng(4), 500, 20
    mixing = np.linalg.cholesky(0.5 * np.eye(components) + 0.5)
    wrong = single = found = 0
    for _ in range(families):
        one, other = rng.normal(size=(2, 5, components)) @ mixing.T
        wrong += max_permutation(one, other).min() <= 0.05
        single += min(permutation_test(one[:, c], other[:, c]) for c in range(3)) <= 0.05
        one[:, 0] += 6
        found += max_permutation(one, other)[0] <= 0.05
    assert wrong / families == pytest.approx(12 / 252, abs=4 * math.sqrt(0.0476 * 0.952 / families))
    assert single > wrong * 1.5
    assert found > 0.9 * families


def test_many_runs_are_sampled_and_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = np.random.default_rng(5).normal(size=(2, 6, 3))
    exact = max_permutation(one + 0.8, other)
    monkeypatch.setattr(takeback.run.stats, "EVERY", 900)
    drawn = max_permutation(one + 0.8, other, seed=1)
    np.testing.assert_array_equal(drawn, max_permutation(one + 0.8, other, seed=1))
    assert (drawn != max_permutation(one + 0.8, other, seed=2)).any()
    np.testing.assert_allclose(drawn, exact, atol=4 * 0.5 / math.sqrt(900))


def test_intervals_over_runs_cover() -> None:
    rng, hits = np.random.default_rng(6), 0
    for _ in range(1000):
        estimate = seeds_estimate(rng.normal(2.0, 3.0, size=4))
        hits += estimate.low <= 2.0 <= estimate.high
    assert hits / 1000 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 1000))
    low, high = scipy.stats.ttest_1samp([1.0, 2.0, 4.0], 0).confidence_interval()
    estimate = seeds_estimate([1.0, 2.0, 4.0])
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert seeds_estimate([1.0]).low is None


def test_mistakes_are_named() -> None:
    with pytest.raises(TakebackError, match="0 and 3 runs"):
        smallest_p(0, 3)
    with pytest.raises(TakebackError, match="at least one observation"):
        permutation_test([], [1.0])
    with pytest.raises(TakebackError, match="not finite"):
        permutation_test([1.0, 2.0], [math.nan, 1.0])
    with pytest.raises(TakebackError, match="both need"):
        max_permutation([[1.0, 2.0]], [[1.0]])
    with pytest.raises(TakebackError, match="1 of 4 numbers are not finite"):
        max_permutation([[1.0, math.inf]], [[1.0, 2.0]])
