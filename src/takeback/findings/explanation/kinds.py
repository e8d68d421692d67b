"""Kinds of situations: what an arena can say of them, as yes or no, to ask where a change sits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from takeback.arenas import Arena, Board, Playable
from takeback.measure.measure import MeasureContext

LEAST = 8
"""Clusters that a kind has at least, and leaves out at least: fewer have no honest interval."""

NEAR = 2
"""Steps of a king that two pieces are apart at most to be near each other."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of situation: its name in tables, how a sentence says it, and which situations are of it."""

    name: str
    words: str
    members: Bools


@dataclass(frozen=True)
class Facts:
    """What an arena says of one situation."""

    pieces: Mapping[str, str]
    distance: int | None
    legal: int

    @property
    def material(self) -> str:
        """The pieces that are there, such as `KRk`."""
        return "".join(sorted(self.pieces.values()))


def facts_of(arena: Arena[Any], situations: Sequence[Any]) -> list[Facts]:
    """Ask an arena what it knows of each situation."""
    pieces = [arena.board(one) if isinstance(arena, Board) else {} for one in situations]
    lengths = [arena.distance(one) if isinstance(arena, Playable) else None for one in situations]
    legal = [len(arena.legal(one)) for one in situations]
    return [Facts(*told) for told in zip(pieces, lengths, legal, strict=True)]


def kinds_of(facts: Sequence[Facts], context: MeasureContext) -> list[Kind]:
    """Return the kinds of situations with members and others enough, each split of the situations once."""
    kept: dict[bytes, Kind] = {}
    for kind in _candidates(facts, context):
        sizes = [len(np.unique(context.clusters[side])) for side in (kind.members, ~kind.members)]
        if min(sizes) >= LEAST and (~kind.members).tobytes() not in kept:
            kept.setdefault(kind.members.tobytes(), kind)
    return list(kept.values())


def octave(number: int) -> str:
    """Return the power-of-two range a number is in.

    >>> [octave(number) for number in (0, 1, 2, 3, 9)]
    ['0', '1', '2–3', '2–3', '8–15']
    """
    low = 1 << max(number.bit_length() - 1, 0)
    return str(number) if number < 2 else f"{low}–{2 * low - 1}"


def _candidates(facts: Sequence[Facts], context: MeasureContext) -> Iterator[Kind]:
    yield from _of_boards([fact.pieces for fact in facts])
    for text in _octaves(fact.distance for fact in facts if fact.distance is not None):
        far = [fact.distance is not None and octave(fact.distance) == text for fact in facts]
        yield Kind(f"win in {text}", f"that perfect play wins in {text} moves", np.array(far))
    lost = [fact.distance is None for fact in facts]
    yield Kind("no win", "that perfect play can't win", np.array(lost))
    for text in _octaves(fact.legal for fact in facts):
        many = [octave(fact.legal) == text for fact in facts]
        yield Kind(f"{text} legal moves", f"with {text} legal moves", np.array(many))
    for goal, applies in context.applies.items():
        yield Kind(f"goal {goal}", f"that the goal {goal} applies to", applies)
    for feature, choice in context.choice.items():
        yield Kind(f"some {feature}", f"with a choice between '{feature}' and other moves", choice)


def _octaves(numbers: Iterable[int]) -> list[str]:
    return list(dict.fromkeys(octave(number) for number in sorted(set(numbers))))


def _of_boards(boards: Sequence[Mapping[str, str]]) -> Iterator[Kind]:
    """Yield kinds by which pieces are there, on the edge, and near each other."""
    for letter in sorted({letter for board in boards for letter in board.values()}):
        there = np.array([letter in board.values() for board in boards])
        yield Kind(f"with {letter}", f"with {letter} on the board", there)
    places = [_single(board) for board in boards]
    letters = sorted({letter for place in places for letter in place})
    for letter in letters:
        edge = np.array([letter in place and _on_edge(place[letter]) for place in places])
        yield Kind(f"{letter} on the edge", f"with {letter} on the edge", edge)
    for one, other in combinations(letters, 2):
        near = [_apart(place, one, other) <= NEAR for place in places]
        words = f"with {one} and {other} at most {NEAR} squares apart"
        yield Kind(f"{one} near {other}", words, np.array(near))


def _single(board: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Return column and row of each piece that is alone of its kind, on a board of letters and digits."""
    counts = Counter(board.values())
    return {
        letter: ("abcdefgh".index(square[0]), int(square[1]) - 1)
        for square, letter in board.items()
        if counts[letter] == 1 and len(square) == 2 and square[0] in "abcdefgh" and square[1] in "12345678"
    }


def _on_edge(place: tuple[int, int]) -> bool:
    return not {0, 7}.isdisjoint(place)


def _apart(places: Mapping[str, tuple[int, int]], one: str, other: str) -> float:
    if one not in places or other not in places:
        return np.inf
    return max(abs(a - b) for a, b in zip(places[one], places[other], strict=True))
