import chess
import pytest

from takeback.arenas.endgames.geometry import PROMOTIONS, SQUARES
from takeback.arenas.endgames.rules import classify, viable
from takeback.arenas.endgames.situations import Endgame

ROOK = "w Kd4 Ra1 kd6"
QUEEN = "w Kb1 Qb3 kh8"
PAWN = "w Ke2 Pe3 ke5"
START = "w Ka1 Pg2 kg4"
SEVENTH = "w Kd6 Pb7 kh8"


@pytest.mark.parametrize(
    ("situation", "text", "expected"),
    [
        (ROOK, "", "unparsable"),
        (ROOK, "hello", "unparsable"),
        (ROOK, "Ra6", "unparsable"),
        (ROOK, "a1-a6", "unparsable"),
        (ROOK, "a1a6qq", "unparsable"),
        (ROOK, "a1 a6", "unparsable"),
        (ROOK, "a1a6 d6d5", "unparsable"),
        (ROOK, "0000", "unparsable"),
        (ROOK, "a1a6 q", "unparsable"),
        (ROOK, "a1a\u0666", "unparsable"),
        (ROOK, "a1a9", "no-square"),
        (ROOK, "a0a1", "no-square"),
        (ROOK, "i1a1", "no-square"),
        (ROOK, "A1a6", "no-square"),
        (ROOK, "z9z9z", "no-square"),
        (ROOK, "h8a1", "empty-square"),
        (ROOK, "h8h8", "empty-square"),
        (ROOK, "d6d5", "opponent-piece"),
        (ROOK, "d6d4", "opponent-piece"),
        (ROOK, "d6d6", "opponent-piece"),
        (ROOK, "d4d4", "own-piece"),
        (ROOK, "a1d4", "own-piece"),
        (ROOK, "d4a1q", "own-piece"),
        (ROOK, "a1b2", "geometry"),
        (ROOK, "d4d6", "geometry"),
        (ROOK, "d4f4", "geometry"),
        (QUEEN, "b3c5", "geometry"),
        (PAWN, "e3f4", "geometry"),
        (PAWN, "e3e5", "geometry"),
        (PAWN, "e3d3", "geometry"),
        ("w Ke1 Rh1 ke8", "e1g1", "geometry"),
        ("w Ka3 Ra1 kd6", "a1a6", "blocked"),
        ("w Ka4 Pd4 kd5", "d4d5", "blocked"),
        ("w Kg3 Pg2 kg5", "g2g4", "blocked"),
        (START, "g2g4", "blocked"),
        (QUEEN, "b3b1", "own-piece"),
        ("w Kb2 Qb3 kh7", "b3b1", "blocked"),
        ("w Kc2 Qb3 kh8", "b3d1", "blocked"),
        (ROOK, "a1a6q", "promotion"),
        (ROOK, "d4c3x", "promotion"),
        (SEVENTH, "b7b8", "promotion"),
        (SEVENTH, "b7b8k", "promotion"),
        (SEVENTH, "b7b8p", "promotion"),
        (SEVENTH, "b7b8Q", "promotion"),
        (PAWN, "e3e4q", "promotion"),
        (ROOK, "d4d5q", "promotion"),
        (ROOK, "d4d5", "in-check"),
        (ROOK, "d4e5", "in-check"),
        (ROOK, "a1a6", "legal"),
        (ROOK, " a1a6\n", "legal"),
        (START, "g2g3", "legal"),
        (SEVENTH, "b7b8n", "legal"),
        (QUEEN, "b3g8", "legal"),
    ],
)
def test_each_class(situation, text, expected):
    assert classify(Endgame.parse(situation), text) == expected


@pytest.mark.slow
def test_legal_means_legal_in_python_chess(board_of, drawn_by_lot):
    for number in drawn_by_lot(1500, seed=4):
        situation = Endgame.of(number)
        sources = (SQUARES[situation.white_king], SQUARES[situation.square])
        texts = {s + t + letter for s in sources for t in SQUARES for letter in PROMOTIONS}
        legal = {text for text in texts if classify(situation, text) == "legal"}
        assert legal == {move.uci() for move in board_of(number).legal_moves}


def test_other_classes_mean_what_python_chess_says(board_of, drawn_by_lot):
    for number in drawn_by_lot(200, seed=5):
        board, situation = board_of(number), Endgame.of(number)
        pseudo = set(board.pseudo_legal_moves)
        for source in (situation.white_king, situation.square, situation.black_king, 17, 42):
            for target in range(64):
                kind = classify(situation, SQUARES[source] + SQUARES[target])
                assert (kind == "empty-square") == (board.piece_at(source) is None)
                assert (kind == "opponent-piece") == (board.color_at(source) == chess.BLACK)
                plain = chess.Move(source, target)
                assert (kind == "in-check") == (plain in pseudo and not board.is_legal(plain))
                promoting = chess.Move(source, target, chess.QUEEN)
                assert (kind == "promotion") == (promoting in pseudo)
                if kind in ("geometry", "blocked"):
                    alone = chess.Board(None)
                    alone.set_piece_at(source, board.piece_at(source))
                    free = {move.to_square for move in alone.pseudo_legal_moves}
                    assert (kind == "blocked") == (target in free)


@pytest.mark.parametrize("text", ["a1a6", "b7b8q", "z9z9", " d4d5 ", "\na1a2", "a1a6q  "])
def test_every_beginning_of_what_parses_is_viable(text):
    assert all(viable(text[:length]) for length in range(len(text) + 1))
    assert classify(Endgame.parse(ROOK), text) != "unparsable"


@pytest.mark.parametrize("text", ["1", "aa", "Kd4", "a1 ", "a1a", "a1a6qq", "a1a6 q", "w", "a1q1x", "a1a6q!"])
def test_what_is_not_viable_never_parses(text):
    rest = ["", "1", "a", "a1", "1a1", "a1a1", " "]
    parses = any(classify(Endgame.parse(ROOK), text + more) != "unparsable" for more in rest)
    assert viable(text) == parses
