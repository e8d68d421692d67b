from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import takeback.run.sign_flips
from takeback.run.errors import TakebackError
from takeback.run.sign_flips import (
    flip_p_values,
    sign_flip_test,
    smallest_contrast_p,
    smallest_flip_p,
    weighted_contrast,
)
from takeback.run.stats import max_permutation, permutation_test, smallest_p

seeds = st.lists(st.integers(-20, 20), min_size=1, max_size=7)


@given(seeds)
def test_one_component_is_scipys_exact_test(values: list[int]) -> None:
    if len(values) < 2:
        assert sign_flip_test(values) == 1
        return
    found = scipy.stats.permutation_test(
        (values,),
        lambda x, axis: np.abs(x.mean(axis=axis)),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
        alternative="greater",
    )
    assert sign_flip_test(values) == pytest.approx(found.pvalue if any(values) else 1)


@given(seeds, st.floats(1e-6, 1e6))
def test_scale_and_sign_do_not_matter_and_no_p_is_below_the_smallest(values: list[int], scale: float) -> None:
    p = sign_flip_test(values)
    assert smallest_flip_p(len(values)) <= p <= 1
    assert p == pytest.approx(sign_flip_test([scale * v for v in values]))
    assert p == pytest.approx(sign_flip_test([-v for v in values]))


def test_the_maximum_is_over_components_and_by_hand() -> None:
    """The slow way: each flip's largest one-sample |t|, compared with each component's own."""
    values = np.random.default_rng(0).normal([2, 0, 0.5, 0], size=(6, 4)) * [1, 10, 1, 0.1]
    every = [
        np.abs(scipy.stats.ttest_1samp(values * np.array(signs)[:, None], 0).statistic)
        for signs in itertools.product([1, -1], repeat=6)
    ]
    own = np.abs(scipy.stats.ttest_1samp(values, 0).statistic)
    largest = np.array([t.max() for t in every])
    found = flip_p_values(values)
    np.testing.assert_allclose(found.family, [(largest >= t - 1e-9).mean() for t in own])
    np.testing.assert_allclose(found.each, np.mean([t >= own - 1e-9 for t in every], axis=0))
    assert (found.family >= found.each).all()


def test_components_may_have_any_scale() -> None:
    rng = np.random.default_rng(1)
    values, scale = rng.normal(0.5, size=(7, 5)), rng.uniform(0.01, 100, size=5)
    np.testing.assert_allclose(flip_p_values(values).family, flip_p_values(values * scale).family)


def test_a_component_that_is_nothing_says_nothing() -> None:
    values = np.random.default_rng(2).normal(1, size=(6, 2))
    found = flip_p_values(np.hstack([values, np.zeros((6, 1))]))
    assert found.family[2] == found.each[2] == 1
    np.testing.assert_array_equal(found.family[:2], flip_p_values(values).family)


def test_a_component_that_is_always_the_same_is_as_sure_as_can_be() -> None:
    assert flip_p_values(np.full((8, 1), 0.1)).family[0] == smallest_flip_p(8) == 2 / 2**8


def test_many_seeds_are_drawn_and_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(0.4, size=(9, 3))
    exact = flip_p_values(values).family
    monkeypatch.setattr(takeback.run.sign_flips, "LISTED", 8)
    drawn = flip_p_values(values, seed=1).family
    assert (drawn != exact).any()
    np.testing.assert_array_equal(drawn, flip_p_values(values, seed=1).family)
    np.testing.assert_allclose(drawn, exact, atol=4 * 0.5 / math.sqrt(20_000))
    assert (drawn != flip_p_values(values, seed=2).family).any()


def test_two_arms_with_opposite_weights_are_dealt_out() -> None:
    one, other = np.random.default_rng(4).normal(size=(2, 5, 3))
    one += 1
    found = weighted_contrast([one, other], [2, -2])
    assert found.test == "permutation"
    assert found.smallest_p == smallest_p(5, 5)
    np.testing.assert_array_equal(found.p_family, max_permutation(one, other))
    assert found.p[1] == permutation_test(one[:, 1], other[:, 1])
    np.testing.assert_array_equal(found.p_family_flips, flip_p_values(one - other).family)
    low, high = scipy.stats.ttest_1samp(2 * (one - other)[:, 0], 0).confidence_interval()
    estimate = found.estimates[0]
    assert (estimate.low, estimate.high) == pytest.approx((low, high))


@pytest.mark.parametrize("weights", [(0.5, 0.5, -1), (1,), (1, -0.5)])
def test_other_sums_are_flipped(weights: tuple[float, ...]) -> None:
    arms = np.random.default_rng(5).normal(1, size=(len(weights), 6, 2))
    found = weighted_contrast(arms, weights)
    sums = sum(weight * arm for weight, arm in zip(weights, arms, strict=True))
    assert found.test == "sign flips"
    np.testing.assert_allclose(found.p_family, flip_p_values(sums).family)
    assert [one.value for one in found.estimates] == pytest.approx(sums.mean(axis=0))
    assert found.smallest_p == smallest_contrast_p(weights, 6) == 2 / 64


def test_an_arm_against_itself_is_nothing() -> None:
    arm = np.random.default_rng(6).normal(size=(4, 2))
    found = weighted_contrast([arm, arm, arm], [0.5, 0.5, -1])
    assert found.p_family.tolist() == [1, 1]


def test_rounding_is_no_effect() -> None:
    """In thirds 0.3 does not cancel exactly, and what is left has one sign in every seed."""
    weights = [1 / 3, 1 / 3, 1 / 3, -1 / 3, -1 / 3, -1 / 3]
    arms = np.full((6, 8, 1), 0.3) * np.arange(1, 9)[:, None]
    left = sum(weight * arm for weight, arm in zip(weights, arms, strict=True))
    assert np.any(left)
    found = weighted_contrast(arms, weights)
    assert found.p_family.tolist() == [1.0]
    assert found.estimates[0].value == 0


def test_mistakes_are_named() -> None:
    with pytest.raises(TakebackError, match="0 seeds"):
        smallest_flip_p(0)
    with pytest.raises(TakebackError, match="sign flips need"):
        flip_p_values([1.0, 2.0])
    with pytest.raises(TakebackError, match="1 of 2 numbers are not finite"):
        flip_p_values([[1.0, math.nan]])
    with pytest.raises(TakebackError, match="a weight other than 0 for each arm"):
        weighted_contrast(np.ones((2, 3, 1)), [1.0])
    with pytest.raises(TakebackError, match="a weight other than 0 for each arm"):
        weighted_contrast(np.ones((2, 3, 1)), [1.0, 0.0])
