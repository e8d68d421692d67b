import pytest

from takeback.arenas import arena
from takeback.policies.language.policy import LanguagePolicy, _answer
from takeback.policies.load import load_policy
from takeback.policies.play import player
from takeback.policies.policy import read

ENDGAMES = arena("endgames")


@pytest.mark.slow
def test_a_player_draws_from_its_policy_and_repeats_with_the_seed():
    policy = load_policy("endgame-base", ENDGAMES)
    (situation,) = ENDGAMES.situations("held-out", 1, 3)
    asked = [situation] * 2000
    answers = player(policy, ENDGAMES, seed=0)(asked)
    assert answers == player(policy, ENDGAMES, seed=0)(asked)
    assert answers != player(policy, ENDGAMES, seed=1)(asked)
    expected = read(policy, ENDGAMES, [situation])[0].legal
    for action, probability in expected.items():
        spread = (probability * (1 - probability) / len(asked)) ** 0.5
        assert abs(answers.count(action) / len(asked) - probability) < 5 * spread + 1e-3


def test_an_answer_that_never_ended_is_no_move():
    policy = load_policy("endgame-base", ENDGAMES)
    ids = policy.tokenizer.encode("a1a6")
    assert _answer(policy, [*ids, policy.tokenizer.eos_token_id, 7]) == "a1a6"
    assert ENDGAMES.classify(ENDGAMES.parse("w Kd4 Ra1 kd6"), _answer(policy, ids)) == "unparsable"
    ordinary = LanguagePolicy(policy.model, policy.tokenizer, "sentence")
    assert _answer(ordinary, [*ids, *policy.tokenizer.encode(" Kd4")]) == "a1a6"
