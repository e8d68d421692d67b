"""Where a change lies in the matrix that it changes: leading subspaces, their rotation, the share inside.

Left subspaces are spanned by columns as stored (the outputs of a layer, in GPT-2's weights its inputs), right
ones by rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from takeback.weights.spectra.rank import Spectrum, leading_count

SIDES = ("left", "right", "both")
"""What a share is counted in: the leading left subspace, the right one, or both at once."""


@dataclass(frozen=True, eq=False)
class Leading:
    """Holds orthonormal bases of a matrix's leading subspaces: `left` (rows, k) and `right` (columns, k).

    `energy` is the share of ‖W‖² that they hold.
    """

    left: torch.Tensor
    right: torch.Tensor
    energy: float

    @property
    def rank(self) -> int:
        """The dimension k of either subspace."""
        return self.left.shape[1]


@dataclass(frozen=True, slots=True)
class Law:
    """The Beta law of a share; the second parameter is 0 where the subspace is everything."""

    inside: float
    outside: float

    @property
    def mean(self) -> float:
        """The mean share."""
        return self.inside / (self.inside + self.outside)

    def quantile(self, probability: float) -> float:
        """Return the share below which the law has this probability."""
        from scipy import special

        if not self.outside:
            return 1.0
        return float(special.betaincinv(self.inside, self.outside, probability))

    def below(self, share: float) -> float:
        """Return the probability of a smaller share."""
        from scipy import special

        if not self.outside:
            return float(share > 1)
        return float(special.betainc(self.inside, self.outside, min(max(share, 0.0), 1.0)))


def leading(spectrum: Spectrum, energy: float) -> Leading | None:
    """Return the smallest leading subspaces that hold a share `energy` of ‖W‖², None if a sketch holds less.

    Those of a sketch are its own: they hold what they say, and W's singular subspaces do so with no more
    dimensions. W must not be zero.
    """
    rank = leading_count(spectrum, energy)
    return leading_of_rank(spectrum, rank) if rank <= len(spectrum.values) else None


def leading_of_rank(spectrum: Spectrum, rank: int) -> Leading:
    """Return the leading subspaces of this dimension; the spectrum must have vectors."""
    assert spectrum.left is not None
    assert spectrum.right is not None
    held = float(np.sum(spectrum.values[:rank] ** 2))
    return Leading(spectrum.left[:, :rank], spectrum.right[:, :rank], held / spectrum.square)


def gap(spectrum: Spectrum, rank: int) -> float:
    """Return (σ_k − σ_{k+1}) / σ_k: how sharply the leading subspaces of dimension k are set off.

    Where it is small, a small change turns them far (Wedin 1972: sin θ ≤ ‖Δ‖₂ / gap), and angles mean little.
    """
    after = float(spectrum.values[rank]) if rank < len(spectrum.values) else 0.0
    return 1.0 - after / float(spectrum.values[rank - 1])


def rotation(one: Leading, other: Leading) -> dict[str, float]:
    """Return the largest and mean principal angles between leading subspaces, in degrees."""
    found: dict[str, float] = {}
    for side, bases in {"left": (one.left, other.left), "right": (one.right, other.right)}.items():
        angles = torch.rad2deg(principal_angles(*bases))
        found |= {
            f"rotation_{side}_max": float(angles.max()),
            f"rotation_{side}_mean": float(angles.mean()),
        }
    return found


def principal_angles(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return the principal angles, (k,) in radians, of the spans of two orthonormal bases, (n, k) each.

    Small angles come from their sines, which keep the digits that cosines near 1 lose (Björck and Golub 1973,
    "Numerical methods for computing angles between linear subspaces").

    >>> basis = torch.eye(3, dtype=torch.float64)
    >>> principal_angles(basis[:, :1], basis[:, 1:2])
    tensor([1.5708], dtype=torch.float64)
    """
    overlap = one.T @ other
    cosines = torch.linalg.svdvals(overlap).clamp(max=1)
    sines = torch.linalg.svdvals(other - one @ overlap).flip(0).clamp(max=1)
    return torch.where(cosines**2 > 0.5, torch.asin(sines), torch.acos(cosines))


def shares(space: Leading, delta: torch.Tensor) -> dict[str, float]:
    """Return the shares of ‖Δ‖² inside: left ‖UᵀΔ‖², right ‖ΔV‖² and both ‖UᵀΔV‖², over ‖Δ‖²."""
    rows = space.left.T @ delta
    parts = {"left": rows, "right": delta @ space.right, "both": rows @ space.right}
    whole = torch.linalg.vector_norm(delta)
    return {side: float(torch.linalg.vector_norm(parts[side]) / whole) ** 2 for side in SIDES}


def gaussian_law(side: str, rank: int, shape: tuple[int, int]) -> Law:
    """Return the law of a share for a Δ of independent normal entries, whatever its norm: exactly Beta.

    An orthogonal change of bases leaves such a Δ's law alone, so that its share on the left is
    A / (A + B) with independent A ~ χ²(kn) inside and B ~ χ²((m − k)n) outside, hence Beta(kn/2, (m − k)n/2)
    (Muirhead 1982, "Aspects of multivariate statistical theory", section 1.5); on the right with m and n
    exchanged, and Beta(k²/2, (mn − k²)/2) for both at once.

    >>> law = gaussian_law("left", 2, (8, 5))
    >>> law.mean, law.inside, law.outside
    (0.25, 5.0, 15.0)
    """
    rows, columns = shape
    inside = {"left": rank * columns, "right": rank * rows, "both": rank * rank}[side]
    return Law(inside / 2, (rows * columns - inside) / 2)
