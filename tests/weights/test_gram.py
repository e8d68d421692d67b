"""The Gram matrix, and what it tells of a path: algebra, straight paths, random walks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from takeback.weights.runs.gram import cosine, distances, gram, random_walk, with_start
from takeback.weights.runs.path import PATH_MEASURES, STEP_MEASURES, path_measures, step_measures

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 5), st.integers(1, 40), st.data())
def test_a_gram_matrix_is_symmetric_positive_and_additive(
    seed: int, count: int, size: int, data: st.DataObject
) -> None:
    deltas = np.random.default_rng(seed).standard_normal((count, size))
    found = gram(deltas)
    assert_allclose(found, deltas @ deltas.T, rtol=1e-12, atol=1e-12)
    assert (found == found.T).all()
    assert np.linalg.eigvalsh(found)[0] > -1e-10 * np.trace(found)
    cut = data.draw(st.integers(0, size))
    assert_allclose(gram(deltas[:, :cut]) + gram(deltas[:, cut:]), found, rtol=1e-12, atol=1e-12)
    assert_allclose(gram(deltas, 2 * deltas), 2 * found)


def test_cosine_by_hand() -> None:
    values = cosine(np.array([3.0, -4.0, 0.0]), np.array([9.0, 4.0, 0.0]), np.array([4.0, 4.0, 1.0]))
    assert values[:2].tolist() == [0.5, -1.0]
    assert np.isnan(values[2])


def path_of(positions: np.ndarray) -> np.ndarray:
    return gram(positions[1:] - positions[0])


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.lists(st.integers(1, 50), min_size=2, max_size=7))
def test_a_path_is_measured_as_by_its_positions(seed: int, gaps: list[int]) -> None:
    steps = np.cumsum(gaps).tolist()
    positions = np.random.default_rng(seed).standard_normal((len(steps) + 1, 9)).cumsum(0)
    products, deltas = path_of(positions), positions[1:] - positions[0]
    moves = np.diff(positions, axis=0)
    assert_allclose(distances(with_start(products)), np.linalg.norm(moves, axis=1), rtol=1e-9)

    final, share = deltas[-1], np.array(steps)[:, None] / steps[-1]
    at = step_measures(products, steps)
    norms = np.linalg.norm(deltas, axis=1)
    assert set(at) == set(STEP_MEASURES)
    assert_allclose(at["cosine_final"], deltas @ final / norms / norms[-1], atol=1e-9)
    assert_allclose(at["multiple"], np.linalg.lstsq(final[:, None], deltas.T, rcond=None)[0][0], atol=1e-9)
    assert_allclose(at["linear"], 1 - ((deltas - share * final) ** 2).sum(1) / norms**2, atol=1e-9)
    turns = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairwise(moves)]
    assert np.isnan(at["turn"][0])
    assert_allclose(at["turn"][1:], turns, atol=1e-9)

    whole = path_measures(products, steps)
    assert set(whole) == set(PATH_MEASURES)
    assert whole["straightness"] == pytest.approx(norms[-1] / np.linalg.norm(moves, axis=1).sum())
    values = np.linalg.svd(positions - positions.mean(0), compute_uv=False) ** 2
    assert whole["principal"] == pytest.approx(values[0] / values.sum())
    between = (deltas[:-1] ** 2).sum()
    residual = (deltas - share * final)[:-1]
    assert whole["linear_r2"] == pytest.approx(1 - (residual**2).sum() / between, abs=1e-9)
    best = deltas[:-1] - np.outer(at["multiple"][:-1], final)
    assert whole["multiple_r2"] == pytest.approx(1 - (best**2).sum() / between, abs=1e-9)
    assert whole["multiple_r2"] >= whole["linear_r2"] - 1e-12


def test_a_straight_path_at_constant_speed() -> None:
    steps = [10, 20, 50]
    whole = path_measures(gram(np.outer(steps, [3.0, 4.0])), steps)
    assert all(value == pytest.approx(1) for value in whole.values())
    at = step_measures(gram(np.outer(steps, [3.0, 4.0])), steps)
    assert_allclose(at["multiple"], [0.2, 0.4, 1.0])
    assert_allclose(at["turn"][1:], 1.0)


def test_a_path_there_and_back_has_no_direction() -> None:
    whole = path_measures(gram(np.array([[1.0], [0.0]])), [1, 2])
    assert whole["straightness"] == 0
    assert np.isnan(whole["multiple_r2"])


def test_the_null_is_what_simulated_random_walks_do() -> None:
    """Moves of independent normal entries, as many as steps pass, in 20,000 dimensions."""
    generator, steps = np.random.default_rng(7), [40, 80, 120, 160, 200, 300]
    spread = np.sqrt(np.diff([0, *steps]))[:, None]
    null = random_walk(steps)
    for _ in range(5):
        walk = gram((generator.standard_normal((len(steps), 20_000)) * spread).cumsum(0))
        for name, value in path_measures(walk, steps).items():
            assert value == pytest.approx(path_measures(null, steps)[name], abs=0.02), name
        for name, value in step_measures(walk, steps).items():
            assert_allclose(value, step_measures(null, steps)[name], atol=0.03, err_msg=name)


def test_the_null_has_the_known_limits() -> None:
    steps = list(range(1, 1001))
    at, whole = step_measures(random_walk(steps), steps), path_measures(random_walk(steps), steps)
    assert_allclose(at["cosine_final"], np.sqrt(np.array(steps) / 1000))
    assert whole["straightness"] == pytest.approx(1 / np.sqrt(1000))
    assert whole["principal"] == pytest.approx(6 / np.pi**2, abs=1e-3)  # of a centred Wiener path
    assert whole["linear_r2"] == pytest.approx(2 / 3, abs=1e-3)
    assert whole["multiple_r2"] == pytest.approx(2 / 3, abs=1e-3)
