"""Means over crossed runs and situations: against ANOVA, two-way sandwiches by hand, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeback.run.crossed import crossed_estimate
from takeback.run.errors import TakebackError
from takeback.run.stats import seeds_estimate
from validation.crossed import CASES, coverage


def mean_squares(table):
    """Return the mean squares of a two-way layout with one entry in a cell, as textbooks write them."""
    runs, situations = table.shape
    whole, rows, columns = table.mean(), table.mean(axis=1), table.mean(axis=0)
    left = sum(
        (table[i, j] - rows[i] - columns[j] + whole) ** 2 for i in range(runs) for j in range(situations)
    )
    return (
        situations * ((rows - whole) ** 2).sum() / (runs - 1),
        runs * ((columns - whole) ** 2).sum() / (situations - 1),
        left / ((runs - 1) * (situations - 1)),
    )


def test_the_error_is_that_of_the_analysis_of_variance():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(6, 1)) + rng.normal(size=(1, 40)) + rng.normal(size=(6, 40))
    found = crossed_estimate(table)
    by_run, by_situation, left = mean_squares(table)
    square = (by_run + by_situation - left) / 240
    assert found.both.se == pytest.approx(square**0.5)
    satterthwaite = (by_run + by_situation - left) ** 2 / (
        by_run**2 / 5 + by_situation**2 / 39 + left**2 / 195
    )
    assert found.freedom == pytest.approx(satterthwaite)
    assert found.of_runs == pytest.approx((by_run - left) / 240 / square)
    assert found.of_situations == pytest.approx((by_situation - left) / 240 / square)
    assert found.runs == seeds_estimate(table.mean(axis=1))


def test_the_mean_squares_are_those_of_a_published_table():
    """Penicillin yields, blends by treatments (Box, Hunter and Hunter 1978, table 7.1): 66, 23.3, 18.8."""
    table = np.array(
        [[89, 88, 97, 94], [84, 77, 92, 79], [81, 87, 87, 85], [87, 92, 89, 84], [79, 81, 80, 88]]
    )
    by_run, by_situation, left = mean_squares(table.astype(float))
    assert (by_run, by_situation, left) == pytest.approx((66, 70 / 3, 226 / 12))
    assert crossed_estimate(table).both.se == pytest.approx(((66 + 70 / 3 - 226 / 12) / 20) ** 0.5)


def test_clusters_of_situations_are_summed():
    """The sandwich of Cameron, Gelbach and Miller by its three sums, each over pairs in one cluster."""
    rng = np.random.default_rng(1)
    clusters = np.array([0, 0, 1, 2, 2, 2, 3, 4, 5, 5])
    table = rng.normal(size=(4, 1)) + rng.normal(size=6)[clusters] + rng.normal(size=(4, 10))
    of_run, of_situation = (table.mean(axis=axis, keepdims=True) - table.mean() for axis in (1, 0))
    left = table - table.mean() - of_run - of_situation
    runs = (of_run**2).sum() / 16 * 4 / 3
    groups = sum(of_situation[0, clusters == c].sum() ** 2 for c in range(6)) / 100 * 6 / 5
    both = sum(left[r, clusters == c].sum() ** 2 for r in range(4) for c in range(6)) / 1600 * 4 / 3 * 6 / 5
    found = crossed_estimate(table, clusters)
    assert found.both.se == pytest.approx(max(runs + groups - both, runs) ** 0.5)
    assert found.both.clusters == 6
    names = [f"orbit {c}" for c in clusters]
    assert crossed_estimate(table, names).both == found.both


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 99), st.floats(-5, 5), st.floats(0.01, 100))
def test_it_moves_and_stretches_with_the_table(runs, situations, seed, shift, scale):
    table = np.random.default_rng(seed).normal(size=(runs, situations))
    one, other = crossed_estimate(table), crossed_estimate(scale * table + shift)
    assert one.both.low is not None
    assert other.both.low == pytest.approx(scale * one.both.low + shift, abs=1e-6)
    assert other.freedom == pytest.approx(one.freedom, rel=1e-4)
    assert one.freedom >= min(runs, situations) - 1
    assert 0 <= one.of_runs + one.of_situations <= 1 + 1e-9


def test_where_situations_do_not_matter_it_is_the_interval_over_runs():
    table = np.repeat([[0.1], [0.3], [0.2]], 5, axis=1)
    found = crossed_estimate(table)
    assert (found.both.low, found.both.high) == pytest.approx((found.runs.low, found.runs.high))
    assert (found.of_runs, found.of_situations) == pytest.approx((1, 0))


def test_what_is_not_there_is_unknown():
    assert crossed_estimate([[1.0, 2.0]]).both.low is None
    alone = crossed_estimate([[1.0, 2.0], [2.0, 3.0]], ["a", "a"])
    assert alone.both.low is None
    assert alone.runs.low is not None
    assert crossed_estimate(np.ones((2, 2))).of_runs is None
    for wrong in ([1.0, 2.0], [[np.nan, 1.0]], np.zeros((0, 3))):
        with pytest.raises(TakebackError):
            crossed_estimate(wrong)
    with pytest.raises(TakebackError, match="labels"):
        crossed_estimate([[1.0, 2.0]], ["a"])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_interval_covers_where_one_over_runs_alone_does_not(case):
    """Within 93 to 97%; the interval over runs misses wherever situations carry half of the variance."""
    both, runs, _ = coverage(case, situations=128, times=1500, seed=5)
    assert 0.93 <= both <= 0.97
    if CASES[case][1] >= 0.5:
        assert runs < 0.93
