from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeback.run.anytime import predicted_means, schedule, spent
from takeback.run.errors import TakebackError
from takeback.run.stats import mean_estimate

PRECISION, CONFIDENCE = 0.02, 0.95
PREDICTIONS = {
    "good": lambda y, rng: y + 0.3 * y.std(0) * rng.standard_normal(y.shape),
    "biased": lambda y, rng: 0.3 * y + 2.0 * y.std(0),
    "useless": lambda y, rng: rng.permutation(y, axis=0),
    "constant": lambda y, rng: np.zeros_like(y),
}


def effects(rng, size, columns):
    """Effects like real ones: nearly nothing in most situations, large in a few, of one sign more often."""
    large = rng.exponential(0.12, (size, columns)) * rng.choice([1, 1, 1, -1], (size, columns))
    rare = rng.random((size, columns)) < rng.uniform(0.15, 0.4, columns)
    return 1e-3 * rng.standard_normal((size, columns)) + large * rare * rng.uniform(0.05, 1, columns)


def table(n=12, columns=3, measured=7, seed=0):
    rng = np.random.default_rng(seed)
    predicted = rng.exponential(1.0, (n, columns))
    exact = 0.7 * predicted + rng.standard_normal((n, columns))
    exact[measured:] = np.nan
    return exact, predicted


def powered(exact, predicted, error):
    means = predicted_means(exact, predicted, error=error)
    fixed = means.no_narrower(PRECISION)
    return means.reach, fixed.low, fixed.high


def naive(exact, predicted, error):
    """What one would do without thinking: a plain 95% interval at every look."""
    known = exact[np.isfinite(exact[:, 0])]
    half = 1.96 * known.std(0, ddof=1) / np.sqrt(len(known))
    return half, known.mean(0) - half, known.mean(0) + half


def coverage(way, predict, rng, runs=100, columns=10, situations=256):
    """Share of runs that stop as the procedure does and whose intervals all hold the true means."""
    population = effects(rng, 50_000, columns)
    predictions = predict(population, rng)
    looks = schedule(situations, 64, 1.5)
    error = spent(CONFIDENCE, columns, len(looks))
    held = []
    for _ in range(runs):
        drawn = rng.integers(len(population), size=situations)
        y, f = population[drawn], predictions[drawn]
        low, high, wide = np.zeros(columns), np.zeros(columns), np.arange(columns)
        for look in looks:
            exact = np.where(np.arange(situations)[:, None] < look, y[:, wide], np.nan)
            reach, low[wide], high[wide] = way(exact, f[:, wide], error)
            wide = wide[reach > PRECISION]
            if not len(wide):
                break
        mean = population.mean(0)
        held.append(np.all((low <= mean) & (mean <= high)))
    return np.mean(held)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PREDICTIONS)
def test_all_intervals_hold_together_though_each_look_decides(kind):
    found = coverage(powered, PREDICTIONS[kind], np.random.default_rng(1))
    assert found >= CONFIDENCE - 2 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / 100)


def test_plain_intervals_do_not_hold_when_one_stops_at_the_first_narrow_one():
    assert coverage(naive, PREDICTIONS["constant"], np.random.default_rng(1)) < 0.7


@pytest.mark.slow
@pytest.mark.parametrize("kind", PREDICTIONS)
def test_all_intervals_hold_together_in_many_runs(kind):
    found = coverage(powered, PREDICTIONS[kind], np.random.default_rng(2), 300, 31, 512)
    assert found >= CONFIDENCE - 2 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / 300)


def test_formulas_written_out():
    exact, predicted = table()
    clusters = [0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 9]
    found = predicted_means(exact, predicted, clusters)
    labels = np.array(clusters)
    for column in range(3):
        y, f = exact[:7, column], predicted[:7, column]
        rest = predicted[7:, column]
        slopes = np.array([np.polyfit(f[labels[:7] != c], y[labels[:7] != c], 1)[0] for c in labels[:7]])
        value = y.mean() - 5 / 12 * np.mean(slopes * (f - rest.mean()))
        assert found.value[column] == pytest.approx(value)
        assert found.weight[column] == pytest.approx(slopes.mean())
        added = np.append(
            (y - 5 / 12 * slopes * (f - rest.mean()) - value) / 7,
            5 / 12 * slopes.mean() * (rest - rest.mean()) / 5,
        )
        variance = sum(added[labels == c].sum() ** 2 for c in range(10)) * 6 / 5
        assert found.se[column] == pytest.approx(np.sqrt(variance))
    np.testing.assert_array_equal(found.n, 7)


def test_measured_everywhere_it_is_the_mean_of_stats():
    exact, predicted = table(measured=12)
    found = predicted_means(exact, predicted)
    for column in range(3):
        wanted = mean_estimate(exact[:, column])
        assert found.value[column] == pytest.approx(wanted.value)
        assert found.se[column] == pytest.approx(wanted.se)
        assert found.low[column] <= wanted.low + 1e-12
        assert found.high[column] >= wanted.high - 1e-12


def test_perfect_predictions_count_in_full_and_leave_only_the_spread_of_all():
    rng = np.random.default_rng(0)
    predicted = rng.standard_normal((4000, 1)) + 3
    exact = np.where(np.arange(4000)[:, None] < 50, predicted - 1, np.nan)
    found = predicted_means(exact, predicted)
    assert found.weight == pytest.approx(1.0)
    assert found.value == pytest.approx(predicted.mean() - 1)
    assert found.se[0] == pytest.approx(1 / np.sqrt(4000), rel=0.05)


def test_useless_predictions_count_nothing():
    rng = np.random.default_rng(0)
    exact, predicted = rng.standard_normal((2, 20_000, 1))
    exact[10_000:] = np.nan
    assert abs(predicted_means(exact, predicted).weight[0]) < 0.05
    constant = predicted_means(exact, np.ones_like(exact))
    assert constant.weight[0] == 0
    assert constant.value[0] == pytest.approx(np.nanmean(exact))


@pytest.mark.slow
@pytest.mark.parametrize("kind", PREDICTIONS)
def test_the_estimate_is_unbiased_in_small_samples(kind):
    """A slope fitted on the same few skewed values would not be: its bias here is many standard errors."""
    rng = np.random.default_rng(3)
    population = np.exp(rng.standard_normal(200_000))[:, None]
    predictions = PREDICTIONS[kind](population, rng) ** 2
    drawn = rng.integers(len(population), size=(40, 20_000))
    y, f = population[drawn, 0], predictions[drawn, 0]
    values = predicted_means(np.where(np.arange(40)[:, None] < 10, y, np.nan), f).value
    spread = 4 * values.std() / np.sqrt(values.size)
    assert values.mean() == pytest.approx(population.mean(), abs=spread)


def test_clusters_count_once():
    exact, predicted = table()
    twice = predicted_means(np.repeat(exact, 2, 0), np.repeat(predicted, 2, 0), np.repeat(np.arange(12), 2))
    once = predicted_means(exact, predicted)
    np.testing.assert_allclose(twice.low, once.low)
    np.testing.assert_allclose(twice.high, once.high)


def test_a_situation_where_a_measure_does_not_apply_is_not_there():
    exact, predicted = table()
    absent = predicted.copy()
    absent[[2, 9]] = np.nan
    kept = np.delete(np.arange(12), [2, 9])
    found, wanted = predicted_means(exact, absent), predicted_means(exact[kept], predicted[kept])
    np.testing.assert_allclose(found.value, wanted.value)
    np.testing.assert_allclose(found.high, wanted.high)


@given(st.floats(0.1, 10), st.floats(-10, 10), st.floats(0.1, 10), st.floats(-10, 10))
def test_units_do_not_matter(scale, shift, other, away):
    exact, predicted = table()
    found = predicted_means(scale * exact + shift, other * predicted + away)
    wanted = predicted_means(exact, predicted)
    np.testing.assert_allclose(found.value, scale * wanted.value + shift, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.high, scale * wanted.high + shift, rtol=1e-6, atol=1e-6)


def test_intervals_reach_further_towards_a_long_tail():
    exact = np.random.default_rng(0).exponential(1.0, (40, 1)) ** 2
    right, left = (predicted_means(values, np.zeros_like(values), error=1e-3) for values in (exact, -exact))
    assert right.high[0] - right.value[0] > 1.5 * (right.value[0] - right.low[0])
    np.testing.assert_allclose(left.low, -right.high)
    assert right.reach[0] == right.high[0] - right.value[0]


def test_no_interval_is_narrower_than_asked():
    exact, predicted = table()
    found = predicted_means(exact, predicted)
    wide = found.no_narrower(9.0)
    np.testing.assert_allclose([wide.low, wide.high], [found.value - 9, found.value + 9])
    np.testing.assert_array_equal(found.no_narrower(0.0).low, found.low)


@given(st.integers(2, 3000), st.integers(2, 500), st.floats(1.01, 4))
def test_looks_grow_to_all(most, first, growth):
    looks = schedule(most, first, growth)
    assert looks[-1] == most
    assert all(before < after for before, after in pairwise(looks))
    assert looks[0] == min(first, most)


def test_errors_say_what_is_wrong():
    exact, predicted = table()
    with pytest.raises(TakebackError, match="not one table"):
        predicted_means(exact, predicted[:, :2])
    with pytest.raises(TakebackError, match="fewer than two measured clusters"):
        predicted_means(exact, predicted, [0] * 12)
    with pytest.raises(TakebackError, match="looks start at 2"):
        schedule(100, 64, 1.0)
    with pytest.raises(TakebackError, match="not between 0 and 1"):
        spent(1.0, 3, 3)
