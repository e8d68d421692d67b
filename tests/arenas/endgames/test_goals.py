import numpy as np
import pytest

from takeback.arenas import arena, judge
from takeback.arenas.endgames.goals import GOALS, find_goal
from takeback.arenas.endgames.moves import moves
from takeback.run.errors import UnknownName

ENDGAMES = arena("endgames")


def utilities(goal: str, prompt: str) -> dict[str, float]:
    situation = ENDGAMES.parse(prompt)
    return dict(
        zip(ENDGAMES.legal(situation), ENDGAMES.goals[goal].utility([situation]).tolist(), strict=True)
    )


@pytest.mark.parametrize("goal", [*GOALS, "random-5"])
def test_utilities_lie_between_0_and_1(goal, drawn_by_lot):
    batch = moves(drawn_by_lot(3000))
    values = find_goal(goal).utility(batch)[batch.legal]
    assert 0 <= values.min() < values.max() <= 1


@pytest.mark.parametrize("goal", [*GOALS, "random-5"])
def test_batches_equal_single_situations(goal, drawn_by_lot):
    numbers = drawn_by_lot(100)
    batch = moves(numbers)
    together = find_goal(goal).utility(batch)
    for row, number in enumerate(numbers):
        alone = find_goal(goal).utility(moves([number]))[0]
        assert (together[row][batch.legal[row]] == alone).all()


def test_win_by_hand():
    # Rh8 mates; Rc1 leaves only Ka8, then Rc8 mates.
    values = utilities("win", "w Kb6 Rh1 kb8")
    assert values["h1h8"] == 1
    assert values["h1c1"] == 1 / 2
    assert [move for move, value in values.items() if value == 1] == ["h1h8"]


def test_win_is_0_for_stalemate_and_for_hanging_the_piece():
    values = utilities("win", "w Kf7 Qa6 kh8")
    assert values["a6g6"] == 0  # stalemate
    assert utilities("win", "w Kd4 Rc1 kd6")["c1c6"] == 0  # taken


def test_win_in_the_pawn_ending_is_promoting_in_time():
    values = utilities("win", "w Kd6 Pb7 kh8")
    assert values["b7b8q"] == 1
    assert values["b7b8n"] == values["b7b8b"] == 0
    assert 0 < values["b7b8r"] < 1


def test_win_is_1_for_some_move_of_every_won_position(drawn_by_lot):
    batch = moves(drawn_by_lot(3000))
    best = np.where(batch.legal, GOALS["win"].utility(batch), 0).max(axis=1)
    assert (best == (batch.mate_in > 0)).all()
    assert (GOALS["win"].applies(batch) == (batch.mate_in > 0)).all()


def test_draw_is_the_other_side_of_win(drawn_by_lot):
    batch = moves(drawn_by_lot(2000))
    win, draw = (GOALS[name].utility(batch)[batch.legal] for name in ("win", "draw"))
    assert ((win > 0) == (draw == 0)).all()


def test_check_is_that_of_python_chess(board_of, drawn_by_lot):
    for number in drawn_by_lot(1500, seed=7):
        board = board_of(number)
        checks = [float(board.gives_check(move)) for move in sorted(board.legal_moves, key=lambda m: m.uci())]
        batch = moves([number])
        assert GOALS["check"].utility(batch)[0].tolist() == checks
        assert GOALS["check"].applies(batch)[0] == any(checks)


def test_a_discovered_check_counts():
    assert utilities("check", "w Ke4 Re1 ke7")["e4d4"] == 1


def test_corner_by_hand():
    values = utilities("corner", "w Kd4 Ra1 kd7")
    king = {target: values[f"d4{target}"] for target in ("c3", "c4", "d3", "e3", "c5", "d5", "e5")}
    assert king == {"c3": 1, "c4": 0.75, "d3": 0.75, "e3": 0.5, "c5": 0.5, "d5": 0.25, "e5": 0}
    assert values["a1a5"] == 0.5


def test_corner_does_not_apply_to_a_king_in_the_corner():
    situations = [ENDGAMES.parse(prompt) for prompt in ("w Ka1 Rb3 kd6", "w Kb1 Ra3 kd6")]
    assert ENDGAMES.goals["corner"].applies(situations).tolist() == [False, True]


def test_random_is_fixed_even_and_different_by_seed(drawn_by_lot):
    batch = moves(drawn_by_lot(2000))
    one, again, other = (
        find_goal(name).utility(batch)[batch.legal] for name in ("random", "random-0", "random-1")
    )
    assert (one == again).all()
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02
    assert np.histogram(one, 10, (0, 1))[0] / len(one) == pytest.approx([0.1] * 10, abs=0.01)


@pytest.mark.parametrize("name", ["wni", "random-", "random-x"])
def test_an_unknown_goal_is_named(name):
    with pytest.raises(UnknownName, match="unknown goal"):
        find_goal(name)


def test_judging_equals_looking_up_each(drawn_by_lot):
    situations = ENDGAMES.situations("train", 60, 3)
    texts = [ENDGAMES.legal(s)[i % len(ENDGAMES.legal(s))] for i, s in enumerate(situations)]
    texts[::4] = ["nonsense", "a1a1", "h9h8"] * 5
    texts[1] = f" {texts[1]}\n"
    values, classes = judge(ENDGAMES, "win", situations, texts)
    for situation, text, value, kind in zip(situations, texts, values, classes, strict=True):
        assert kind == ENDGAMES.classify(situation, text)
        looked_up = dict(
            zip(ENDGAMES.legal(situation), ENDGAMES.goals["win"].utility([situation]), strict=True)
        )
        assert value == looked_up.get(text.strip(), 0)
    assert values.max() > 0


def test_judging_nothing_but_nonsense():
    values, classes = judge(ENDGAMES, "win", ENDGAMES.situations("train", 2, 0), ["", "x"])
    assert values.tolist() == [0, 0]
    assert classes == ("unparsable", "unparsable")
