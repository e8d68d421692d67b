"""The Gram matrix of weight changes, ⟨Δ_i, Δ_j⟩: norms, cosines and everything about a path come from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def gram(deltas: Matrix, others: Matrix | None = None) -> Matrix:
    """Return the inner products of changes, ⟨Δ_i, Δ'_j⟩, from (changes, entries); Δ' is Δ unless given.

    Gram matrices of disjoint entries add. The order of summation does not depend on CPU threads.

    >>> gram(np.array([[3.0, 4.0], [0.0, 2.0]]))
    array([[25.,  8.],
           [ 8.,  4.]])
    """
    return np.einsum("ik,jk->ij", deltas, deltas if others is None else others)


def ratio(top: Matrix, bottom: Matrix) -> Matrix:
    """Divide entry by entry; NaN, which tables show as missing, where the divisor is not positive.

    >>> ratio(np.array([1.0, 1.0]), np.array([4.0, 0.0]))
    array([0.25,  nan])
    """
    top, bottom = np.broadcast_arrays(np.asarray(top, np.float64), np.asarray(bottom, np.float64))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


def cosine(dot: Matrix, square: Matrix, other: Matrix) -> Matrix:
    """Return ⟨a, b⟩ / (‖a‖ ‖b‖) from the product and the two squares, NaN where one is zero."""
    return np.clip(ratio(dot, np.sqrt(square) * np.sqrt(other)), -1.0, 1.0)


def with_start(products: Matrix) -> Matrix:
    """Return the Gram matrix of the positions on a path that starts at zero, from that of the later ones."""
    return np.pad(products, ((1, 0), (1, 0)))


def distances(positions: Matrix) -> Matrix:
    """Return ‖θ_{t+1} − θ_t‖ between successive positions of a path, from their Gram matrix."""
    square = np.diag(positions)
    return np.sqrt(np.maximum(square[1:] + square[:-1] - 2 * np.diag(positions, 1), 0.0))


def random_walk(steps: Sequence[int]) -> Matrix:
    """Return the Gram matrix of a random walk's positions after so many steps, of unit mean square each.

    In many dimensions independent increments are orthogonal, so that ⟨Δ_s, Δ_t⟩ → min(s, t), the covariance
    of a Wiener process (Antognini and Sohl-Dickstein 2018, arXiv 1806.08805).
    """
    times = np.asarray(steps, np.float64)
    return np.minimum.outer(times, times)
