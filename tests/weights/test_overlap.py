"""Overlap and its nulls: by hand; calibrated where density follows magnitude, and the uniform one wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from fine_tunes_by_hand import moments
from takeback.weights.runs.overlap import (
    OVERLAP_SUMS,
    Changes,
    count_overlaps,
    hypergeometric,
    permutation,
    strata_of,
    visible_in_bf16,
)

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 500), st.data())
def test_the_moments_are_scipys(entries: int, data: st.DataObject) -> None:
    first, second = (data.draw(st.integers(0, entries)) for _ in range(2))
    mean, variance = hypergeometric(*(np.array(float(size)) for size in (entries, first, second)))
    assert (float(mean), float(variance)) == pytest.approx(moments(entries, first, second))


def test_strata_are_binary_exponents() -> None:
    weights = np.array([1.0, 1.999, -1.0, 2.0, 0.5, 0.0, -0.0, 2.0**-130])
    found = strata_of(weights)
    assert (found[:3] == found[0]).all()
    assert (found[3], found[4]) == (found[0] + 1, found[0] - 1)
    assert found[5] == found[6] < found[7] < found[4]


def test_counts_by_hand() -> None:
    """Two strata: weights of 1 (four entries) and of 2 (two entries)."""
    strata = strata_of(np.array([1.0, 2.0, 1.0, 1.0, 1.0, 2.0]))
    deltas = np.array([[0.1, 0.5, -0.1, 0.0, 0.0, 0.0], [0.1, 0.5, 0.2, 0.3, 0.0, 0.5]])
    visible = np.array([[True, True, False, False, False, False], [False, True, True, True, False, True]])
    changes = Changes.of(deltas, visible)
    found = {name: value[0, 1] for name, value in count_overlaps(changes, changes, strata).items()}
    assert set(found) == set(OVERLAP_SUMS)
    assert (found["changed_i_stored"], found["changed_j_stored"], found["both_stored"]) == (3, 5, 3)
    assert found["expected_stored"] == 2 * 3 / 4 + 1 * 2 / 2
    assert found["variance_stored"] == pytest.approx(2 * 3 * 2 * 1 / (16 * 3))
    assert (found["changed_i_bf16"], found["changed_j_bf16"], found["both_bf16"]) == (2, 4, 1)
    assert found["agree"] == 2  # at the first two; the third moved apart
    assert found["agree_expected"] == pytest.approx(1 + 1)  # {+, −} against {+, +}, and {+} against {+}
    assert found["agree_variance"] == 0


def sparse(generator: np.random.Generator, weights: np.ndarray) -> np.ndarray:
    """Draw two independent changes, the denser the smaller the weights' exponent, as bf16 shows them."""
    density = np.clip(0.02 / 2.0 ** strata_of(weights), 0.01, 0.9)
    moved = generator.random((2, weights.size)) < density
    return moved * generator.choice([-1.0, 1.0], size=moved.shape, p=[0.3, 0.7])


def scores(seed: int) -> tuple[float, float, float]:
    """Return z by the stratified null, by the uniform one, and of the signs, for independent changes."""
    generator = np.random.default_rng(seed)
    weights = 0.05 * generator.standard_normal(3000)
    deltas = sparse(generator, weights)
    changes = Changes.of(deltas, deltas != 0)
    found = {
        name: value[0, 1] for name, value in count_overlaps(changes, changes, strata_of(weights)).items()
    }
    mean, variance = hypergeometric(
        *(np.array(size) for size in (3000.0, found["changed_i_stored"], found["changed_j_stored"]))
    )
    both = found["both_stored"]
    return (
        (both - found["expected_stored"]) / found["variance_stored"] ** 0.5,
        float((both - mean) / variance**0.5),
        (found["agree"] - found["agree_expected"]) / found["agree_variance"] ** 0.5,
    )


def test_the_stratified_null_is_calibrated_and_the_uniform_one_is_not() -> None:
    """Of 300 independent pairs 5% are beyond 1.96, give or take 1.3%; three times that is allowed."""
    found = np.array([scores(seed) for seed in range(300)])
    stratified, uniform, signs = found.T
    for z in (stratified, signs):
        assert 0.012 < np.mean(np.abs(z) > 1.96) < 0.088
        assert abs(z.mean()) < 0.2
        assert 0.85 < z.std() < 1.15
    assert np.mean(uniform > 1.96) > 0.99
    assert uniform.mean() > 5


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 200))
def test_a_permutation_keeps_strata(seed: int, size: int) -> None:
    generator = np.random.default_rng(seed)
    strata = generator.integers(-3, 3, size).astype(np.int16)
    order = permutation(strata, generator)
    assert sorted(order.tolist()) == list(range(size))
    assert (strata[order] == strata).all()


def test_a_permutation_is_uniform_within_strata() -> None:
    strata = np.array([0, 1, 0, 0], np.int16)
    found = [tuple(permutation(strata, np.random.default_rng(seed))[[0, 2, 3]]) for seed in range(1200)]
    counts = np.unique(found, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 0.001


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_what_bf16_shows_is_what_rounding_both_sides_shows(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(50, generator=generator)
    tuned = base + torch.randn(3, 50, generator=generator) * 10.0 ** -torch.arange(2, 5)[:, None]
    expected = (tuned.bfloat16() != base.bfloat16()).numpy()
    deltas = tuned.double().numpy() - base.double().numpy()
    assert (visible_in_bf16(base.double().numpy(), deltas) == expected).all()


def test_independent_small_changes_overlap_in_bf16_beyond_strata() -> None:
    """What bf16 shows depends on how near a weight lies to where rounding turns: hence the permuted rows."""
    generator = np.random.default_rng(0)
    weights = generator.uniform(1, 2, 20_000).astype(np.float32).astype(np.float64)
    deltas = generator.standard_normal((2, weights.size)) * 3e-4
    changes = Changes.of(deltas, visible_in_bf16(weights, deltas))
    found = {
        name: value[0, 1] for name, value in count_overlaps(changes, changes, strata_of(weights)).items()
    }
    assert found["both_bf16"] > 3 * found["expected_bf16"]
    assert_allclose(found["both_stored"], found["expected_stored"])
