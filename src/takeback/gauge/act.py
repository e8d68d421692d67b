"""How changes of coordinates act on a layer: each leaves what the layer computes as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from takeback.gauge.layer import Array, AttentionViews, MLPViews

Complex = NDArray[np.complex128]
Order = NDArray[np.intp]


def change_values(attention: AttentionViews, gauge: Array) -> None:
    """V → N V, O → O N⁻¹ with one N for each group, (G, w, w)."""
    attention.value.write(gauge @ attention.value.rows)
    attention.out[...] = np.linalg.inv(gauge).swapaxes(-1, -2)[:, None] @ attention.out


def change_scores(attention: AttentionViews, factors: Complex, gauge: Array) -> None:
    """Q → M Q, K → M⁻ᵀ K with one M for each group.

    On rotated pairs M is a complex `factor` (G, pairs), K gets its inverse conjugate; on the dimensions that
    are not rotated it is `gauge` (G, w', w').
    """
    turned = 2 * attention.pairs
    for linear, by, matrix in (
        (attention.query, factors[:, None, :, None], gauge[:, None]),
        (attention.key, 1 / factors.conj()[..., None], np.linalg.inv(gauge).swapaxes(-1, -2)),
    ):
        rows = linear.rows
        changed = paired(rows, attention.pairs) * by
        rows[..., : attention.pairs, :] = changed.real
        rows[..., attention.pairs : turned, :] = changed.imag
        rows[..., turned:, :] = matrix @ rows[..., turned:, :]
        linear.write(rows)


def paired(rows: Array, pairs: int) -> Complex:
    """Return the two rows of each rotated pair as one complex row, (..., pairs, inputs)."""
    return rows[..., :pairs, :] + 1j * rows[..., pairs : 2 * pairs, :]


def reorder(mlp: MLPViews, order: Order) -> None:
    """Put neuron `order[i]` at place i."""
    for part in parts_of(mlp):
        part[...] = part[order]


def rescale(mlp: MLPViews, factors: Array) -> None:
    """Multiply each neuron's up by a factor and divide its down by it; of its gate if it has no up.

    `factors` is (N,), positive where a gate is rescaled, which only activations like ReLU allow.
    """
    inner = mlp.gate if mlp.up is None else mlp.up
    inner.write(inner.rows * factors[:, None])
    mlp.down[...] /= factors[:, None]


def parts_of(mlp: MLPViews) -> list[NDArray[Any]]:
    """Return the views with a row or number for each neuron."""
    linears = [mlp.gate] if mlp.up is None else [mlp.gate, mlp.up]
    biases = [one.bias for one in linears if one.bias is not None]
    return [*(one.weight for one in linears), *biases, mlp.down]
