"""Leading subspaces: angles as scipy's, shares under their exact law, planted changes found in place."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from takeback.weights.spectra.rank import exact, sketch
from takeback.weights.spectra.shape import Options, change_shape
from takeback.weights.spectra.subspaces import (
    SIDES,
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
