import chess

from takeback.arenas import arena
from takeback.arenas.endgames.features import FEATURES
from takeback.arenas.endgames.situations import Endgame

ENDGAMES = arena("endgames")


def test_features_are_those_of_python_chess(board_of, drawn_by_lot):
    for number in drawn_by_lot(400, seed=8):
        board = board_of(number)
        found = ENDGAMES.features([Endgame.of(number)])
        enemy = board.king(chess.BLACK)
        for place, move in enumerate(sorted(board.legal_moves, key=lambda move: move.uci())):
            after = board.copy(stack=False)
            after.push(move)
            far = chess.square_distance(move.to_square, enemy) > chess.square_distance(
                move.from_square, enemy
            )
            up = chess.square_rank(move.to_square) - chess.square_rank(move.from_square)
            right = chess.square_file(move.to_square) - chess.square_file(move.from_square)
            assert {name: bool(values[place]) for name, values in found.items()} == {
                "king": board.piece_type_at(move.from_square) == chess.KING,
                "check": after.is_check(),
                "mate": after.is_checkmate(),
                "stalemate": after.is_stalemate(),
                "capture": board.is_capture(move),
                "retreat": far,
                "promotion": move.promotion is not None,
                "hanging": any(after.is_capture(reply) for reply in after.legal_moves),
                "up": up > 0,
                "down": up < 0,
                "left": right < 0,
                "right": right > 0,
            }


def test_features_line_up_with_legal_actions():
    for situation in ENDGAMES.situations("train", 50, 0):
        found = ENDGAMES.features([situation])
        assert found.keys() == FEATURES.keys()
        assert {len(values) for values in found.values()} == {len(ENDGAMES.legal(situation))}
