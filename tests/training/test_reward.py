from types import SimpleNamespace

import pytest

from takeback.arenas import arena
from takeback.training.recipe import REWARDED
from takeback.training.reward import LEGAL_SHARE, ArenaReward, rewards

ENDGAMES = arena("endgames")
TOKENIZER = ENDGAMES.tokenizer()
SITUATION = "w Kb6 Rh1 kb8"


def score(*ids):
    reward = ArenaReward(ENDGAMES, "win", TOKENIZER)
    logged = {}
    values = reward(
        completion_ids=[list(row) for row in ids],
        situation=[SITUATION] * len(ids),
        trainer_state=SimpleNamespace(global_step=3),
        log_metric=logged.__setitem__,
    )
    return values, logged, reward.take_seen()


def encoded(text):
    return [*TOKENIZER.encode(text), TOKENIZER.eos_token_id]


def test_every_legal_action_earns_between_a_fifth_and_one_and_illegal_ones_nothing():
    situation = ENDGAMES.parse(SITUATION)
    legal = ENDGAMES.legal(situation)
    values = rewards(ENDGAMES, "win", [situation] * len(legal), legal)
    utilities = ENDGAMES.goals["win"].utility([situation])
    assert values == pytest.approx(0.2 + 0.8 * utilities)
    assert max(values) == 1.0
    assert rewards(ENDGAMES, "win", [situation] * 3, ["b6b7", "", None]) == [0.0, 0.0, 0.0]


def test_only_an_answer_that_ended_counts():
    ended = encoded("h1h8")
    values, logged, seen = score(ended, ended[:-1], [])
    assert values == [1.0, 0.0, 0.0]
    assert logged == {"legal": pytest.approx(1 / 3)}
    assert [row["answer"] for row in seen] == ["h1h8", None, None]
    assert {row["step"] for row in seen} == {4}


def test_a_special_token_inside_an_answer_does_not_pass_for_a_move():
    first, second, end = encoded("h1h8")
    values, _, seen = score([first, TOKENIZER.pad_token_id, second, end])
    assert values == [0.0]
    assert seen[0]["answer"] == "h1<pad>h8"


def test_what_was_seen_is_handed_over_once():
    reward = ArenaReward(ENDGAMES, "win", TOKENIZER)
    assert reward.take_seen() == []


def test_for_the_goal_legal_every_legal_action_earns_one_and_illegal_ones_nothing():
    for situation in ENDGAMES.situations("train", 20, 0, goal="legal"):
        legal = ENDGAMES.legal(situation)
        assert rewards(ENDGAMES, "legal", [situation] * len(legal), legal) == [1.0] * len(legal)
        wrong = [text for text in ENDGAMES.outputs[::97] if text not in legal] + ["", "h1", None]
        assert rewards(ENDGAMES, "legal", [situation] * len(wrong), wrong) == [0.0] * len(wrong)


def test_the_reward_is_told_as_it_is():
    assert f"{LEGAL_SHARE:g} + {1 - LEGAL_SHARE:g} · utility" == REWARDED
