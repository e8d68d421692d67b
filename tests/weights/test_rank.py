"""Ranks: exact on what is known by hand, bounds of a sketch that hold the truth for spectra of any shape."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from takeback.weights.spectra.rank import (
    LEVELS,
    Spectrum,
    energy_rank,
    entropy_rank,
    exact,
    gaussian_ranks,
    gram,
    rank_bounds,
    ranks,
    sketch,
    stable_rank,
)


def with_values(values: np.ndarray, rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    """Build a matrix with these singular values and random singular vectors."""
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((rows, len(values))))[0]
    right = np.linalg.qr(rng.standard_normal((columns, len(values))))[0]
    return torch.from_numpy(left * values @ right.T)


def by_hand(matrix: torch.Tensor) -> dict[str, float]:
    """Compute the ranks straight from their definitions on scipy's singular values."""
    squares = scipy.linalg.svdvals(matrix.numpy()) ** 2
    shares = squares / squares.sum()
    held = np.cumsum(shares)
    found = {
        name: next(k for k, h in enumerate(held, 1) if h >= level - 1e-12) for name, level in LEVELS.items()
    }
    entropy = -sum(p * math.log(p) for p in shares if p > 0)
    return {**found, "stable_rank": squares.sum() / squares[0], "entropy_rank": math.exp(entropy)}


@pytest.mark.parametrize("shape", [(7, 12), (30, 9), (16, 16), (1, 5), (5, 1)])
def test_exact_ranks_equal_the_definitions(shape: tuple[int, int]) -> None:
    matrix = torch.from_numpy(np.random.default_rng(1).standard_normal(shape))
    assert ranks(exact(matrix, vectors=False)) == pytest.approx(by_hand(matrix), rel=1e-10)


@pytest.mark.parametrize("rank", [1, 3, 10])
def test_equal_values_give_the_rank_itself(rank: int) -> None:
    matrix = with_values(np.full(rank, 2.0), 20, 30)
    for spectrum in (exact(matrix), sketch(matrix, 12, np.random.default_rng(0))):
        assert stable_rank(spectrum).value == pytest.approx(rank)
        for name, level in LEVELS.items():
            assert energy_rank(spectrum, level).value == math.ceil(level * rank), name
    assert entropy_rank(exact(matrix)) == pytest.approx(rank)


def test_a_sketch_of_low_rank_is_exact_and_says_that_it_saw_no_tail() -> None:
    spectrum = sketch(with_values(np.array([5.0, 2.0, 0.1]), 60, 40), 8, np.random.default_rng(0))
    assert not spectrum.complete
    assert spectrum.values[:3] == pytest.approx([5.0, 2.0, 0.1])
    assert energy_rank(spectrum, 0.99).value == 2
    assert entropy_rank(spectrum) is None


SHAPES = st.tuples(st.integers(6, 40), st.integers(6, 40))


@settings(max_examples=60, deadline=None)
@given(
    shape=SHAPES,
    decay=st.sampled_from(["flat", "geometric", "power", "step", "one"]),
    strength=st.floats(0.05, 3.0),
    size=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_bounds_of_a_sketch_hold_the_truth(
    shape: tuple[int, int], decay: str, strength: float, size: int, seed: int
) -> None:
    places = np.arange(min(shape))
    values = {
        "flat": np.ones(len(places)),
        "geometric": np.exp(-strength * places),
        "power": (places + 1.0) ** -strength,
        "step": np.where(places < 4, 1.0, 0.1 * strength),
        "one": np.where(places < 1, 10.0, strength),
    }[decay]
    matrix = with_values(values, *shape, seed)
    truth, spectrum = by_hand(matrix), sketch(matrix, size, np.random.default_rng(seed), rounds=seed % 3)
    for name, bounds in rank_bounds(spectrum).items():
        assert bounds.low <= truth[name] * (1 + 1e-9), name
        assert bounds.high >= truth[name] * (1 - 1e-9), name
        assert bounds.high <= min(shape) * (1 + 1e-9)


def test_a_poor_sketch_gives_an_interval_and_no_value() -> None:
    matrix = torch.from_numpy(np.random.default_rng(0).standard_normal((60, 80)))
    found = ranks(sketch(matrix, 10, np.random.default_rng(0)))
    assert found == dict.fromkeys(found)


@pytest.mark.parametrize("shape", [(128, 128), (96, 384), (300, 128)])
def test_the_limit_law_agrees_with_drawn_gaussians(shape: tuple[int, int]) -> None:
    drawn, limit = gaussian_ranks(shape, 5, 0, 1024), gaussian_ranks(shape, 5, 0, 0)
    for name, value in drawn.items():
        assert limit[name] == pytest.approx(value, rel=0.02 if name != "stable_rank" else 0.05), name
    assert drawn["k90"] < 0.8 * min(shape)


def test_a_gaussians_stable_rank_meets_the_known_edge() -> None:
    shape = (400, 1600)
    edge = shape[0] * shape[1] / (math.sqrt(shape[0]) + math.sqrt(shape[1])) ** 2
    assert gaussian_ranks(shape, 1, 0, 0)["stable_rank"] == pytest.approx(edge, rel=0.02)


def test_the_null_depends_on_shape_and_seed_alone() -> None:
    assert gaussian_ranks((9, 14), 3, 0, 100) == gaussian_ranks((14, 9), 3, 0, 100)
    assert gaussian_ranks((9, 14), 3, 0, 100) != gaussian_ranks((9, 14), 3, 1, 100)


def test_a_sketch_never_says_more_than_there_is() -> None:
    matrix = torch.from_numpy(np.random.default_rng(3).standard_normal((50, 40)))
    found, truth = sketch(matrix, 15, np.random.default_rng(1)), exact(matrix)
    assert np.all(found.values <= truth.values[:15] + 1e-9)
    assert found.missing == pytest.approx(truth.square - float(np.sum(found.values**2)))
    assert isinstance(found, Spectrum)


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (2000, 12), (5, 5)])
def test_a_gram_matrix_gives_the_spectrum_within_its_error(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    matrix = torch.from_numpy(rng.standard_normal(shape) * np.logspace(0, -9, shape[1]))
    slow, fast = exact(matrix), gram(matrix, energy=0.9)
    assert np.all(np.abs(slow.values**2 - fast.values**2) <= fast.error)
    assert np.all(np.abs(slow.values - fast.values) <= fast.errors)
    assert fast.left is not None
    assert slow.left is not None
    rank = fast.left.shape[1]
    lost = fast.left - slow.left[:, :rank] @ (slow.left[:, :rank].T @ fast.left)
    assert float(lost.abs().max()) < 1e-12
