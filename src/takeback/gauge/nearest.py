"""The change of coordinates that brings one pair of factors nearest to another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Factor = NDArray[Any]

_ROUNDS = 4
_CONDITION = 1e4
"""Largest condition number of a change of coordinates: a worse one costs more digits than it brings near."""


def nearest(tuned: tuple[Factor, Factor], base: tuple[Factor, Factor]) -> Factor:
    """Return N (..., w, w) for which N A', B' N⁻¹ are nearest to A, B.

    Factors are A (..., w, p) and B (..., q, w), real or complex. N makes

        ‖N A' − A‖² / ‖A‖² + ‖B' N⁻¹ − B‖² / ‖B‖²

    small. It starts where ‖N A' − A‖² + ‖B N − B'‖², of which each term is relative to its norm, is least:
    a linear problem whose normal equations are a Sylvester equation (Golub and Van Loan 2013, "Matrix
    Computations", 7.6.3), and whose solution is exact where B'A' = B A and A or B has full rank. Gauss-Newton
    steps go on from there as long as they bring it nearer. N is the identity where that is nearer than all
    of these.

    >>> a, b, n = np.array([[2.0, 1.0]]), np.array([[3.0]]), np.array([[4.0]])
    >>> nearest((n @ a, b / n), (a, b))
    array([[0.25]])
    """
    identity = np.broadcast_to(np.eye(base[0].shape[-2]), (*base[0].shape[:-1], base[0].shape[-2]))
    best = identity.astype(np.result_type(*tuned, *base))
    least = _cost(best, tuned, base)
    best, least = _better(best, least, best + _first(tuned, base), tuned, base)
    for _ in range(_ROUNDS):
        step = best + _correction(_moved(best, tuned), base) @ best
        best, least = _better(best, least, step, tuned, base)
    return best


def _first(tuned: tuple[Factor, Factor], base: tuple[Factor, Factor]) -> Factor:
    """Return E for which (1 + E) A' − A and B (1 + E) − B' are least."""
    (after, out_after), (before, out_before) = tuned, base
    a, b = _square(before), _square(out_after)
    left, right = _adjoint(out_before) @ out_before / b, after @ _adjoint(after) / a
    return _sylvester(
        left,
        right,
        (before - after) @ _adjoint(after) / a + _adjoint(out_before) @ (out_after - out_before) / b,
    )


def _correction(tuned: tuple[Factor, Factor], base: tuple[Factor, Factor]) -> Factor:
    """Return E for which (1 + E) A' − A and B' (1 − E) − B are least."""
    (after, out_after), (before, out_before) = tuned, base
    a, b = _square(before), _square(out_before)
    left, right = _adjoint(out_after) @ out_after / b, after @ _adjoint(after) / a
    return _sylvester(
        left,
        right,
        (before - after) @ _adjoint(after) / a + _adjoint(out_after) @ (out_after - out_before) / b,
    )


def _sylvester(left: Factor, right: Factor, given: Factor) -> Factor:
    """Solve L E + E R = C for Hermitian L and R without negative eigenvalues, 0 where nothing decides."""
    alpha, p = np.linalg.eigh(left)
    beta, q = np.linalg.eigh(right)
    total = alpha[..., :, None] + beta[..., None, :]
    turned = _adjoint(p) @ given @ q
    decided = total > 1e-12 * total.max(axis=(-2, -1), keepdims=True)
    return p @ np.divide(turned, total, out=np.zeros_like(turned), where=decided) @ _adjoint(q)


def _better(
    best: Factor, least: Factor, other: Factor, tuned: tuple[Factor, Factor], base: tuple[Factor, Factor]
) -> tuple[Factor, Factor]:
    sound = np.linalg.cond(other) < _CONDITION
    other = np.where(sound[..., None, None], other, best)
    cost = _cost(other, tuned, base)
    nearer = cost < least
    return np.where(nearer[..., None, None], other, best), np.where(nearer, cost, least)


def _cost(gauge: Factor, tuned: tuple[Factor, Factor], base: tuple[Factor, Factor]) -> Factor:
    moved = _moved(gauge, tuned)
    parts = [
        _square(after - before, 0.0) / _square(before) for after, before in zip(moved, base, strict=True)
    ]
    return (parts[0] + parts[1])[..., 0, 0]


def _moved(gauge: Factor, factors: tuple[Factor, Factor]) -> tuple[Factor, Factor]:
    return gauge @ factors[0], factors[1] @ np.linalg.inv(gauge)


def _square(factor: Factor, of_zero: float = 1.0) -> Factor:
    total = np.sum(np.abs(factor) ** 2, axis=(-2, -1), keepdims=True)
    return np.where(total == 0, of_zero, total)


def _adjoint(matrix: Factor) -> Factor:
    return matrix.conj().swapaxes(-1, -2)
