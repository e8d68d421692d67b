"""Situations of the endgame arena, their split by symmetry orbit, and sampling."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.endgames.geometry import SQUARE_NUMBER, SQUARES
from takeback.arenas.endgames.moves import Moves, moves
from takeback.arenas.endgames.solver import POSITIONS, tables
from takeback.run.errors import TakebackError, unknown_name

Split = Literal["train", "held-out"]
SPLITS: Final = ("train", "held-out")
PIECES: Final = "QRP"
EQUAL: Final[Mapping[str, float]] = {piece: 1 / 3 for piece in PIECES}
HELD_OUT_SHARE: Final = 0.2
_LOOK: Final = 4096
_SPLIT_SALT: Final = np.uint64(0x6F72626974)
_PROMPT: Final = re.compile(r"w K([a-h][1-8]) ([QRP])([a-h][1-8]) k([a-h][1-8])")


@dataclass(frozen=True, order=True)
class Endgame:
    """White to move with king and one piece against the lone king; squares are numbers, a1 = 0 and h8 = 63.

    >>> Endgame.parse("w Kd4 Ra1 kd6")
    Endgame(piece='R', white_king=27, square=0, black_king=43)
    """

    piece: str
    white_king: int
    square: int
    black_king: int

    @property
    def number(self) -> int:
        """The dense number of this position, by which all tables are indexed."""
        return ((PIECES.index(self.piece) * 64 + self.white_king) * 64 + self.square) * 64 + self.black_king

    @classmethod
    def of(cls, number: int) -> Endgame:
        """Return the situation with this number."""
        return cls(PIECES[number >> 18], number >> 12 & 63, number >> 6 & 63, number & 63)

    @classmethod
    def parse(cls, text: str) -> Endgame:
        """Read a compact prompt, or a FEN.

        >>> Endgame.parse("8/8/3k4/8/3K4/8/8/R7 w - - 0 1") == Endgame.parse("w Kd4 Ra1 kd6")
        True

        Raises:
            TakebackError: The text is neither, or not a position in which White is to move and can.
        """
        match = _PROMPT.fullmatch(_compact(text.strip()))
        if match is None:
            raise TakebackError(f"{text!r} is no situation: write one like 'w Kd4 Ra1 kd6'")
        king, piece, square, enemy = match.groups()
        found = cls(piece, SQUARE_NUMBER[king], SQUARE_NUMBER[square], SQUARE_NUMBER[enemy])
        if tables().row[found.number] < 0:
            raise TakebackError(f"{text!r} is no legal position with White to move and able to move")
        return found

    def __str__(self) -> str:
        """Write the compact prompt, which parses back."""
        king, square, enemy = (SQUARES[number] for number in (self.white_king, self.square, self.black_king))
        return f"w K{king} {self.piece}{square} k{enemy}"


def _compact(text: str) -> str:
    """Return the compact prompt of a FEN, any other text as it is."""
    ranks = text.partition(" ")[0].split("/")
    if len(ranks) != 8:
        return text
    pieces: dict[str, str] = {}
    for rank, told in zip("87654321", ranks, strict=True):
        for file, letter in zip("abcdefgh", re.sub("[1-8]", lambda n: "." * int(n[0]), told), strict=False):
            pieces |= {letter: f"{letter}{file}{rank}"} if letter != "." else {}
    side = text.partition(" ")[2][:1] or "w"
    return " ".join([side, *(pieces[one] for one in sorted(pieces, key=f"K{PIECES}k".find))])


def held_out(orbits: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Tell which symmetry orbits are kept from training: a fixed fifth, by a hash of the orbit alone."""
    return uniform(orbits.astype(np.uint64) ^ _SPLIT_SALT, seed=0) < HELD_OUT_SHARE


def uniform(keys: NDArray[np.uint64], seed: int) -> NDArray[np.float64]:
    """Hash keys and a seed to numbers in [0, 1), the same on every machine.

    SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA).
    """
    mixed = keys
    for salt in (np.uint64(0), np.uint64(seed % 2**64)):
        mixed = (mixed ^ salt) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


@cache
def pool(split: str, piece: str) -> NDArray[np.int64]:
    """Return the numbers of all positions of a split with this piece, ascending.

    Raises:
        UnknownName: There is no such split or piece.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if piece not in tuple(PIECES):
        raise unknown_name("piece", piece, PIECES)
    solved = tables()
    wanted = (solved.row >= 0) & (np.arange(POSITIONS) >> 18 == PIECES.index(piece))
    wanted &= held_out(solved.orbit) == (split == "held-out")
    found = np.nonzero(wanted)[0].astype(np.int64)
    found.flags.writeable = False
    return found


@cache
def odds(split: str, piece: str) -> NDArray[np.float64]:
    """Return how likely each position of a pool is to be drawn, summing to 1.

    Half the weight is the same for every position; the other half is the same for every distance to mate (and
    for all drawn positions together), so that the few positions near mate are not too rare to be met.

    Raises:
        UnknownName: There is no such split or piece.
    """
    _, stratum, size = np.unique(tables().white[pool(split, piece)], return_inverse=True, return_counts=True)
    weights = 0.5 / len(stratum) + 0.5 / (len(size) * size[stratum])
    weights.flags.writeable = False
    return weights


def shares(n: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Share out n over pieces by weight, largest remainders first.

    >>> shares(100, {"Q": 1, "R": 1, "P": 1})
    {'Q': 34, 'R': 33, 'P': 33}

    Raises:
        UnknownName: A weight is for a piece the arena has not.
        TakebackError: A weight is negative or none is positive, or n is negative.
    """
    for piece in weights:
        if piece not in tuple(PIECES):
            raise unknown_name("piece", piece, PIECES)
    total = sum(weights.values())
    if n < 0 or not total > 0 or min(weights.values()) < 0:
        raise TakebackError(f"cannot share out {n} over weights {dict(weights)}: use numbers >= 0, not all 0")
    exact = {piece: n * weights[piece] / total for piece in PIECES if weights.get(piece)}
    counts = {piece: int(share + 1e-9) for piece, share in exact.items()}
    by_remainder = sorted(
        exact, key=lambda piece: (-round(exact[piece] - counts[piece], 9), PIECES.index(piece))
    )
    for piece in by_remainder[: n - sum(counts.values())]:
        counts[piece] += 1
    return counts


def sample(
    split: str,
    counts: Mapping[str, int],
    rng: np.random.Generator,
    wanted: Callable[[Moves], NDArray[np.bool_]] | None = None,
) -> NDArray[np.int64]:
    """Draw as many numbers as counted for each piece by `odds`, without replacement, in random order.

    With `wanted`, only positions that it accepts. Each is drawn by its odds among those left (Efraimidis and
    Spirakis 2006, "Weighted random sampling with a reservoir", doi:10.1016/j.ipl.2005.11.003).

    Raises:
        UnknownName: There is no such split or piece.
        TakebackError: There are too few.
    """
    parts = [np.zeros(0, np.int64)]
    for piece, count in counts.items():
        waits = rng.exponential(size=len(pool(split, piece))) / odds(split, piece)
        found = _first(pool(split, piece)[np.argsort(waits)], count, wanted)
        if len(found) < count:
            raise TakebackError(
                f"only {len(found)} of the {count} situations with {piece} asked for exist: "
                "ask for fewer or weigh the pieces anew"
            )
        parts.append(found)
    return rng.permutation(np.concatenate(parts))


def _first(
    order: NDArray[np.int64], count: int, wanted: Callable[[Moves], NDArray[np.bool_]] | None
) -> NDArray[np.int64]:
    """Return the first `count` that are wanted, looking at no more than needed."""
    if wanted is None:
        return order[:count]
    found = order[:0]
    for start in range(0, len(order), _LOOK):
        if len(found) >= count:
            break
        some = order[start : start + _LOOK]
        found = np.append(found, some[wanted(moves(some))])
    return found[:count]
