"""Players of many strengths over whole arrays of positions.

A player gives every legal move a probability. The mixed population is what the base model imitates, so that
it knows the rules and many ways to play but pursues nothing much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.endgames.moves import Moves
from takeback.run.errors import TakebackError, unknown_name

Player = Callable[[Moves], NDArray[np.float64]]
"""Gives the probability of each action, [N, A], 0 on the fill-up, each row summing to 1."""

TEMPERATURE: Final = 2.0
"""Moves of distance to mate over which the fair player's preference falls by a factor e."""
CARE: Final = 3.0
"""How many times likelier the careless player is to make a move that doesn't leave the piece to be taken."""


def random(batch: Moves) -> NDArray[np.float64]:
    """Play any legal move."""
    return _normalised(batch.legal.astype(np.float64))


def careless(batch: Moves) -> NDArray[np.float64]:
    """Play any legal move, less often one that leaves the piece beside Black's king unguarded."""
    return _normalised(np.where(batch.hanging, 1.0, CARE) * batch.legal)


def fair(batch: Moves) -> NDArray[np.float64]:
    """Prefer shorter wins: softmax of minus distance to mate; a win thrown away counts as 15 moves more."""
    moves_to_go = np.where(batch.won, batch.left, batch.left.max(axis=1, initial=0, keepdims=True) + 15)
    moves_to_go = moves_to_go - np.where(batch.legal, moves_to_go, 127).min(axis=1, keepdims=True)
    return _normalised(np.exp(-moves_to_go / TEMPERATURE) * batch.legal)


def strong(batch: Moves) -> NDArray[np.float64]:
    """Play a shortest way to mate, any of them; where nothing is won, any move."""
    best = np.where(batch.mate_in[:, None] > 0, batch.won & (batch.lost_moves == 0), True)
    return _normalised((best & batch.legal).astype(np.float64))


PLAYERS: Final[Mapping[str, Player]] = MappingProxyType(
    {"random": random, "careless": careless, "fair": fair, "strong": strong}
)
MIXED: Final[Mapping[str, float]] = MappingProxyType(
    {"random": 0.35, "careless": 0.20, "fair": 0.25, "strong": 0.20}
)
"""Default shares of the players in the population."""


def population(batch: Moves, mix: Mapping[str, float] = MIXED) -> NDArray[np.float64]:
    """Return how often the mixed population plays each action, [N, A]: the mean of its players by share.

    Raises:
        UnknownName: The mix names a player that doesn't exist.
        TakebackError: The shares don't sum to 1 or one is negative.
    """
    for name in mix:
        if name not in PLAYERS:
            raise unknown_name("player", name, PLAYERS)
    if abs(sum(mix.values()) - 1) > 1e-9 or min(mix.values()) < 0:
        raise TakebackError(f"shares of players must be at least 0 and sum to 1, not {dict(mix)}")
    return sum(
        (share * PLAYERS[name](batch) for name, share in mix.items() if share), np.zeros(batch.legal.shape)
    )


def choose(batch: Moves, probabilities: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw one action per position, [N]."""
    edges = np.cumsum(probabilities, axis=1)
    places = (edges <= rng.random(len(edges))[:, None] * edges[:, -1:]).sum(axis=1)
    return np.take_along_axis(batch.actions, places[:, None], axis=1)[:, 0]


def _normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return weights / weights.sum(axis=1, keepdims=True)
