"""Random changes of coordinates: another model on disk that does the same."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from takeback.anatomy.wiring import wiring_of
from takeback.checkpoint import Checkpoint, open_checkpoint
from takeback.gauge.act import change_scores, change_values, reorder, rescale
from takeback.gauge.layer import Array, AttentionViews, LayerViews, MLPViews
from takeback.gauge.rewrite import write_rewritten


def regauged(model: str | Path | Checkpoint, out: str | Path, seed: int = 0) -> Path:
    """Write a model in random coordinates: nearly all weights differ, and the function does not.

    In each layer, at random: the coordinates between values and outputs and between queries and keys, one
    change for each key/value group; the order of neurons, and where the activation lets them through the
    factors between up (without one, gate) and down; the gains of the norms before attention and MLP, which
    what reads them undoes. With RoPE the change between queries and keys is a complex factor for each rotated
    pair, with norms on queries and keys a sign. Every factor lies between 1/2 and 2, so that no change has a
    condition number above 4: what is left of the difference in function is float32 rounding. Weights that
    are stored in narrower types are written as float32.

    Args:
        model: An opened checkpoint, or what `open_checkpoint` takes.
        out: The folder to write, with the model's config and tokenizer.
        seed: Of the changes.

    Raises:
        TakebackError: the model can't be opened, the roles of its tensors are not known, or `out` is there.
    """
    checkpoint = model if isinstance(model, Checkpoint) else open_checkpoint(model)
    wiring = wiring_of(checkpoint.anatomy().family)
    wiring.check(checkpoint.config)
    return write_rewritten(checkpoint, partial(_scrambled, checkpoint, seed), Path(out))


def _scrambled(checkpoint: Checkpoint, seed: int, number: int) -> LayerViews:
    layer = LayerViews(checkpoint, wiring_of(checkpoint.anatomy().family), number)
    random = np.random.default_rng([seed, number])
    for gain in layer.gains:
        gain.divide(_factors(random, *gain.weight.shape) * _signs(random, *gain.weight.shape))
    _scramble_attention(layer.attention, random)
    for mlp in layer.mlps:
        _scramble_neurons(mlp, random)
    return layer


def _scramble_attention(attention: AttentionViews, random: np.random.Generator) -> None:
    groups, width, _ = attention.value.weight.shape
    change_values(attention, _matrices(random, groups, width))
    pairs, plain = attention.pairs, width - 2 * attention.pairs
    if attention.normed:
        sign = _signs(random, groups, pairs).astype(np.complex128)
        change_scores(attention, sign, _eyes(groups, plain))
        return
    angles = 2 * np.pi * random.random((groups, pairs))
    turns = _factors(random, groups, pairs) * np.exp(1j * angles).astype(np.complex128)
    change_scores(attention, turns, _matrices(random, groups, plain))


def _scramble_neurons(mlp: MLPViews, random: np.random.Generator) -> None:
    count = len(mlp.down)
    if mlp.up is not None:
        rescale(mlp, _factors(random, count) * _signs(random, count))
    elif mlp.homogeneous:
        rescale(mlp, _factors(random, count))
    reorder(mlp, random.permutation(count))


def _factors(random: np.random.Generator, *shape: int) -> Array:
    return 2 ** random.uniform(-1, 1, shape)


def _signs(random: np.random.Generator, *shape: int) -> Array:
    return random.choice([-1.0, 1.0], shape)


def _matrices(random: np.random.Generator, count: int, size: int) -> Array:
    left, right = (np.linalg.qr(random.standard_normal((count, size, size)))[0] for _ in range(2))
    return left * _factors(random, count, 1, size) @ right


def _eyes(count: int, size: int) -> Array:
    return np.broadcast_to(np.eye(size), (count, size, size))
