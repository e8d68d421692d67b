"""Truth from outside: the same positions as python-chess boards."""

from collections.abc import Callable

import chess
import numpy as np
import pytest

from takeback.arenas.endgames.solver import POSITIONS, tables


def board_of(number: int, white_to_move: bool = True) -> chess.Board:
    board = chess.Board(None)
    for square, symbol in (
        (number >> 12 & 63, "K"),
        (number >> 6 & 63, "QRP"[number >> 18]),
        (number & 63, "k"),
    ):
        board.set_piece_at(square, chess.Piece.from_symbol(symbol))
    board.turn = white_to_move
    return board


@pytest.fixture(name="board_of")
def board_of_fixture() -> Callable[..., chess.Board]:
    """A function from a position's number and the side to move to a python-chess board."""
    return board_of


@pytest.fixture
def drawn_by_lot() -> Callable[[int], list[int]]:
    """A function that gives n random positions, White to move and able to."""

    def draw(n: int, seed: int = 0) -> list[int]:
        numbers = np.nonzero(tables().row[:POSITIONS] >= 0)[0]
        return np.random.default_rng(seed).choice(numbers, n, replace=False).tolist()

    return draw
