"""The law of a share when Δ's entries are permuted: its mean and variance are exact, nothing is drawn.

With x the N entries of Δ in a random order, a share is T / Σx² with T = xᵀMx, where M projects onto a
subspace: UUᵀ ⊗ I on the left, I ⊗ VVᵀ on the right, UUᵀ ⊗ VVᵀ for both. Mean and variance of T over all N!
orders follow from the power sums of x and a few traces of M (moments of sampling without replacement; Tukey
1956, "Keeping moment-like sampling computations simple"), each of which is a product of sums over rows and
over columns. For normal entries the law of the share given ‖Δ‖ is exactly Beta (see `gaussian_law`); here it
is taken as the Beta law of this mean and variance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from takeback.weights.spectra.subspaces import SIDES, Law, Leading

_SHARPEST = 1e12
"""The largest sum of a law's parameters: a share that no order changes has a standard deviation of 1e-6."""


@dataclass(frozen=True, slots=True)
class _Side:
    """Sums over the rows (or columns) of what a projector has there: its diagonal d and its row sums r."""

    trace: float
    diagonal_square: float
    sums: float
    sums_square: float
    mixed: float

    @classmethod
    def of(cls, basis: torch.Tensor) -> _Side:
        """Take the projector onto the span of orthonormal columns."""
        diagonal, sums = basis.square().sum(1), basis @ basis.sum(0)
        return cls(
            float(basis.shape[1]),
            float(diagonal @ diagonal),
            float(sums.sum()),
            float(sums @ sums),
            float(diagonal @ sums),
        )

    @classmethod
    def whole(cls, size: int) -> _Side:
        """Take the identity."""
        return cls(*(float(size),) * 5)


def permuted_laws(space: Leading, delta: torch.Tensor) -> Mapping[str, Law]:
    """Return the law of each share of `SIDES` over all orders of the entries of Δ, which must not be zero."""
    rows, columns = delta.shape
    left, right = _Side.of(space.left), _Side.of(space.right)
    of_side = (left, _Side.whole(columns)), (_Side.whole(rows), right), (left, right)
    centre = delta.mean()
    total = float(delta.square().sum())
    moved = delta - centre
    square = moved.square()
    sums = [float(square.sum()), float(moved.mul_(square).sum())]  # in place: they are large
    sums.append(float(square.square_().sum()))
    laws: dict[str, Law] = {}
    for side, factors in zip(SIDES, of_side, strict=True):
        mean, variance = _moments(factors, float(centre), sums, delta.numel())
        laws[side] = _beta(mean / total, variance / total**2)
    return laws


def _moments(
    factors: tuple[_Side, _Side], centre: float, sums: list[float], count: int
) -> tuple[float, float]:
    """Return mean and variance of xᵀMx, with x = μ + y and M = A + what is along the vector of ones."""
    one, other = factors
    n, (q, cubes, fourths) = float(count), sums
    along, rest = one.sums * other.sums, one.trace * other.trace  # 1ᵀM1 and tr M
    squares, mixed = one.sums_square * other.sums_square, one.mixed * other.mixed  # ‖M1‖², (M1)·diag M
    trace = rest - along / n
    frobenius = rest - 2 * squares / n + along**2 / n**2
    diagonal = (
        one.diagonal_square * other.diagonal_square
        + 4 * squares / n**2
        - 4 * mixed / n
        + (2 * along * rest - 4 * along**2 / n) / n**2
        + along**2 / n**3
    )
    row_square = squares - along**2 / n
    row_diagonal = mixed - 2 * squares / n + along**2 / n**2 - along / n * trace

    def over(*factors: float) -> float:
        """Return 1 over a falling product, 0 where there is no such choice of entries."""
        product = math.prod(factors)
        return 1 / product if product > 0 else 0.0

    pairs, threes = over(n, n - 1), over(n, n - 1, n - 2)
    fours = threes * over(n - 3) if n > 3 else 0.0
    fourth = (
        diagonal * fourths / n
        + 4 * diagonal * fourths * pairs
        + (trace**2 + 2 * frobenius - 3 * diagonal) * (q**2 - fourths) * pairs
        + (12 * diagonal - 2 * trace**2 - 4 * frobenius) * (2 * fourths - q**2) * threes
        + (trace**2 + 2 * frobenius - 6 * diagonal) * (3 * q**2 - 6 * fourths) * fours
    )
    mean = trace * q * over(n - 1)
    linear = q * over(n - 1) * row_square
    crossed = row_diagonal * cubes * (1 / n + 3 * pairs + 4 * threes)
    variance = fourth - mean**2 + 4 * centre**2 * linear + 4 * centre * crossed
    return centre**2 * along + mean, max(variance, 0.0)


def _beta(mean: float, variance: float) -> Law:
    """Return the Beta law of a mean and a variance."""
    if mean > 1 - 1e-12:
        return Law(1.0, 0.0)
    mean = max(mean, 1 / _SHARPEST)
    size = min(mean * (1 - mean) / max(variance, 1 / _SHARPEST**2) - 1, _SHARPEST)
    return Law(mean * size, (1 - mean) * size)
