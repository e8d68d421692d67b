"""Tuned in the coordinates nearest to base's: what a takeback across changes of coordinates needs first."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from takeback.anatomy.wiring import wiring_of
from takeback.checkpoint import Pair
from takeback.gauge.act import Complex, change_scores, change_values, paired, reorder, rescale
from takeback.gauge.layer import Array, AttentionViews, LayerViews, MLPViews
from takeback.gauge.nearest import nearest
from takeback.gauge.rewrite import write_rewritten
from takeback.weights.circuits.neurons import partners, read_neurons
from takeback.weights.circuits.roles import LayerReader


def aligned(pair: Pair, out: str | Path) -> Path:
    """Write tuned in the coordinates nearest to base's; its function stays as it is.

    Tuned gets base's gains of the norms before attention and MLP, and what reads them makes up for it. The
    coordinates between values and outputs and between queries and keys are then the nearest to base's
    (`takeback.gauge.nearest`), one change for each key/value group; neurons go to the places of their
    partners in base (the best assignment, `weights.circuits.neurons.partners`), rescaled toward them.
    What a run really changed in those gains is thereby found in the heads and MLPs that read them, as in
    `takeback diff --with circuits`. Weights that are stored in narrower types are written as float32.

    Not brought nearer are exchanges of heads, groups or experts, changes of coordinates of the whole
    residual stream, and, with norms on queries and keys, the scales of their weights.

    Args:
        pair: Base and tuned.
        out: The folder to write, with tuned's config and tokenizer.

    Raises:
        TakebackError: the roles of the family's tensors are not known, or `out` is there.
    """
    wiring = wiring_of(pair.anatomy().family)
    wiring.check(pair.tuned.config)
    return write_rewritten(pair.tuned.alone, partial(_near_base, pair), Path(out))


def _near_base(pair: Pair, number: int) -> LayerViews:
    wiring = wiring_of(pair.anatomy().family)
    layer, base = (LayerViews(side, wiring, number) for side in (pair.tuned, pair.base))
    for gain, before in zip(layer.gains, base.gains, strict=True):
        both = (gain.value != 0) & (before.value != 0)
        gain.divide(np.divide(gain.value, before.value, out=np.ones_like(gain.weight), where=both))
        gain.weight[both] = before.weight[both]
    _align_attention(layer.attention, base.attention)
    roles = [LayerReader(side, wiring, number) for side in (pair.tuned, pair.base)]
    for mlp, before in zip(layer.mlps, base.mlps, strict=True):
        after, there = (read_neurons(side, mlp.expert) for side in roles)
        reorder(mlp, np.argsort(partners(after, there)))
        _rescale_toward(mlp, before)
    return layer


def _align_attention(attention: AttentionViews, base: AttentionViews) -> None:
    change_values(attention, nearest(_values(attention), _values(base)))
    groups, width, _ = attention.value.weight.shape
    pairs, plain = attention.pairs, width - 2 * attention.pairs
    turned, gauge = (
        np.ones((groups, pairs), np.complex128),
        np.broadcast_to(np.eye(plain), (groups, plain, plain)),
    )
    if attention.normed:
        turned = _signs(attention, base)
    else:
        if pairs:
            turned = nearest(_pairs(attention), _pairs(base))[..., 0, 0]
        if plain:
            gauge = nearest(_plain(attention), _plain(base))
    change_scores(attention, turned, gauge)


def _values(side: AttentionViews) -> tuple[Array, Array]:
    """Return V (G, w, d + 1) and O (G, m d, w)."""
    groups, _, width, _ = side.out.shape
    return side.value.rows, side.out.swapaxes(-1, -2).reshape(groups, -1, width)


def _pairs(side: AttentionViews) -> tuple[Complex, Complex]:
    """Return u (G, pairs, 1, m (d + 1)) and the conjugate of v (G, pairs, d + 1, 1)."""
    query = paired(side.query.rows, side.pairs).swapaxes(1, 2)
    key = paired(side.key.rows, side.pairs)
    return query.reshape(*key.shape[:2], 1, -1), key.conj()[..., None]


def _plain(side: AttentionViews) -> tuple[Array, Array]:
    """Return the rows of queries (G, w', m (d + 1)) and keys (G, d + 1, w') that are not rotated."""
    turned = 2 * side.pairs
    query = side.query.rows[..., turned:, :].swapaxes(1, 2)
    return query.reshape(*query.shape[:2], -1), side.key.rows[:, turned:].swapaxes(-1, -2)


def _signs(attention: AttentionViews, base: AttentionViews) -> Complex:
    """Return the sign of each pair that brings it nearer to base's."""
    products = [
        np.sum(after * before.conj(), axis=(-2, -1)).real
        for after, before in zip(_pairs(attention), _pairs(base), strict=True)
    ]
    return np.where(products[0] + products[1] < 0, -1.0, 1.0).astype(np.complex128)


def _rescale_toward(mlp: MLPViews, base: MLPViews) -> None:
    if mlp.up is None and not mlp.homogeneous:
        return
    factors = nearest(_written(mlp), _written(base))[:, 0, 0]
    rescale(mlp, factors if mlp.up is not None else np.abs(factors))


def _written(side: MLPViews) -> tuple[Array, Array]:
    """Return each neuron's up, or gate, (N, 1, d + 1) and its down (N, d, 1)."""
    inner = side.gate if side.up is None else side.up
    return inner.rows[:, None], side.down[..., None]
