import os
import subprocess
import sys
from pathlib import Path

import chess
import chess.gaviota
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeback.arenas.endgames import solver
from takeback.arenas.endgames.geometry import action_text
from takeback.arenas.endgames.moves import moves
from takeback.arenas.endgames.solver import DRAW, INVALID, POSITIONS, mirrors, pack, tables, unpack
from takeback.run.errors import TakebackError

GAVIOTA = Path(os.environ.get("TAKEBACK_GAVIOTA", "/usr/share/gaviotatb/gtb4"))
KIND = {kind: slice(place << 18, (place + 1) << 18) for place, kind in enumerate("QRP")}


@pytest.mark.parametrize(("kind", "longest"), [("Q", 10), ("R", 16), ("P", 28)])
def test_longest_mates_are_the_known_ones(kind, longest):
    assert tables().white[KIND[kind]].max() == longest


def test_counts_are_those_of_complete_tables():
    # With White to move all and won ones, with Black to move lost ones; each agrees with Gaviota's tables.
    white, black = tables().white, tables().black
    counts = {
        kind: ((white[at] != INVALID).sum(), (white[at] > 0).sum(), (black[at] >= 0).sum())
        for kind, at in KIND.items()
    }
    assert counts == {
        "Q": (144508, 144508, 200896),
        "R": (175168, 175168, 201700),
        "P": (163328, 124960, 97604),
    }


def test_valid_positions_are_those_of_python_chess(board_of):
    for number in np.random.default_rng(1).integers(0, POSITIONS, 3000).tolist():
        for side, table in ((True, tables().white), (False, tables().black)):
            board = board_of(number, side)
            valid = len(board.piece_map()) == 3 and board.is_valid()
            assert (table[number] != INVALID) == valid, board.fen()


def test_legal_moves_are_those_of_python_chess_in_order_of_text(board_of, drawn_by_lot):
    for number in drawn_by_lot(5000):
        ours = [action_text(action) for action in moves([number]).actions[0].tolist()]
        assert ours == sorted(move.uci() for move in board_of(number).legal_moves)


def test_values_hang_together_by_the_moves_of_python_chess(board_of, drawn_by_lot):
    for number in drawn_by_lot(600, seed=2):
        board = board_of(number)
        after = [_value(_pushed(board, move)) for move in board.legal_moves]
        won = [n for n in after if n != DRAW]
        assert tables().white[number] == (1 + min(won) if won else DRAW)
    lots = np.nonzero(tables().black[:POSITIONS] != INVALID)[0]
    for number in np.random.default_rng(3).choice(lots, 2000, replace=False).tolist():
        board = board_of(number, white_to_move=False)
        after = [_value(_pushed(board, move)) for move in board.legal_moves]
        mated = 0 if board.is_checkmate() else DRAW
        assert tables().black[number] == ((DRAW if DRAW in after else max(after)) if after else mated)


def _pushed(board: chess.Board, move: chess.Move) -> chess.Board:
    after = board.copy(stack=False)
    after.push(move)
    return after


def _value(board: chess.Board) -> int:
    pieces = {piece.symbol(): square for square, piece in board.piece_map().items()}
    kind = next((symbol for symbol in "QRP" if symbol in pieces), None)
    if kind is None:
        return DRAW
    number = (("QRP".index(kind) * 64 + pieces["K"]) * 64 + pieces[kind]) * 64 + pieces["k"]
    return int((tables().white if board.turn else tables().black)[number])


def _disagreements(board_of, among) -> list[str]:
    """Return the valid positions among some, (POSITIONS,) of yes or no, of which Gaviota says otherwise."""
    wrong: list[str] = []
    with chess.gaviota.PythonTablebase() as gaviota:
        gaviota.add_directory(str(GAVIOTA))
        for side, table in ((True, tables().white), (False, tables().black)):
            for number in np.nonzero((table[:POSITIONS] != INVALID) & among)[0].tolist():
                board, ours = board_of(number, side), int(table[number])
                plies = 0 if ours == DRAW else 2 * ours - 1 if side else -2 * ours
                ends = not side and ours == 0
                if gaviota.probe_dtm(board) != plies or (not side and board.is_checkmate() != ends):
                    wrong.append(board.fen())
    return wrong


needs_gaviota = pytest.mark.skipif(not GAVIOTA.is_dir(), reason="no Gaviota tables: set TAKEBACK_GAVIOTA")


@needs_gaviota
def test_a_sample_agrees_with_gaviota(board_of):
    assert _disagreements(board_of, np.arange(POSITIONS) % 37 == 0) == []


@needs_gaviota
@pytest.mark.slow
def test_every_position_agrees_with_gaviota(board_of):
    """One of each orbit is asked; its mirror images have its values, and are legal where it is."""
    places, least = np.arange(POSITIONS), tables().orbit
    assert _disagreements(board_of, least == places) == []
    for table in (tables().white, tables().black):
        assert (table[:POSITIONS] == table[least]).all()


@given(st.integers(0, POSITIONS - 1), st.integers(0, 7))
def test_mirror_images_have_the_same_value_and_orbit(number, mirror):
    kind, king, square, enemy = unpack(np.array([number]))
    image = mirrors()[mirror if kind[0] < 2 else mirror % 2]
    same = int(pack(kind, image[king], image[square], image[enemy])[0])
    solved = tables()
    assert solved.white[number] == solved.white[same]
    assert solved.black[number] == solved.black[same]
    assert solved.orbit[number] == solved.orbit[same]


def test_orbits_join_nothing_but_mirror_images():
    queen, pawn = (np.unique(tables().orbit[KIND[kind]], return_counts=True)[1] for kind in "QP")
    # No square mirrors to itself left and right; only what lies on one diagonal is its own image.
    assert set(queen.tolist()) == {4, 8}
    assert set(pawn.tolist()) == {2}


def test_a_damaged_cache_is_computed_again(tmp_path, monkeypatch):
    solved = tables()
    monkeypatch.setenv("TAKEBACK_CACHE", str(tmp_path))
    monkeypatch.setattr(solver, "solve", lambda: solved)
    read_anew = tables.__wrapped__
    read_anew()
    (stored,) = (tmp_path / "endgames").glob("tables-*.npz")
    whole = stored.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", whole[:5000] + b"\xff" * 100 + whole[5100:]):
        stored.write_bytes(damaged)
        again = read_anew()
        assert (again.white == solved.white).all()
        assert stored.read_bytes() == whole


def test_a_cache_is_used_when_whole(tmp_path, monkeypatch):
    solved = tables()
    monkeypatch.setenv("TAKEBACK_CACHE", str(tmp_path))
    monkeypatch.setattr(solver, "solve", lambda: solved)
    tables.__wrapped__()
    monkeypatch.setattr(solver, "solve", lambda: pytest.fail("solved again"))
    again = tables.__wrapped__()
    assert all(
        (getattr(again, name) == getattr(solved, name)).all() for name in ("white", "black", "row", "actions")
    )


@pytest.mark.slow
def test_processes_that_need_the_tables_at_once_solve_them_once(tmp_path):
    """Both find the cache empty; without taking turns the second's rename would find the draft gone."""
    environment = {**os.environ, "TAKEBACK_CACHE": str(tmp_path)}
    code = (
        "import takeback.arenas.endgames.solver as solver; solve = solver.solve;"
        "solver.solve = lambda: print('solved') or solve(); solver.tables()"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sorted(told) == ["", "solved\n"]


def test_tables_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        tables().white[0] = 1


@pytest.mark.parametrize("number", [-1, 0, POSITIONS, 10**9])
def test_moves_of_no_position_are_refused(number):
    with pytest.raises(TakebackError, match=f"position number {number}"):
        moves([number])
