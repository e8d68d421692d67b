"""How far a product of factors moved, from the factors alone: the coordinates between them drop out.

Distances are the norm of a difference that is formed first, in coordinates of a small basis; they are never
differences of squared norms, which lose half of all digits. The error is a few float64 roundings of the norm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Factors = tuple[NDArray[Any], NDArray[Any]]

ROUNDING = 1e-14
"""A distance relative to the norm that rounding to float64 makes of equal things: 45 half units."""


@dataclass(frozen=True, eq=False)
class Distance:
    """Holds how far things moved and their norms in base, as arrays of one shape.

    `reassigned` is the fraction of them that were matched with one at another place, where that is possible.
    `entries` counts what was compared entry by entry, `cast` tells where all is base rounded to 16 bits.
    """

    distance: Array
    norm: Array
    reassigned: float | None = None
    entries: int = 0
    cast: NDArray[np.bool_] | None = None

    @property
    def relative(self) -> Array:
        """Distance / norm, NaN where the norm is zero."""
        return np.divide(self.distance, self.norm, out=np.full_like(self.norm, np.nan), where=self.norm > 0)

    @classmethod
    def beyond_rounding(cls, distance: Array, norm: Array) -> Distance:
        """Take distances that rounding alone makes of equal things as zero."""
        return cls(np.where(distance > ROUNDING * norm, distance, 0.0), norm)

    @classmethod
    def of(cls, tuned: NDArray[Any], base: NDArray[Any], axes: int) -> Distance:
        """Compare arrays entry by entry, over their last `axes` axes."""
        over = tuple(range(-axes, 0))
        delta = tuned.astype(np.float64) - base
        sizes = _norm(delta, over), _norm(base.astype(np.float64, copy=False), over)
        cast = np.asarray((tuned == rounded(base)).all(axis=over))
        if not cast.all():
            cast |= (tuned == rounded(base, "float16")).all(axis=over)
        return cls(*sizes, entries=math.prod(base.shape[axis] for axis in over), cast=cast)

    def summed(self) -> Distance:
        """Take the last axis together: the parts along it are orthogonal."""
        return Distance(_norm(self.distance, (-1,)), _norm(self.norm, (-1,)))


def rounded(values: NDArray[Any], element: Literal["bfloat16", "float16"] = "bfloat16") -> NDArray[Any]:
    """Return the nearest number of an element type to each value, in its own type.

    >>> rounded(np.array([1.0, 1.001, 1.01])).tolist()
    [1.0, 1.0, 1.0078125]
    """
    import torch

    given = torch.from_numpy(np.ascontiguousarray(values))
    return given.to(getattr(torch, element)).to(given.dtype).numpy()


def together(first: Distance, second: Distance) -> Distance:
    """Take two orthogonal parts of one circuit as one."""
    return Distance(np.hypot(first.distance, second.distance), np.hypot(first.norm, second.norm))


def beside(first: Distance, *others: Distance) -> Distance:
    """Add the squares of the relative changes of things with norms of their own; the norm is the first's."""
    relative = np.sqrt(sum((part.relative**2 for part in others), first.relative**2))
    return Distance(relative * first.norm, first.norm)


def product_change(tuned: Factors, base: Factors) -> Distance:
    """Compare products L Rᵀ, each given as L (..., n, w) and R (..., m, w), in the Frobenius norm.

    L'R'ᵀ − L Rᵀ = [L' L] [R' −R]ᵀ. With thin QR decompositions of both brackets (Golub and Van Loan 2013,
    "Matrix Computations", 5.2) its norm is that of the core A Bᵀ, at most 2w × 2w. L → L M, R → R M⁻ᵀ changes
    neither product.

    >>> eye, twice = np.eye(2), 2 * np.eye(2)
    >>> float(product_change((twice, eye), (eye, twice)).distance)
    0.0
    """
    width = base[0].shape[-1]
    left = _triangle(np.concatenate([tuned[0], base[0]], axis=-1))
    right = _triangle(np.concatenate([tuned[1], -base[1]], axis=-1))
    norm = _norm(_core(left[..., width:], right[..., width:]), (-2, -1))
    return Distance.beyond_rounding(_norm(_core(left, right), (-2, -1)), norm)


def product_norm(factors: Factors) -> Array:
    """Return the Frobenius norm of L Rᵀ."""
    left, right = (_triangle(factor) for factor in factors)
    return _norm(_core(left, right), (-2, -1))


def outer_change(tuned: Factors, base: Factors) -> Distance:
    """Compare outer products conj(u) vᵀ of real or complex vectors u (..., n) and v (..., m).

    With u' = a u + p and v' = b v + q, where p is orthogonal to u and q to v,

        conj(u')v'ᵀ − conj(u)vᵀ = (conj(a) b − 1) conj(u)vᵀ + conj(a u) qᵀ + b conj(p) vᵀ + conj(p) qᵀ,

    four terms that are orthogonal to each other. u → c u, v → v / conj(c) changes nothing.

    >>> u, v = np.array([1.0, 1j]), np.array([2.0, 1.0])
    >>> float(outer_change((1j * u, 1j * v), (u, v)).distance)
    0.0
    """
    a, p, u = _split(tuned[0], base[0])
    b, q, v = _split(tuned[1], base[1])
    squares = np.abs(a.conj() * b - 1) ** 2 * u * v + np.abs(a) ** 2 * u * q + np.abs(b) ** 2 * p * v + p * q
    return Distance.beyond_rounding(np.sqrt(squares), np.sqrt(u * v))


def form_change(tuned: Array, base: Array) -> Distance:
    """Compare quadratic forms AᵀA, each given as A (..., r, n), in the Frobenius norm.

    AᵀA says how long A x is for every x. With [A'ᵀ Aᵀ] = Q [S T] the difference has the norm of S Sᵀ − T Tᵀ.
    A → U A with an orthogonal U changes nothing.

    >>> float(form_change(np.array([[0.0, 1.0]]), np.array([[0.0, -1.0]])).distance)
    0.0
    """
    rows = tuned.shape[-2]
    both = _triangle(np.concatenate([tuned, base], axis=-2).swapaxes(-1, -2))
    after, before = both[..., :rows], both[..., rows:]
    squared = before @ before.swapaxes(-1, -2)
    distance = _norm(after @ after.swapaxes(-1, -2) - squared, (-2, -1))
    return Distance.beyond_rounding(distance, _norm(squared, (-2, -1)))


def _split(tuned: NDArray[Any], base: NDArray[Any]) -> tuple[NDArray[Any], Array, Array]:
    """Return the coefficient of `tuned` along `base`, the square of what is left, and that of `base`."""
    square = np.vecdot(base, base).real
    along = np.vecdot(base, tuned)
    share = np.divide(along, square, out=np.zeros_like(along), where=square > 0)
    rest = tuned - share[..., None] * base
    return share, np.vecdot(rest, rest).real, square


def _triangle(matrix: Array) -> Array:
    """Return R of the thin QR decomposition."""
    import torch

    return torch.linalg.qr(torch.from_numpy(matrix), mode="r")[1].numpy()


def _core(left: Array, right: Array) -> Array:
    """Return A Bᵀ."""
    import torch

    return (torch.from_numpy(left) @ torch.from_numpy(right).mT).numpy()


def _norm(values: Array, axes: tuple[int, ...]) -> Array:
    return np.sqrt(np.sum(np.square(values), axis=axes))
