"""Batches to imitate: prompts with sampled answers, and for each token the population's distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.capabilities import ImitationBatch, NetworkImitationBatch
from takeback.arenas.endgames.moves import moves
from takeback.arenas.endgames.networks import OUTPUTS, PLACES, observe
from takeback.arenas.endgames.players import MIXED, choose, population
from takeback.arenas.endgames.situations import EQUAL, odds, pool, shares
from takeback.arenas.endgames.text import VOCABULARY, completion_tokens, prompt_tokens


def imitation_batch(
    n: int,
    seed: Sequence[int],
    split: str = "train",
    mix: Mapping[str, float] = MIXED,
    weights: Mapping[str, float] = EQUAL,
) -> ImitationBatch:
    """Let the mixed population answer n positions of a split, drawn with replacement by piece and `odds`.

    >>> made = imitation_batch(64, seed=(0, 0))
    >>> made.tokens.shape, made.targets.shape
    ((64, 7), (64, 4, 392))
    >>> bool(np.allclose(made.targets[:, :3].sum(axis=2), 1))
    True
    """
    rng = np.random.default_rng(seed)
    positions = _drawn(n, rng, split, weights)
    batch = moves(positions)
    probabilities = population(batch, mix)
    answers = choose(batch, probabilities, rng)
    tokens, wanted = completion_tokens(answers)
    options, _ = completion_tokens(batch.actions.reshape(-1))
    options = options.reshape(*batch.actions.shape, -1)
    targets = np.zeros((n, tokens.shape[1], len(VOCABULARY)), np.float32)
    rows = np.broadcast_to(np.arange(n)[:, None], batch.actions.shape)
    alike = probabilities
    for place in range(tokens.shape[1]):
        np.add.at(targets[:, place], (rows, options[:, :, place]), alike)
        alike = alike * (options[:, :, place] == tokens[:, place, None])
        targets[:, place] *= wanted[:, place, None]
    targets /= np.maximum(targets.sum(axis=2, keepdims=True), np.finfo(np.float32).tiny)
    return ImitationBatch(np.concatenate([prompt_tokens(positions), tokens[:, :-1]], axis=1), targets)


def network_imitation_batch(
    n: int, seed: Sequence[int], split: str = "train", mix: Mapping[str, float] = MIXED
) -> NetworkImitationBatch:
    """Let the mixed population answer the same positions with its probability of every output.

    >>> made = network_imitation_batch(64, seed=(0, 0))
    >>> made.observations.shape, made.targets.shape
    ((64, 320), (64, 4184))
    """
    positions = _drawn(n, np.random.default_rng(seed), split, EQUAL)
    batch = moves(positions)
    row, place = np.nonzero(batch.legal)
    targets = np.zeros((n, len(OUTPUTS)), np.float32)
    targets[row, PLACES[batch.actions[row, place]]] = population(batch, mix)[row, place]
    return NetworkImitationBatch(observe(positions), targets)


def _drawn(n: int, rng: np.random.Generator, split: str, weights: Mapping[str, float]) -> NDArray[np.int64]:
    """Draw positions with replacement."""
    drawn = [
        rng.choice(pool(split, piece), count, p=odds(split, piece))
        for piece, count in shares(n, weights).items()
    ]
    return np.concatenate(drawn)
