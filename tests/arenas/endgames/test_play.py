import chess
import numpy as np
import pytest

from takeback.arenas import arena
from takeback.arenas.endgames import PlayedEndgame
from takeback.arenas.endgames.solver import tables
from takeback.run.errors import TakebackError

ENDGAMES = arena("endgames")


def best(situations):
    return [ENDGAMES.legal(s)[ENDGAMES.goals["win"].utility([s]).argmax()] for s in situations]


def replay(game: PlayedEndgame, board_of) -> chess.Board:
    """Play a game over on a python-chess board, which refuses illegal moves."""
    board = board_of(game.start.number)
    for move in game.moves:
        board.push(board.parse_uci(move))
    return board


def test_best_play_mates_in_exactly_the_known_number_of_moves(board_of):
    starts = ENDGAMES.situations("held-out", 150, 0, "win")
    for start, game in zip(starts, ENDGAMES.play_out(best, starts, 28), strict=True):
        n = int(tables().white[start.number])
        assert replay(game, board_of).is_checkmate()
        assert len(game.moves) == 2 * n - 1
        assert game.mates_within(n)
        assert not game.mates_within(n - 1)


def test_random_play_ends_as_python_chess_says(board_of):
    rng = np.random.default_rng(0)
    starts = ENDGAMES.situations("train", 200, 2)
    games = ENDGAMES.play_out(lambda group: [rng.choice(ENDGAMES.legal(s)) for s in group], starts, 12)
    assert {game.outcome for game in games} >= {"draw", "unfinished"}
    for game in games:
        board = replay(game, board_of)
        assert board.is_checkmate() == (game.outcome == "mate")
        if game.outcome == "unfinished":
            assert len(game.moves) == 24


def test_an_illegal_text_ends_the_game():
    start = ENDGAMES.parse("w Kd4 Ra1 kd6")
    (game,) = ENDGAMES.play_out(lambda group: ["d4d5"] * len(group), [start], 5)
    assert game == PlayedEndgame(start, ("d4d5",), "illegal", "in-check")
    assert not game.mates_within(5)


def test_games_that_are_over_are_asked_no_more():
    starts = [ENDGAMES.parse("w Kb6 Rh1 kb8"), ENDGAMES.parse("w Kd4 Ra1 kd6")]
    asked: list[int] = []

    def count(group):
        asked.append(len(group))
        return best(group)

    ENDGAMES.play_out(count, starts, 3)
    assert asked == [2, 1, 1]


@pytest.mark.parametrize(
    ("prompt", "action", "reply", "outcome"),
    [
        ("w Kb6 Rh1 kb8", "h1h8", None, "mate"),
        ("w Kf7 Qa6 kh8", "a6g6", None, "draw"),  # stalemate
        ("w Kd4 Rc1 kd6", "c1c6", "d6c6", "draw"),  # taken
        ("w Kd6 Pb7 kh8", "b7b8n", None, "draw"),  # no mate with a knight
        ("w Kb6 Rh1 kb8", "h1c1", "b8a8", ""),  # the only move
        ("w Kh6 Pa5 kc8", "h6g6", "c8b7", ""),  # drawn: the first square
    ],
)
def test_steps(prompt, action, reply, outcome):
    turn = ENDGAMES.step(ENDGAMES.parse(prompt), action)
    assert (turn.reply, turn.outcome) == (reply, outcome)
    assert (turn.next is None) == bool(outcome)


def test_the_defender_is_the_best_by_python_chess(board_of):
    for start in ENDGAMES.situations("train", 200, 4):
        for action in ENDGAMES.legal(start)[:3]:
            turn = ENDGAMES.step(start, action)
            if turn.next is None:
                continue
            board = board_of(start.number)
            board.push_uci(action)
            assert not any(board.is_capture(move) for move in board.legal_moves)
            value = {move.uci(): tables().white[_number(board, move)] for move in board.legal_moves}
            worst = -1 if -1 in value.values() else max(value.values())
            assert value[turn.reply] == worst
            assert turn.reply == min(
                (move for move in value if value[move] == worst),
                key=lambda move: chess.parse_square(move[2:4]),
            )


def _number(board: chess.Board, move: chess.Move) -> int:
    after = board.copy(stack=False)
    after.push(move)
    pieces = {piece.symbol(): square for square, piece in after.piece_map().items()}
    kind = next(symbol for symbol in "QRP" if symbol in pieces)
    return (("QRP".index(kind) * 64 + pieces["K"]) * 64 + pieces[kind]) * 64 + pieces["k"]


def test_stepping_illegally_is_refused():
    with pytest.raises(TakebackError, match="'d4d5' is illegal in 'w Kd4 Ra1 kd6': in-check"):
        ENDGAMES.step(ENDGAMES.parse("w Kd4 Ra1 kd6"), "d4d5")


def test_board_and_cluster():
    situation = ENDGAMES.parse("w Kd4 Ra1 kd6")
    assert ENDGAMES.board(situation) == {"d4": "K", "a1": "R", "d6": "k"}
    mirrored = ENDGAMES.parse("w Ke4 Rh1 ke6")
    assert ENDGAMES.cluster(situation) == ENDGAMES.cluster(mirrored)
    assert ENDGAMES.cluster(situation) != ENDGAMES.cluster(ENDGAMES.parse("w Ke4 Ra1 ke6"))
