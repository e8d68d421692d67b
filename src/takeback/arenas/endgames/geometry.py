"""The board as tables: squares, steps, attacks, and moves as numbers whose order is that of their text."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

FILES: Final = "abcdefgh"
SQUARES: Final = tuple(f"{file}{rank}" for rank in range(1, 9) for file in FILES)
"""Square names; square number = 8 * rank + file, so a1 is 0, b1 is 1 and h8 is 63."""
SQUARE_NUMBER: Final = {name: number for number, name in enumerate(SQUARES)}
KINDS: Final = "QRPBN"
"""White's pieces beside the king; the first three have tables, the last two only come by promotion."""
PROMOTIONS: Final = ("", "b", "n", "q", "r")
PROMOTED: Final = np.array([KINDS.index("P"), *(KINDS.index(letter.upper()) for letter in PROMOTIONS[1:])])
"""The kind of piece that each promotion letter makes of a pawn, [5]."""

_number = np.arange(64)
FILE: Final[NDArray[np.int64]] = _number % 8
RANK: Final[NDArray[np.int64]] = _number // 8
_right = FILE[None, :] - FILE[:, None]
_up = RANK[None, :] - RANK[:, None]
DISTANCE: Final[NDArray[np.int64]] = np.maximum(abs(_right), abs(_up))
"""King steps between two squares, [64, 64]."""


def _attacks() -> NDArray[np.bool_]:
    straight = ((_right == 0) ^ (_up == 0)).astype(bool)
    diagonal = (abs(_right) == abs(_up)) & (_right != 0)
    pawn = (_up == 1) & (abs(_right) == 1)
    knight = abs(_right * _up) == 2
    return np.stack([straight | diagonal, straight, pawn, diagonal, knight])


def _between() -> NDArray[np.uint64]:
    table = np.zeros((64, 64), np.uint64)
    for source, target in zip(*np.nonzero(ATTACKS[0]), strict=True):
        steps = DISTANCE[source, target]
        stride = (target - source) // steps
        table[source, target] = sum(1 << int(source + stride * i) for i in range(1, steps))
    return table


def _padded(lists: list[list[int]]) -> NDArray[np.int64]:
    width = max(map(len, lists))
    return np.array([row + [-1] * (width - len(row)) for row in lists])


ATTACKS: Final = _attacks()
"""Whether a piece of a kind attacks a square on an empty board, [kind, from, to]."""
BETWEEN: Final = _between()
"""Bitboard of the squares strictly between two squares on one line, [from, to]; 0 elsewhere."""
KING_STEPS: Final = _padded([[int(t) for t in np.nonzero(DISTANCE[s] == 1)[0]] for s in range(64)])
"""Squares a king reaches, [64, 8], filled up with -1."""
REACH: Final = {
    kind: _padded([[int(t) for t in np.nonzero(ATTACKS[kind, s])[0]] for s in range(64)]) for kind in (0, 1)
}
"""Squares a queen or rook reaches on an empty board, [64, 27] and [64, 14], filled up with -1."""

# A move is one number. Its order is the order of its text, so sorted numbers are sorted texts.
NO_ACTION: Final = 64 * 64 * len(PROMOTIONS)
"""The number that fills up rows of actions; tables over actions have one more entry for it."""
_by_name = np.argsort(FILE * 8 + RANK, kind="stable")
_place = FILE * 8 + RANK
_codes = np.arange(NO_ACTION)
SOURCE: Final[NDArray[np.int64]] = np.append(_by_name[_codes // 320], 0)
TARGET: Final[NDArray[np.int64]] = np.append(_by_name[_codes // 5 % 64], 0)
LETTER: Final[NDArray[np.int64]] = np.append(_codes % 5, 0)
"""Squares and promotion letter (a place in `PROMOTIONS`) of every action number, [NO_ACTION + 1]."""


def action_number(source: NDArray[np.int64], target: NDArray[np.int64], letter: int = 0) -> NDArray[np.int64]:
    """Return the numbers of moves given by square numbers and a place in `PROMOTIONS`."""
    return (_place[source] * 64 + _place[target]) * 5 + letter


def action_text(number: int) -> str:
    """Write an action number as text.

    >>> action_text(int(action_number(np.array(49), np.array(57), PROMOTIONS.index("q"))))
    'b7b8q'
    """
    return SQUARES[SOURCE[number]] + SQUARES[TARGET[number]] + PROMOTIONS[LETTER[number]]


def action_number_of(text: str) -> int:
    """Read the text of a move of the board, `a1a6` or `b7b8q`, back to its number."""
    source, target = (np.array(SQUARE_NUMBER[name]) for name in (text[:2], text[2:4]))
    return int(action_number(source, target, PROMOTIONS.index(text[4:])))


def attacked(
    kind: NDArray[np.int64] | int,
    square: NDArray[np.int64],
    target: NDArray[np.int64],
    blocker: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Tell whether a piece attacks a target past one blocker; all arguments broadcast."""
    line = BETWEEN[square, target] >> blocker.astype(np.uint64) & np.uint64(1)
    return ATTACKS[kind, square, target] & (line == 0)
