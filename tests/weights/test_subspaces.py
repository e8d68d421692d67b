"""Leading subspaces: angles as scipy's, shares under their exact law, planted changes found in place."""

from __future__ import annotations

import itertools
import math
from importlib import import_module

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from takeback.weights.spectra.permuted import permuted_laws
from takeback.weights.spectra.rank import exact, sketch
from takeback.weights.spectra.shape import Options, change_shape
from takeback.weights.spectra.subspaces import (
    SIDES,
    Leading,
    gap,
    gaussian_law,
    leading,
    principal_angles,
    rotation,
    shares,
)

ROWS, COLUMNS = 30, 20


def gaussian(seed: int, rows: int = ROWS, columns: int = COLUMNS) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, columns)))


@pytest.mark.parametrize("turn", [1.0, 1e-3, 1e-9])
@pytest.mark.parametrize("dimension", [1, 7, 19])
def test_angles_equal_scipys(turn: float, dimension: int) -> None:
    one, step = gaussian(1).numpy()[:, :dimension], gaussian(2).numpy()[:, :dimension]
    bases = [np.linalg.qr(one)[0], np.linalg.qr(one + turn * step)[0]]
    found = principal_angles(*map(torch.from_numpy, bases)).numpy()
    assert np.sort(found) == pytest.approx(np.sort(scipy.linalg.subspace_angles(*bases)), rel=1e-6, abs=1e-15)


def test_a_turn_by_hand() -> None:
    angle = math.radians(12)
    turned = torch.eye(4, dtype=torch.float64)
    turned[:2, :2] = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    base = torch.diag(torch.tensor([8.0, 3.0, 2.0, 1.0], dtype=torch.float64))
    spaces = [leading(exact(matrix), 0.5) for matrix in (base, turned @ base)]
    assert spaces[0] is not None
    assert spaces[1] is not None
    found = rotation(spaces[0], spaces[1])
    assert found["rotation_left_max"] == pytest.approx(12)
    assert found["rotation_right_max"] == pytest.approx(0, abs=1e-6)
    assert gap(exact(base), 1) == pytest.approx(5 / 8)


def test_leading_subspaces_are_the_smallest_with_the_energy() -> None:
    base = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))
    for energy, rank in ((0.5, 1), (9 / 14, 1), (0.65, 2), (0.95, 3), (1.0, 3)):
        space = leading(exact(base), energy)
        assert space is not None
        assert space.rank == rank
    assert leading(sketch(gaussian(0), 2, np.random.default_rng(0)), 0.9) is None


@pytest.mark.parametrize("side", SIDES)
def test_the_beta_law_is_that_of_drawn_gaussians(side: str) -> None:
    space = leading(exact(gaussian(0)), 0.5)
    assert space is not None
    law = gaussian_law(side, space.rank, (ROWS, COLUMNS))
    drawn = [shares(space, gaussian(seed, ROWS, COLUMNS))[side] for seed in range(100, 2100)]
    test = scipy.stats.kstest(drawn, lambda x: np.array([law.below(one) for one in np.atleast_1d(x)]))
    assert test.pvalue > 1e-3
    assert np.mean(drawn) == pytest.approx(law.mean, rel=0.02)
    assert np.quantile(drawn, (0.025, 0.975)) == pytest.approx(
        [law.quantile(0.025), law.quantile(0.975)], rel=0.05
    )


def test_a_subspace_that_is_everything_holds_everything() -> None:
    space = leading(exact(gaussian(0)), 1.0)
    assert space is not None
    found = shares(space, gaussian(1))
    assert found["right"] == pytest.approx(1)
    law = gaussian_law("right", space.rank, (ROWS, COLUMNS))
    assert (law.mean, law.quantile(0.025), law.below(1.0)) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("place", "low", "high"), [("inside", 0.99, 1.0), ("outside", 0.0, 0.01), ("random", 0, 1)]
)
def test_planted_changes_lie_where_they_were_put(place: str, low: float, high: float) -> None:
    base = gaussian(0, 48, 40)
    space = leading(exact(base), 0.5)
    assert space is not None
    noise = gaussian(5, 48, 40)
    inside = space.left @ (space.left.T @ noise @ space.right) @ space.right.T
    outside = noise - space.left @ (space.left.T @ noise)
    outside -= outside @ space.right @ space.right.T
    delta = {"inside": inside, "outside": outside, "random": noise}[place]
    found = change_shape(base, base + 1e-3 * delta, Options(), np.random.default_rng(0))
    for side in SIDES:
        share = found[f"share_{side}"]
        assert share is not None
        assert low <= share <= high + 1e-9
        above, below = (
            share > found[f"share_{side}_gaussian_high"],
            share < found[f"share_{side}_gaussian_low"],
        )
        assert (above, below) == (place == "inside", place == "outside")
        assert found[f"share_{side}_permuted_below"] == {"inside": 1, "outside": 0}.get(
            place, found[f"share_{side}_permuted_below"]
        )


@pytest.mark.parametrize("rank", [1, 2])
def test_the_law_of_permuted_shares_has_the_mean_and_variance_of_all_orders(rank: int) -> None:
    delta = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.0, 0.25]], dtype=torch.float64)
    left, right = (torch.linalg.qr(gaussian(seed, size, rank))[0] for seed, size in ((1, 2), (2, 3)))
    space = Leading(left, right, 0.5)
    every = [
        shares(space, torch.tensor(order, dtype=torch.float64).reshape(2, 3))
        for order in itertools.permutations(delta.flatten().tolist())
    ]
    for side, law in permuted_laws(space, delta).items():
        drawn = np.array([one[side] for one in every])
        assert law.mean == pytest.approx(drawn.mean(), rel=1e-9)
        if law.outside:
            size = law.inside + law.outside
            assert law.mean * (1 - law.mean) / (size + 1) == pytest.approx(drawn.var(), rel=1e-9)


@pytest.mark.parametrize("kind", ["normal", "sparse", "shifted"])
def test_the_law_of_permuted_shares_holds_95_in_100(kind: str) -> None:
    rng = np.random.default_rng(0)
    delta = rng.standard_normal((24, 18))
    delta = {"normal": delta, "sparse": delta * (rng.random((24, 18)) < 0.1), "shifted": delta + 1}[kind]
    space = leading(exact(gaussian(0, 24, 18)), 0.5)
    assert space is not None
    laws = permuted_laws(space, torch.from_numpy(delta))
    drawn = [shares(space, torch.from_numpy(rng.permuted(delta, axis=None))) for _ in range(2000)]
    for side, law in laws.items():
        values = np.array([one[side] for one in drawn])
        inside = np.mean((values > law.quantile(0.025)) & (values < law.quantile(0.975)))
        assert 0.92 <= inside <= 0.98
        assert abs(values.mean() - law.mean) < 4 * values.std() / 2000**0.5


@pytest.mark.parametrize("step", [1e-3, 1e-7, 1e-10])
def test_gram_matrices_give_what_direct_decompositions_give(
    step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, delta = gaussian(0, 48, 40), gaussian(1, 48, 40)
    base = base @ torch.diag(torch.logspace(0, -5, 40, dtype=torch.float64))
    found = change_shape(base, base + step * delta, Options(), np.random.default_rng(0))
    shape = import_module("takeback.weights.spectra.shape")
    monkeypatch.setattr(shape, "_certain", lambda *_: False)
    monkeypatch.setattr(shape, "gram", lambda matrix, *_, **__: exact(matrix))
    slow = change_shape(base, base + step * delta, Options(), np.random.default_rng(0))
    assert found.keys() == slow.keys()
    for name, value in slow.items():
        assert found[name] == pytest.approx(value, rel=2e-6, abs=1e-6 if "drift" in name else 1e-8), name
