"""Bounds and power: against published sizes of samples, and against tests that are run many times."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from takeback.run.errors import TakebackError
from takeback.run.power import bound, noncentrality
from takeback.run.sign_flips import flipped
from takeback.run.stats import Estimate, dealt, mean_estimate


def quantile(freedom):
    return scipy.stats.t.ppf(0.975, freedom)


@pytest.mark.parametrize(("size", "runs"), [(0.2, 393.4057), (0.5, 63.76561), (0.8, 25.52458)])
def test_two_arms_are_as_large_as_cohen_and_statsmodels_say(size, runs):
    """Runs of each arm for a power of 80% at 5% (TTestIndPower; Cohen 1988, table 2.4.1: 393, 64, 26)."""
    freedom = 2 * runs - 2
    assert noncentrality(freedom, quantile(freedom)) * math.sqrt(2 / runs) == pytest.approx(size, rel=1e-4)


def test_one_arm_is_as_large_as_statsmodels_says():
    """TTestPower().solve_power(0.5, power=0.8, alpha=0.05) gives 33.36713."""
    found = noncentrality(32.36713, quantile(32.36713))
    assert found / math.sqrt(33.36713) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.slow
@given(st.integers(1, 40), st.floats(0, 200), st.floats(0.3, 0.99))
def test_the_effect_has_the_power(freedom, critical, power):
    found = noncentrality(freedom, critical, power)
    drawn = scipy.stats.chi2.ppf((np.arange(20_000) + 0.5) / 20_000, freedom)  # Student's t given its scale
    reach = critical * np.sqrt(drawn / freedom)
    beyond = (scipy.stats.norm.cdf(found - reach) + scipy.stats.norm.cdf(-found - reach)).mean()
    assert beyond == pytest.approx(power, abs=2e-3) or (found == 0 and beyond >= power)


@pytest.mark.parametrize(("freedom", "critical", "power"), [(0, 1, 0.8), (3, math.inf, 0.8), (3, 1, 1.0)])
def test_power_of_nothing_is_refused(freedom, critical, power):
    with pytest.raises(TakebackError):
        noncentrality(freedom, critical, power)


def families(rng, components, runs=8):
    """Draw components that share half of their variance."""
    shared = rng.normal(size=(runs, 1))
    return 0.5**0.5 * (shared + rng.normal(size=(runs, components)))


@pytest.mark.parametrize("components", [1, 30])
@pytest.mark.parametrize("arms", [1, 2])
def test_the_smallest_effect_is_seen_four_times_in_five(components, arms):
    """The family-wise test itself, run on effects of that size; 200 times, known to ±6 points."""
    rng = np.random.default_rng([components, arms])

    def relabelled(effect=0.0):
        one = families(rng, components)
        one[:, 0] += effect
        return flipped(one) if arms == 1 else dealt(one, families(rng, components))

    nulls = [relabelled() for _ in range(40)]
    critical = np.median([one.critical(0.05) or math.inf for one in nulls])
    size = noncentrality(nulls[0].freedom, critical) * math.sqrt(arms / 8)
    seen = np.mean([relabelled(size).p_values().family[0] <= 0.05 for _ in range(200)])
    assert 0.7 <= seen <= 0.9


def test_the_critical_value_is_where_p_crosses_the_level():
    rng = np.random.default_rng(2)
    for _ in range(20):
        values = families(rng, 6) + np.array([0, 0, 0, 0, 0.5, 1.2])
        found = flipped(values)
        t = np.abs(scipy.stats.ttest_1samp(values, 0).statistic)
        assert ((t > found.critical(0.05) + 1e-6) == (found.p_values().family <= 0.05)).all()
        other = dealt(values, families(rng, 6))
        t = np.abs([other.as_t(one) for one in other.observed])
        assert ((t > other.critical(0.05) + 1e-6) == (other.p_values().family <= 0.05)).all()


def test_t_is_students():
    rng = np.random.default_rng(3)
    one, other = rng.normal(size=(8, 3)), rng.normal(size=(6, 3))
    found = dealt(one, other)
    t = np.abs(scipy.stats.ttest_ind(one, other).statistic)
    assert [found.as_t(s) for s in found.observed] == pytest.approx(t.tolist())
    found = flipped(one)
    assert [found.as_t(s) for s in found.observed] == pytest.approx(
        np.abs(scipy.stats.ttest_1samp(one, 0).statistic).tolist()
    )


def test_few_runs_see_nothing_however_large():
    values = np.random.default_rng(0).normal(size=(5, 3))
    assert flipped(values).critical(0.05) is None
    assert dealt(values[:3], values[:3]).critical(0.05) is None
    assert flipped(values).critical(0.1) is not None or flipped(values).least == 0.0625


def test_the_bound_covers_the_largest_of_many_effects():
    """The largest bound of 20 components is above the largest true effect in 95% of families or more."""
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(300):
        effects = rng.normal(size=20)
        values = effects + rng.normal(size=(8, 20))
        bounds = [bound(mean_estimate(column)) for column in values.T]
        held += max(one for one in bounds if one is not None) >= np.abs(effects).max()
    assert held >= 0.93 * 300
    assert bound(Estimate(0.0, None, None, None, 1, 1)) is None
