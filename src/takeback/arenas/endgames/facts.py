"""What is so in a position: facts that a model may or may not know, and positions after a move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.endgames.moves import moves
from takeback.arenas.endgames.situations import Endgame
from takeback.arenas.endgames.solver import DEAD, after, unpack


def facts(positions: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Return facts as class numbers, shape (n, parts of the fact).

    `board`: White's piece and the squares of White's king, White's piece and Black's king. `mate in one`: 1
    where White can mate at once.

    >>> found = facts(np.array([Endgame.parse("w Kb6 Rh1 kb8").number]))
    >>> found["board"].tolist(), found["mate in one"].tolist()
    ([[1, 41, 7, 57]], [[1]])
    """
    one = moves(positions).mate_in == 1
    return {"board": np.stack(unpack(positions), axis=1), "mate in one": one[:, None].astype(np.int64)}


def moved(positions: NDArray[np.int64]) -> list[Endgame | None]:
    """Return what stands on the board after each legal move, end to end, before Black answers.

    None where it can't be written as a situation: after a pawn became a bishop or a knight.

    >>> [str(one) for one in moved(np.array([Endgame.parse("w Ka6 Pa5 ka8").number]))]
    ['w Kb5 Pa5 ka8', 'w Kb6 Pa5 ka8']
    """
    batch = moves(positions)
    reached = after(batch.positions[:, None], batch.actions)[batch.legal]
    return [None if number == DEAD else Endgame.of(number) for number in reached.tolist()]
