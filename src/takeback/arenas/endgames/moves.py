"""Many positions with all their legal moves, as arrays: the ground of goals, players and features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from takeback.arenas.endgames.geometry import (
    DISTANCE,
    KING_STEPS,
    LETTER,
    NO_ACTION,
    PROMOTED,
    SOURCE,
    TARGET,
    attacked,
)
from takeback.arenas.endgames.solver import DEAD, DRAW, after, tables, unpack
from takeback.run.errors import TakebackError


@dataclass(frozen=True, eq=False)
class Moves:
    """N positions, White to move, and their legal moves in rows of up to A actions in text order.

    All arrays are [N] over positions or [N, A] over actions; entries where `legal` is false mean nothing.
    """

    positions: NDArray[np.int64]
    actions: NDArray[np.int64]

    @cached_property
    def legal(self) -> NDArray[np.bool_]:
        """Where an action stands."""
        return self.actions != NO_ACTION

    @cached_property
    def kind(self) -> NDArray[np.int64]:
        """White's piece in each position, a place in `KINDS`."""
        return unpack(self.positions)[0]

    @cached_property
    def king(self) -> NDArray[np.int64]:
        """Square of White's king in each position."""
        return unpack(self.positions)[1]

    @cached_property
    def piece(self) -> NDArray[np.int64]:
        """Square of White's piece in each position."""
        return unpack(self.positions)[2]

    @cached_property
    def enemy(self) -> NDArray[np.int64]:
        """Square of Black's king in each position."""
        return unpack(self.positions)[3]

    @cached_property
    def source(self) -> NDArray[np.int64]:
        """Square that each action leaves."""
        return SOURCE[self.actions]

    @cached_property
    def target(self) -> NDArray[np.int64]:
        """Square that each action goes to."""
        return TARGET[self.actions]

    @cached_property
    def letter(self) -> NDArray[np.int64]:
        """Promotion letter of each action, a place in `PROMOTIONS`."""
        return LETTER[self.actions]

    @cached_property
    def by_king(self) -> NDArray[np.bool_]:
        """Whether the king moves."""
        return self.source == self.king[:, None]

    @cached_property
    def mate_in(self) -> NDArray[np.int8]:
        """Moves White needs to mate in each position, or `DRAW`."""
        return tables().white[self.positions]

    @cached_property
    def left(self) -> NDArray[np.int8]:
        """Moves White still needs after each action, 0 for mate, or `DRAW`."""
        return tables().black[after(self.positions[:, None], self.actions)]

    @cached_property
    def won(self) -> NDArray[np.bool_]:
        """Whether White still wins after each action."""
        return self.left != DRAW

    @cached_property
    def lost_moves(self) -> NDArray[np.int64]:
        """Moves that each action wastes against the shortest win; meaningless where nothing is won."""
        return self.left.astype(np.int64) + 1 - self.mate_in[:, None]

    @cached_property
    def new_king(self) -> NDArray[np.int64]:
        """Square of White's king after each action."""
        return np.where(self.by_king, self.target, self.king[:, None])

    @cached_property
    def new_piece(self) -> NDArray[np.int64]:
        """Square of White's piece after each action."""
        return np.where(self.by_king, self.piece[:, None], self.target)

    @cached_property
    def new_kind(self) -> NDArray[np.int64]:
        """White's piece after each action, a place in `KINDS`."""
        return np.where(self.letter > 0, PROMOTED[self.letter], self.kind[:, None])

    @cached_property
    def check(self) -> NDArray[np.bool_]:
        """Whether each action gives check, by the piece moved or by uncovering it."""
        return attacked(self.new_kind, self.new_piece, self.enemy[:, None], self.new_king)

    @cached_property
    def hanging(self) -> NDArray[np.bool_]:
        """Whether each action leaves White's piece where Black's king takes it."""
        beside = DISTANCE[self.new_piece, self.enemy[:, None]] == 1
        return beside & (DISTANCE[self.new_piece, self.new_king] > 1)

    @cached_property
    def stuck(self) -> NDArray[np.bool_]:
        """Whether each action leaves Black without a move."""
        step = KING_STEPS[self.enemy][:, None, :]
        kind, king, piece = (part[:, :, None] for part in (self.new_kind, self.new_king, self.new_piece))
        free = (step >= 0) & (DISTANCE[step, king] > 1) & ~attacked(kind, piece, step, king)
        return ~np.any(free, axis=2)


def moves(positions: ArrayLike) -> Moves:
    """Look up the legal moves of numbered positions.

    Raises:
        TakebackError: A number is no position in which White can move.

    >>> from takeback.arenas.endgames.situations import Endgame
    >>> batch = moves([Endgame.parse("w Kb6 Rh1 kb8").number])
    >>> int(batch.mate_in[0]), int(batch.legal.sum()), int((batch.left == 0).sum())
    (1, 19, 1)
    """
    numbers = np.asarray(positions, np.int64)
    rows = np.where((numbers >= 0) & (numbers < DEAD), tables().row[np.clip(numbers, 0, DEAD - 1)], -1)
    if (rows < 0).any():
        raise TakebackError(
            f"White cannot move in position number {numbers[rows < 0][0]}: take numbers of situations"
        )
    found = tables().actions[rows].astype(np.int64)
    return Moves(numbers, found[:, (found != NO_ACTION).any(axis=0)])
