"""The arena for policy networks: one-hot positions in, one output for every move between two squares out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.endgames.geometry import (
    FILE,
    LETTER,
    NO_ACTION,
    RANK,
    SOURCE,
    SQUARES,
    TARGET,
    action_text,
)
from takeback.arenas.endgames.moves import moves
from takeback.arenas.endgames.rules import KINDS, classify
from takeback.arenas.endgames.situations import Endgame
from takeback.arenas.endgames.solver import unpack

PLANES: Final = 5
"""White's king, queen, rook and pawn, and Black's king."""

_straight_on = abs(FILE[SOURCE] - FILE[TARGET]) <= 1
_promoting = (RANK[SOURCE] == 6) & (RANK[TARGET] == 7) & _straight_on
_ACTIONS: Final = np.flatnonzero(((LETTER == 0) | _promoting)[:NO_ACTION])
"""The action number of each output: all 64 × 64, and the promotions that lie within a pawn's reach."""
OUTPUTS: Final = tuple(action_text(int(number)) for number in _ACTIONS)
"""The move of each output, sorted."""

PLACES: Final[NDArray[np.int64]] = np.full(NO_ACTION + 1, -1)
"""The output of each action number, -1 where none is."""
PLACES[_ACTIONS] = np.arange(len(_ACTIONS))

_EMPTY, _OPPONENT = (-1 - KINDS.index(name) for name in ("empty-square", "opponent-piece"))
_FROM: Final = [np.flatnonzero(SOURCE[_ACTIONS] == square) for square in range(len(SQUARES))]


def observe(positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return numbered positions one-hot, shape (n, 320).

    >>> found = observe(np.array([Endgame.parse("w Kd4 Ra1 kd6").number]))
    >>> found.shape, np.flatnonzero(found).tolist()
    ((1, 320), [27, 128, 299])
    """
    kind, king, square, enemy = unpack(positions)
    found = np.zeros((len(positions), PLANES * 64), np.float32)
    rows = np.arange(len(positions))
    for column in (king, 64 * (kind + 1) + square, 64 * 4 + enemy):
        found[rows, column] = 1
    return found


def verdicts(situations: Sequence[Endgame]) -> NDArray[np.int16]:
    """Return for each output its place among the legal actions, or -1 - c for kind number c."""
    found = np.full((len(situations), len(OUTPUTS)), _EMPTY, np.int16)
    for row, situation in zip(found, situations, strict=True):
        row[_FROM[situation.black_king]] = _OPPONENT
        for square in (situation.white_king, situation.square):
            row[_FROM[square]] = _of_piece(situation, square)
    return found


@lru_cache(maxsize=65536)
def _of_piece(situation: Endgame, square: int) -> NDArray[np.int16]:
    """Return the verdicts on all outputs that leave one of White's squares."""
    legal = {
        action_text(int(number)): place for place, number in enumerate(moves([situation.number]).actions[0])
    }
    texts = [OUTPUTS[output] for output in _FROM[square]]
    found = [legal[text] if text in legal else -1 - KINDS.index(classify(situation, text)) for text in texts]
    return np.array(found, np.int16)
