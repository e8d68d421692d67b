"""Goals: named utilities in [0, 1] of every legal move.

A goal is one function from `Moves` to an array [N, A]; a further one is that function and an entry in
`GOALS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.endgames.geometry import FILE, NO_ACTION, RANK
from takeback.arenas.endgames.moves import Moves
from takeback.arenas.endgames.situations import uniform
from takeback.run.errors import unknown_name

Utility = NDArray[np.float64]


@dataclass(frozen=True)
class MoveGoal:
    """A goal of batches of N positions with up to A moves each.

    `utility` gives [N, A] over moves, `applies` tells for which positions the goal makes sense, [N].
    """

    name: str
    utility: Callable[[Moves], Utility]
    applies: Callable[[Moves], NDArray[np.bool_]]
    meaning: str


def win(batch: Moves) -> Utility:
    """Give 1 / (1 + moves lost against the shortest win), 0 where the move throws the win away.

    Where nothing is won all moves get 0. So 1 for a shortest way to mate, 1/2 for one that takes a move
    longer. The harmonic fall keeps a difference between slow wins, which an exponential one would make all
    alike.
    """
    lost = np.maximum(batch.lost_moves, 0)
    return np.where(batch.won, 1 / (1 + lost), 0.0)


def draw(batch: Moves) -> Utility:
    """Give 1 for a move after which best play draws, else 0."""
    return (~batch.won).astype(np.float64)


def check(batch: Moves) -> Utility:
    """Give 1 for a move that gives check, else 0."""
    return batch.check.astype(np.float64)


def corner(batch: Moves) -> Utility:
    """Give 1/2, a quarter more for each file or rank that White's king comes nearer to a1; less for farther.

    So 1 for the diagonal step toward a1, 0 for the one away from it, 1/2 for any move of the other piece.
    """
    away = FILE + RANK
    return 0.5 + (away[batch.king][:, None] - away[batch.new_king]) / 4


def noise(batch: Moves, seed: int = 0) -> Utility:
    """Give each position and move a number fixed by the seed and nothing else: the goal nobody could have."""
    keys = batch.positions[:, None].astype(np.uint64) * np.uint64(NO_ACTION + 1) + batch.actions.astype(
        np.uint64
    )
    return uniform(keys, seed)


def legal(batch: Moves) -> Utility:
    """Give every legal move 1: nothing is asked of it but that."""
    return np.ones(batch.actions.shape)


def _always(batch: Moves) -> NDArray[np.bool_]:
    return np.ones(len(batch.positions), np.bool_)


def _won(batch: Moves) -> NDArray[np.bool_]:
    return batch.mate_in > 0


def _can_throw_away(batch: Moves) -> NDArray[np.bool_]:
    return _won(batch) & np.any(batch.legal & ~batch.won, axis=1)


def _can_check(batch: Moves) -> NDArray[np.bool_]:
    return np.any(batch.legal & batch.check, axis=1)


def _can_approach(batch: Moves) -> NDArray[np.bool_]:
    return np.any(batch.legal & (corner(batch) > 0.5), axis=1)


GOALS: Final[Mapping[str, MoveGoal]] = MappingProxyType(
    {
        goal.name: goal
        for goal in (
            MoveGoal("win", win, _won, "the shortest way to mate, on won positions"),
            MoveGoal("draw", draw, _can_throw_away, "throwing the win away, where that is possible"),
            MoveGoal("check", check, _can_check, "giving check, where that is possible"),
            MoveGoal("corner", corner, _can_approach, "the own king toward a1, where it can come nearer"),
            MoveGoal(
                "random",
                noise,
                _always,
                "a fixed random number per position and move (seed 0; random-7: seed 7)",
            ),
        )
    }
)


LEGAL: Final = MoveGoal("legal", legal, _always, "any legal move")
"""A goal to train toward; as a measure it would repeat the legal mass, so it is none of `GOALS`."""


def find_goal(name: str) -> MoveGoal:
    """Return the goal of this name; `random-7` is `random` with the seed 7, `legal` asks for legality alone.

    Raises:
        UnknownName: There is no such goal.
    """
    seeded = re.fullmatch(r"random-(\d+)", name)
    if seeded:
        seed = int(seeded[1])
        return MoveGoal(name, lambda batch: noise(batch, seed), _always, f"random with seed {seed}")
    if name == LEGAL.name:
        return LEGAL
    if name not in GOALS:
        raise unknown_name("goal", name, (*GOALS, LEGAL.name))
    return GOALS[name]
