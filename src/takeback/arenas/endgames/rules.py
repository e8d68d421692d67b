"""What a text is as a move: legal, or illegal and why.

The kinds are tried in order and the first that fits is given, so that each output has exactly one reason:

1. `unparsable`: not letter-digit-letter-digit with an optional letter (blanks around it are dropped).
2. `no-square`: a part of it is no square of the board, as in `i4a9` or `A1A2`.
3. `empty-square`: nothing stands where the move begins.
4. `opponent-piece`: the piece that would move is Black's.
5. `own-piece`: the target holds a white piece; a null move like `d4d4` too.
6. `geometry`: the piece does not move that way; castling too, and a pawn's diagonal onto no enemy.
7. `blocked`: another piece stands in the way (before a pawn: also on the target).
8. `promotion`: the letter is missing, forbidden here, or none of `b n q r`.
9. `in-check`: the move leaves or puts White's king beside Black's.

The order follows the error analysis of Toshniwal et al. 2021 (arXiv 2102.13249), with its gaps filled.
"""

from __future__ import annotations

import re
from typing import Final

from takeback.arenas.endgames.geometry import PROMOTIONS, SQUARE_NUMBER
from takeback.arenas.endgames.situations import Endgame

DEAD_END: Final = "unparsable"

KINDS: Final = (
    DEAD_END,
    "no-square",
    "empty-square",
    "opponent-piece",
    "own-piece",
    "geometry",
    "blocked",
    "promotion",
    "in-check",
)
_FORM: Final = re.compile(r"([A-Za-z][0-9])([A-Za-z][0-9])([A-Za-z]?)")
_BEGINNING: Final = re.compile(r"(?:[A-Za-z](?:[0-9](?:[A-Za-z](?:[0-9](?:[A-Za-z]?\s*))?)?)?)?")


def viable(prefix: str) -> bool:
    """Tell whether a text is, or can be continued to, one that parses as a move.

    >>> [viable(text) for text in ("", " a", "a1a6", "a1a6q ", "a1a6qq", "Ra", "a1 ")]
    [True, True, True, True, False, False, False]
    """
    return _BEGINNING.fullmatch(prefix.lstrip()) is not None


def classify(situation: Endgame, text: str) -> str:
    """Return `legal`, or the first of the `KINDS` that fits.

    >>> classify(Endgame.parse("w Kd4 Ra1 kd6"), "d4d5")
    'in-check'
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        return DEAD_END
    source, target = SQUARE_NUMBER.get(match[1]), SQUARE_NUMBER.get(match[2])
    if source is None or target is None:
        return "no-square"
    return _classify_squares(situation, source, target, match[3])


def _classify_squares(situation: Endgame, source: int, target: int, letter: str) -> str:
    ours = (situation.white_king, situation.square)
    if source == situation.black_king:
        return "opponent-piece"
    if source not in ours:
        return "empty-square"
    if target in ours:
        return "own-piece"
    return _classify_motion(situation, source, target, letter)


def _classify_motion(situation: Endgame, source: int, target: int, letter: str) -> str:
    by_king = source == situation.white_king
    kind = "K" if by_king else situation.piece
    if not _moves_that_way(kind, source, target):
        return "geometry"
    others = {situation.square if by_king else situation.white_king, situation.black_king}
    if _in_the_way(kind, source, target) & others:
        return "blocked"
    promotes = kind == "P" and target // 8 == 7
    if letter not in (PROMOTIONS[1:] if promotes else PROMOTIONS[:1]):
        return "promotion"
    if by_king and _king_steps(target, situation.black_king) <= 1:
        return "in-check"
    return "legal"


def _king_steps(one: int, other: int) -> int:
    return max(abs(one % 8 - other % 8), abs(one // 8 - other // 8))


def _moves_that_way(kind: str, source: int, target: int) -> bool:
    right, up = target % 8 - source % 8, target // 8 - source // 8
    straight, diagonal = right == 0 or up == 0, abs(right) == abs(up)
    if kind == "P":
        return right == 0 and (up == 1 or (up == 2 and source // 8 == 1))
    if kind == "K":
        return max(abs(right), abs(up)) == 1
    return straight or (kind == "Q" and diagonal)


def _in_the_way(kind: str, source: int, target: int) -> set[int]:
    """Return the squares that must be free for a piece to move."""
    steps = _king_steps(source, target)
    stride = (target - source) // steps
    return {source + stride * i for i in range(1, steps + (kind == "P"))}
