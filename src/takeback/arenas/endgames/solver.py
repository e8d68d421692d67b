"""Exact truth for king and queen, rook or pawn against king: win or draw, and distance to mate.

Positions are numbered densely, 3 * 64**3 of them for each side to move. All values come from sweeping
outward from the mates (retrograde analysis: Thompson 1986, "Retrograde analysis of certain endgames", ICCA
Journal 9(3)): at step n White wins where a move leads to a position lost in n - 1, and Black has lost where
every move leads to a position won in n or less.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.endgames import geometry
from takeback.arenas.endgames.geometry import (
    BETWEEN,
    DISTANCE,
    KING_STEPS,
    LETTER,
    NO_ACTION,
    PROMOTED,
    PROMOTIONS,
    RANK,
    REACH,
    SOURCE,
    TARGET,
    action_number,
    attacked,
)
from takeback.run.files import atomic_file, cache_folder, file_digest, in_turn

POSITIONS: Final = 3 * 64**3
DRAW: Final = -1
INVALID: Final = -2
DEAD: Final = POSITIONS
"""Stands for every position without mating material: an extra, drawn entry at the end of the tables."""
_FORBIDDEN: Final = POSITIONS + 1
_QUEEN, _ROOK, _PAWN = 0, 1, 2
_WIDTH: Final = 35

Squares = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Tablebase:
    """Solved endgames; about 45 MB in memory, the same on disk.

    `white` and `black` are by side to move, int8 [POSITIONS + 1]: how many moves White still needs to mate
    (0 where Black is mated), `DRAW`, or `INVALID`. `orbit` int32 [POSITIONS] is the least position among the
    mirror images of each. `row` int32 [POSITIONS] leads to `actions` uint16 [rows, 35]: White's legal moves
    in the order of their text, filled up with `NO_ACTION`; -1 where White has none.
    """

    white: NDArray[np.int8]
    black: NDArray[np.int8]
    orbit: NDArray[np.int32]
    row: NDArray[np.int32]
    actions: NDArray[np.uint16]


def pack(
    kind: NDArray[np.int64] | int,
    king: NDArray[np.int64],
    square: NDArray[np.int64],
    enemy: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Number positions given by piece kind, White's king, the piece's square and Black's king."""
    return ((kind * 64 + king) * 64 + square) * 64 + enemy


def unpack(positions: NDArray[np.int64]) -> Squares:
    """Return piece kind, White's king, the piece's square and Black's king of numbered positions."""
    return positions >> 18, positions >> 12 & 63, positions >> 6 & 63, positions & 63


def after(positions: NDArray[np.int64], actions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position, Black to move, that each action leads to; both broadcast, fill-up gives `DEAD`."""
    kind, king, square, enemy = unpack(positions)
    source, target = SOURCE[actions], TARGET[actions]
    by_king = source == king
    new_kind = np.where(LETTER[actions] == 0, kind, PROMOTED[LETTER[actions]])
    moved = pack(new_kind, np.where(by_king, target, king), np.where(by_king, square, target), enemy)
    return np.where((new_kind > _PAWN) | (actions == NO_ACTION), DEAD, moved)


@cache
def tables() -> Tablebase:
    """Return the solved tables: from memory, else from the cache folder, else by solving (a few seconds)."""
    code = "".join(file_digest(Path(str(file)))[:8] for file in (geometry.__file__, __file__))
    path = cache_folder("endgames") / f"tables-{code}.npz"
    solved = _load(path)
    if solved is None:
        with in_turn(path):
            solved = _load(path) or _solve_into(path)
    for field in fields(Tablebase):
        getattr(solved, field.name).flags.writeable = False
    return solved


def _solve_into(path: Path) -> Tablebase:
    solved = solve()
    with atomic_file(path) as draft, draft.open("wb") as file:
        np.savez(file, **{field.name: getattr(solved, field.name) for field in fields(Tablebase)})
    return solved


def solve() -> Tablebase:
    """Compute the tables from the rules alone."""
    everything = np.arange(POSITIONS)
    kind, king, square, enemy = unpack(everything)
    apart = (king != square) & (square != enemy) & (DISTANCE[king, enemy] > 1)
    valid_black = apart & ((kind != _PAWN) | (RANK[square] % 7 != 0))
    valid_white = valid_black & ~attacked(kind, square, enemy, king)
    white = np.full(POSITIONS + 2, INVALID, np.int8)
    black = np.full(POSITIONS + 2, INVALID, np.int8)
    white[:POSITIONS][valid_white] = DRAW
    black[:POSITIONS][valid_black] = DRAW
    white[DEAD] = black[DEAD] = DRAW
    white[_FORBIDDEN] = 0
    row = np.full(POSITIONS, -1, np.int32)
    blocks: list[NDArray[np.uint16]] = []
    for this in (_QUEEN, _ROOK, _PAWN):
        ours = everything[valid_white & (kind == this)]
        actions = legal_actions(ours)
        some = actions[:, 0] != NO_ACTION
        row[ours[some]] = np.arange(some.sum()) + sum(map(len, blocks))
        wide = np.full((int(some.sum()), _WIDTH), NO_ACTION, np.uint16)
        wide[:, : actions.shape[1]] = actions[some]
        blocks.append(wide)
        _sweep(white, black, (ours, after(ours[:, None], actions)), everything[valid_black & (kind == this)])
    orbit = _orbits(everything).astype(np.int32)
    return Tablebase(white[: DEAD + 1], black[: DEAD + 1], orbit, row, np.concatenate(blocks))


def legal_actions(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return White's legal actions in positions of one kind, [N, A], sorted, filled up with `NO_ACTION`."""
    kinds, king, square, enemy = (values[:, None] for values in unpack(positions))
    kind = int(kinds[0, 0])
    step = KING_STEPS[king[:, 0]]
    king_moves = np.where(
        (step >= 0) & (step != square) & (DISTANCE[step, enemy] > 1), action_number(king, step), NO_ACTION
    )
    moves = _pawn_moves(king, square, enemy) if kind == _PAWN else _line_moves(kind, king, square, enemy)
    return np.sort(np.concatenate([king_moves, moves], axis=1), axis=1)


def black_moves(positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return Black's target squares [N, 8] (-1: none) and the positions, White to move, they lead to [N, 8].

    Taking White's piece leads to `DEAD`; a fill-up leads past the end of the tables.
    """
    kind, king, square, enemy = (values[:, None] for values in unpack(positions))
    step = KING_STEPS[enemy[:, 0]]
    legal = (step >= 0) & (DISTANCE[step, king] > 1) & ~attacked(kind, square, step, king)
    moved = np.where(step == square, DEAD, pack(kind, king, square, step))
    return np.where(legal, step, -1), np.where(legal, moved, _FORBIDDEN)


def _line_moves(
    kind: int, king: NDArray[np.int64], square: NDArray[np.int64], enemy: NDArray[np.int64]
) -> NDArray[np.int64]:
    target = REACH[kind][square[:, 0]]
    one = np.uint64(1)
    taken = one << king.astype(np.uint64) | one << enemy.astype(np.uint64)
    free = (BETWEEN[square, target] & taken) == 0
    return np.where((target >= 0) & (target != king) & free, action_number(square, target), NO_ACTION)


def _pawn_moves(
    king: NDArray[np.int64], square: NDArray[np.int64], enemy: NDArray[np.int64]
) -> NDArray[np.int64]:
    push, double = square + 8, np.minimum(square + 16, 63)
    open1 = (push != king) & (push != enemy)
    open2 = open1 & (RANK[square] == 1) & (double != king) & (double != enemy)
    last = RANK[push] == 7
    columns = [np.where(open2, action_number(square, double), NO_ACTION)]
    for letter in range(len(PROMOTIONS)):
        wanted = open1 & (last if letter else ~last)
        columns.append(np.where(wanted, action_number(square, push, letter), NO_ACTION))
    return np.concatenate(columns, axis=1)


def _sweep(
    white: NDArray[np.int8],
    black: NDArray[np.int8],
    ours: tuple[NDArray[np.int64], NDArray[np.int64]],
    theirs: NDArray[np.int64],
) -> None:
    """Fill in both tables for one kind of piece, outward from the mates."""
    positions, children = ours
    steps, replies = black_moves(theirs)
    stuck = (steps < 0).all(axis=1)
    kind, king, square, enemy = unpack(theirs)
    black[theirs[stuck & attacked(kind, square, enemy, king)]] = 0
    theirs, replies = theirs[~stuck], replies[~stuck]
    n = 0
    while n <= black.max():
        won = (black[children] == n).any(axis=1)
        n += 1
        white[positions[won]] = n
        positions, children = positions[~won], children[~won]
        lost = (white[replies] >= 0).all(axis=1)
        black[theirs[lost]] = n
        theirs, replies = theirs[~lost], replies[~lost]


def _orbits(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the least position among mirror images: 8 for queen and rook, left and right for the pawn."""
    kind, king, square, enemy = unpack(positions)
    least = positions.copy()
    for mirror, image in enumerate(mirrors()):
        same = pack(kind, image[king], image[square], image[enemy])
        least = np.where((mirror < 2) | (kind != _PAWN), np.minimum(least, same), least)
    return least


def mirrors() -> NDArray[np.int64]:
    """Return where each symmetry takes each square, [8, 64]; the first two keep the direction of pawns."""
    file, rank = geometry.FILE, geometry.RANK
    plain = [(file, rank), (7 - file, rank), (file, 7 - rank), (7 - file, 7 - rank)]
    return np.stack([8 * r + f for f, r in plain + [(r, f) for f, r in plain]])


def _load(path: Path) -> Tablebase | None:
    """Read tables from disk; None where there are none or the file is damaged."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return Tablebase(**{field.name: stored[field.name] for field in fields(Tablebase)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
