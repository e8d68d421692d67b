from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from takeback.run.errors import TakebackError
from takeback.run.stats import (
    cluster_codes,
    clustered_se,
    mean_estimate,
    paired_difference,
    proportion_interval,
)

numbers = st.lists(st.floats(-100, 100), min_size=2, max_size=20)


def by_definition(values: list[float], clusters: list[int]) -> float:
    """Miller's formula as it is printed, with its three sums."""
    n, mean = len(values), sum(values) / len(values)
    variance = sum((s - mean) ** 2 for s in values) / (n - 1) / n
    for c in set(clusters):
        members = [s for s, label in zip(values, clusters, strict=True) if label == c]
        for i, left in enumerate(members):
            for j, right in enumerate(members):
                variance += (left - mean) * (right - mean) / n**2 if i != j else 0.0
    return math.sqrt(max(variance, 0.0))


@given(numbers, st.data())
def test_clustered_error_is_the_printed_formula(values: list[float], data: st.DataObject) -> None:
    n = len(values)
    clusters = data.draw(
        st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(lambda c: len(set(c)) > 1)
    )
    assert clustered_se(values, clusters) == pytest.approx(
        by_definition(values, clusters), rel=1e-6, abs=1e-5
    )


@given(numbers)
def test_singletons_have_the_usual_error_and_interval(values: list[float]) -> None:
    estimate = mean_estimate(values)
    assert estimate.se == pytest.approx(scipy.stats.sem(values), abs=1e-9)
    if estimate.se > 1e-6:
        low, high = scipy.stats.t.interval(0.95, len(values) - 1, np.mean(values), scipy.stats.sem(values))
        assert (estimate.low, estimate.high) == pytest.approx((low, high), rel=1e-6, abs=1e-6)


@given(numbers, st.floats(-5, 5), st.floats(0.1, 10))
def test_error_ignores_shifts_and_follows_scale(values: list[float], offset: float, scale: float) -> None:
    moved = [scale * value + offset for value in values]
    assert clustered_se(moved) == pytest.approx(scale * clustered_se(values), rel=1e-6, abs=1e-6)


def test_doubling_every_observation_does_not_shrink_the_error() -> None:
    """Copies of an observation are no news if they share a cluster; alone they count as news."""
    values = np.random.default_rng(0).normal(size=50)
    twice, labels = np.repeat(values, 2), np.repeat(np.arange(50), 2)
    assert clustered_se(twice, labels) == pytest.approx(clustered_se(values), rel=0.02)
    assert clustered_se(twice) < 0.75 * clustered_se(values)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_coverage_under_clustering(confidence: float) -> None:
    rng, hits, naive, runs = np.random.default_rng(1), 0, 0, 600
    labels = np.repeat(np.arange(40), 5)
    for _ in range(runs):
        values = 3 + rng.normal(size=40)[labels] + rng.normal(size=200)
        clustered, alone = mean_estimate(values, labels, confidence), mean_estimate(values, None, confidence)
        hits += clustered.low <= 3 <= clustered.high
        naive += alone.low <= 3 <= alone.high
    allowed = 4 * math.sqrt(confidence * (1 - confidence) / runs)
    assert hits / runs == pytest.approx(confidence, abs=allowed)
    assert naive / runs < confidence - 2 * allowed


def test_pairing_takes_out_what_both_sides_share() -> None:
    rng = np.random.default_rng(2)
    before = rng.normal(size=300)
    after = before + 0.1 + 0.01 * rng.normal(size=300)
    difference = paired_difference(after, before)
    assert difference.value == pytest.approx(np.mean(after - before))
    assert difference.se == pytest.approx(scipy.stats.sem(after - before))
    assert difference.se < 0.05 * mean_estimate(after).se


@given(st.integers(1, 60), st.data())
def test_wilson_is_the_root_of_its_score(n: int, data: st.DataObject) -> None:
    """The ends solve |p̂ − p| = z √(p(1 − p)/n)."""
    successes = data.draw(st.integers(0, n))
    z = scipy.stats.norm.ppf(0.975)
    for end in proportion_interval(successes, n):
        assert abs(successes / n - end) == pytest.approx(z * math.sqrt(max(end * (1 - end), 0) / n), abs=1e-6)


def test_one_cluster_has_a_mean_but_no_error() -> None:
    estimate = mean_estimate([1.0, 2.0], ["a", "a"])
    assert (estimate.value, estimate.se, estimate.low, estimate.high) == (1.5, None, None, None)
    assert (estimate.n, estimate.clusters) == (2, 1)
    assert str(estimate) == "1.5 (n=2)"
    with pytest.raises(TakebackError, match="one cluster"):
        clustered_se([1.0, 2.0], ["a", "a"])


def test_mistakes_are_named() -> None:
    with pytest.raises(TakebackError, match="at least one observation"):
        mean_estimate([])
    with pytest.raises(TakebackError, match="1 of 2 observations are not finite"):
        mean_estimate([1.0, math.nan])
    with pytest.raises(TakebackError, match="1 cluster labels for 2"):
        cluster_codes(["a"], 2)
    with pytest.raises(TakebackError, match="pairs need both"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(TakebackError, match="confidence"):
        mean_estimate([1.0, 2.0], confidence=95)
    with pytest.raises(TakebackError, match="3 successes of 2"):
        proportion_interval(3, 2)
