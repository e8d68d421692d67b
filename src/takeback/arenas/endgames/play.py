"""Playing on: games against the best defender."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.endgames.geometry import SQUARES, action_number_of
from takeback.arenas.endgames.rules import classify
from takeback.arenas.endgames.situations import Endgame
from takeback.arenas.endgames.solver import DEAD, DRAW, after, black_moves, tables
from takeback.run.errors import TakebackError

Choose = Callable[[Sequence[Endgame]], Sequence[str]]
"""A player of games: one text for each situation."""


@dataclass(frozen=True)
class Turn:
    """What a legal move and the defender's answer lead to.

    `reply` is Black's move, `next` the situation after it. `outcome` is `mate`, `draw` (stalemate of either
    side, White's piece taken, bishop or knight made) or empty while the game goes on.
    """

    reply: str | None
    next: Endgame | None
    outcome: Literal["", "mate", "draw"]


@dataclass(frozen=True)
class PlayedEndgame:
    """One game: its start, the moves of both sides in turn, and how it ended.

    `mate`: White mated. `draw`: White can no longer win, since the defender plays best. `illegal`: the last
    text was no legal move, `reason` is its class. `unfinished`: the moves ran out (repetition isn't
    counted).
    """

    start: Endgame
    moves: tuple[str, ...]
    outcome: Literal["mate", "draw", "illegal", "unfinished"]
    reason: str = ""

    @property
    def turns(self) -> int:
        """White's moves."""
        return (len(self.moves) + 1) // 2

    @property
    def score(self) -> float:
        """1 for a mate, else 0."""
        return float(self.outcome == "mate")

    def mates_within(self, n: int) -> bool:
        """Tell whether White mated in at most n moves of its own."""
        return self.outcome == "mate" and self.turns <= n


def step(situation: Endgame, action: str) -> Turn:
    """Play an action and the best defender's answer.

    The defender takes White's piece if it can, else goes where the game is drawn, else where mate is
    farthest; among equals it takes the first square in the order a1, b1, ..., h8.

    Raises:
        TakebackError: The action is not legal.

    >>> step(Endgame.parse("w Kb6 Rh1 kb8"), "h1h8").outcome
    'mate'
    >>> step(Endgame.parse("w Kb6 Rh1 kb8"), "h1c1").reply
    'b8a8'
    """
    reason = classify(situation, action)
    if reason != "legal":
        raise TakebackError(f"{action!r} is illegal in {str(situation)!r}: {reason}")
    position = _play(situation, action)
    if tables().black[position] == 0:
        return Turn(None, None, "mate")
    if position == DEAD:
        return Turn(None, None, "draw")
    square, after_reply = best_replies(np.array([position]))
    if square[0] < 0:
        return Turn(None, None, "draw")
    reply = SQUARES[position & 63] + SQUARES[square[0]]
    if after_reply[0] == DEAD or tables().row[after_reply[0]] < 0:
        return Turn(reply, None, "draw")
    return Turn(reply, Endgame.of(int(after_reply[0])), "")


def play_out(choose: Choose, situations: Sequence[Endgame], max_moves: int) -> list[PlayedEndgame]:
    """Play games from the situations until each is decided or White has made `max_moves` moves.

    The games go on together: `choose` gets the situations of all that are not over, in their order.
    """
    starts = list(situations)
    current = list(starts)
    moves: list[tuple[str, ...]] = [() for _ in starts]
    over: dict[int, PlayedEndgame] = {}
    for _ in range(max_moves):
        going = [i for i in range(len(starts)) if i not in over]
        if not going:
            break
        texts = choose([current[i] for i in going])
        for i, text in zip(going, texts, strict=True):
            reason = classify(current[i], text)
            if reason != "legal":
                over[i] = PlayedEndgame(starts[i], (*moves[i], text), "illegal", reason)
                continue
            action = text.strip()
            turn = step(current[i], action)
            moves[i] = (*moves[i], action) if turn.reply is None else (*moves[i], action, turn.reply)
            drawn = turn.outcome == "draw" or (
                turn.next is not None and tables().white[turn.next.number] == DRAW
            )
            if turn.outcome == "mate" or drawn:
                over[i] = PlayedEndgame(starts[i], moves[i], "draw" if drawn else "mate")
            elif turn.next is not None:
                current[i] = turn.next
    return [over.get(i) or PlayedEndgame(start, moves[i], "unfinished") for i, start in enumerate(starts)]


def _play(situation: Endgame, action: str) -> int:
    number = np.array([action_number_of(action.strip())])
    return int(after(np.array([situation.number]), number)[0])


def best_replies(positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the best defender's target squares (-1: none) and the positions after them."""
    squares, reached = black_moves(positions)
    taking = reached == DEAD
    length = tables().white[np.minimum(reached, DEAD)].astype(np.int64)
    length = np.where(length == DRAW, 1000, length) + 1000 * taking
    best = np.where(squares < 0, -1, length).argmax(axis=1)[:, None]
    return np.take_along_axis(squares, best, 1)[:, 0], np.take_along_axis(reached, best, 1)[:, 0]
