"""All that can happen against the best defender within some moves, layer by layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.capabilities import Depth
from takeback.arenas.endgames.moves import moves
from takeback.arenas.endgames.play import best_replies
from takeback.arenas.endgames.situations import Endgame
from takeback.arenas.endgames.solver import DEAD, DRAW, after, tables

_CHUNK = 8192
OVER = -1
"""Stands for the next position where the game has ended."""


def ahead(positions: NDArray[np.int64], horizon: int) -> list[Depth[Endgame]]:
    """Return what White can meet before each of its next `horizon` moves, given the best defender.

    The first layer is the positions as they are given; each further one holds every position once, ascending.

    >>> start = Endgame.parse("w Kb6 Rh1 kb8")
    >>> layers = ahead(np.array([start.number]), 2)
    >>> [len(layer.situations) for layer in layers], int((layers[0].following < 0).sum())
    ([1, 18], 1)
    """
    layers: list[Depth[Endgame]] = []
    for left in range(horizon - 1, -1, -1):
        parts = [_step(positions[at : at + _CHUNK]) for at in range(0, len(positions), _CHUNK)]
        counts, reached = (
            np.concatenate([np.zeros(0, np.int64), *(p[side] for p in parts)]) for side in (0, 1)
        )
        situations = [Endgame.of(number) for number in positions.tolist()]
        if left:
            positions, place = np.unique(reached, return_inverse=True)
            dead = int(len(positions) > 0 and positions[0] == OVER)
            positions, reached = positions[dead:], place.reshape(-1) - dead
        layers.append(Depth(situations, counts, reached))
    return layers


def _step(positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each position's number of legal moves, and the position after each and its answer, or `OVER`."""
    batch = moves(positions)
    reached = after(batch.positions[:, None], batch.actions)[batch.legal]
    following = np.full(len(reached), OVER)
    going = np.flatnonzero((reached != DEAD) & (tables().black[reached] != 0))
    squares, replied = best_replies(reached[going])
    on = (squares >= 0) & (replied < DEAD)
    on[on] = (tables().row[replied[on]] >= 0) & (tables().white[replied[on]] != DRAW)
    following[going[on]] = replied[on]
    return batch.legal.sum(axis=1), following
