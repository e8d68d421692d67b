"""Two positions that differ in one fact, by which a move wins in one and throws it away in the other.

Black's king stands one square away, and so can take White's piece where the move puts it, or is stalemated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.capabilities import MinimalPair
from takeback.arenas.endgames.geometry import KING_STEPS, action_text
from takeback.arenas.endgames.goals import win
from takeback.arenas.endgames.moves import Moves, moves
from takeback.arenas.endgames.situations import PIECES, Endgame, held_out, pool
from takeback.arenas.endgames.solver import pack, tables, unpack
from takeback.run.errors import TakebackError, unknown_name

FACTS: Final[Mapping[str, Callable[[Moves], NDArray[np.bool_]]]] = MappingProxyType(
    {"capture": lambda batch: batch.hanging, "stalemate": lambda batch: batch.stuck & ~batch.check}
)
"""What may become true of a move: `capture`: its piece can be taken; `stalemate`: it stalemates Black."""

FEW: Final = 0.25
"""The largest share of the moves that may be spoilt: of more, the choice would shift for want of others."""

_LOOK: Final = 4096


def minimal_pairs(fact: str, split: str, n: int, seed: int) -> list[MinimalPair[Endgame]]:
    """Draw n pairs of won positions of a split, each with a move that keeps the win in one of them only.

    No two pairs have the same spoilt position; pieces have equal shares as far as they go.

    Raises:
        UnknownName: there is no such fact or split.
        TakebackError: there are fewer pairs.
    """
    if fact not in FACTS:
        raise unknown_name("fact that minimal pairs differ in", fact, FACTS)
    rng = np.random.default_rng(seed)
    sources = [_of_piece(FACTS[fact], split, rng.permutation(pool(split, piece)), rng) for piece in PIECES]
    found: list[MinimalPair[Endgame]] = []
    while sources and len(found) < n:
        for source in list(sources):
            pair = next(source, None)
            if pair is None:
                sources.remove(source)
            else:
                found.append(pair)
    if len(found) < n:
        raise TakebackError(f"only {len(found)} of {n} {split} pairs differ in {fact!r}: ask for fewer")
    return found[:n]


def _of_piece(
    becomes: Callable[[Moves], NDArray[np.bool_]],
    split: str,
    order: NDArray[np.int64],
    rng: np.random.Generator,
) -> Iterator[MinimalPair[Endgame]]:
    for start in range(0, len(order), _LOOK):
        batch = moves(order[start : start + _LOOK])
        spoilt = becomes(batch) & batch.legal & ~batch.won & (batch.mate_in > 0)[:, None]
        for row in np.flatnonzero(spoilt.any(axis=1)):
            position = int(batch.positions[row])
            actions = rng.permutation(batch.actions[row][spoilt[row]])
            pair = _partner(position, int(actions[0]), becomes, split, rng)
            if pair is not None:
                yield pair


def _partner(
    position: int,
    action: int,
    becomes: Callable[[Moves], NDArray[np.bool_]],
    split: str,
    rng: np.random.Generator,
) -> MinimalPair[Endgame] | None:
    """Look for a place of Black's king one square away where the action keeps the win."""
    kind, king, square, enemy = unpack(np.array([position]))
    steps = KING_STEPS[enemy[0]]
    steps = rng.permutation(steps[(steps >= 0) & (steps != king[0]) & (steps != square[0])])
    others = pack(kind, king, square, steps)
    solved = tables()
    fine = (solved.row[others] >= 0) & (solved.white[others] > 0)
    fine &= held_out(solved.orbit[others]) == (split == "held-out")
    for other in others[fine]:
        both = moves([position, int(other)])
        utility = [dict(zip(both.actions[i].tolist(), win(both)[i].tolist(), strict=True)) for i in (0, 1)]
        bad = [dict(zip(both.actions[i].tolist(), becomes(both)[i].tolist(), strict=True)) for i in (0, 1)]
        if utility[1].get(action, 0.0) <= 0 or bad[1][action]:
            continue
        real = [set(both.actions[i][both.legal[i]].tolist()) for i in (0, 1)]
        common = sorted(real[0] & real[1])
        same = [a for a in common if utility[0][a] == utility[1][a] > 0]
        lost = sum(utility[1][a] > 0 == utility[0][a] for a in common)
        if same and lost <= FEW * len(common):
            texts = tuple(action_text(one) for one in same)
            return MinimalPair(Endgame.of(int(other)), Endgame.of(position), action_text(action), texts)
    return None
