from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeback.arenas import arena
from takeback.arenas.endgames import Endgame
from takeback.measure.agency.probes import BETTER, PENALTIES, Exam, Linear, Probes, order_accuracy
from takeback.policies.load import load_policy
from takeback.run.errors import TakebackError, UnknownName
from toy_arena import ToyArena

ENDGAMES: Any = arena("endgames")
NAMES = ("board", "mate in one", BETTER)


@dataclass(frozen=True)
class Seer:
    """Has for hidden states what a function makes of situations."""

    see: Any

    def states(self, place: Any, situations: Any) -> Any:
        return self.see(place, situations)


def worth_of(place: Any, situations: Any) -> np.ndarray:
    """See the board, and one number that tells how near White's king is to a1."""
    near = [[-(s.white_king % 8) - s.white_king // 8] for s in situations]
    return np.concatenate([place.observe(situations), near], axis=1).astype(np.float64)


def blind(place: Any, situations: Any) -> np.ndarray:
    return np.random.default_rng(len(situations)).normal(size=(len(situations), 5))


def asked(n: int = 48, split: str = "held-out", **more: Any) -> Exam:
    return Exam.of(ENDGAMES, ENDGAMES.situations(split, n, 1), split, 1, **more)


@given(st.integers(0, 2**32 - 1), st.sampled_from([(40, 3), (12, 30)]))
def test_ridge_is_the_normal_equations_in_both_spaces(seed: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    states, targets = rng.normal(size=shape), rng.normal(size=(shape[0], 2))
    found = Linear.fit(states, targets, np.arange(shape[0]))
    scaled = (states - states.mean(axis=0)) / states.std(axis=0)
    square = scaled.T @ scaled + found.penalty * shape[0] * np.eye(shape[1])
    weights = np.linalg.solve(square, scaled.T @ (targets - targets.mean(axis=0)))
    np.testing.assert_allclose(found(states), scaled @ weights + targets.mean(axis=0), atol=1e-8)


def test_the_penalty_is_the_one_that_foretells() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(300, 5))
    told = states @ rng.normal(size=(5, 1))
    assert Linear.fit(states, told, np.arange(300)).penalty == PENALTIES[0]
    assert Linear.fit(states, rng.normal(size=(300, 1)), np.arange(300)).penalty == PENALTIES[-1]
    with pytest.raises(TakebackError, match="two or more"):
        Linear.fit(states, told, np.zeros(300, np.int64))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=8))
def test_order_is_counted_pair_by_pair(rows: list[tuple[int, int]]) -> None:
    worth, utility = np.array(rows, np.float64).T
    points = [
        (worth[i] > worth[j]) + 0.5 * (worth[i] == worth[j])
        for i, j in product(range(len(rows)), repeat=2)
        if utility[i] > utility[j]
    ]
    found = order_accuracy(worth, utility, np.zeros(len(rows), np.int64), 2)
    assert np.isnan(found[1])
    np.testing.assert_allclose(found[0], np.mean(points) if points else np.nan)


def test_facts_are_those_of_the_board() -> None:
    situations = ENDGAMES.situations("held-out", 40, 3)
    facts = ENDGAMES.facts(situations)
    for situation, row, mate in zip(situations, facts["board"], facts["mate in one"], strict=True):
        piece, king, square, enemy = row
        told = {int(king): "K", int(square): "QRP"[piece], int(enemy): "k"}
        drawn = ENDGAMES.board(situation)
        assert {f"{'abcdefgh'[place % 8]}{place // 8 + 1}": name for place, name in told.items()} == drawn
        mates = any(ENDGAMES.step(situation, a).outcome == "mate" for a in ENDGAMES.legal(situation))
        assert bool(mate[0]) == mates


def test_what_a_move_leads_to_is_what_the_defender_answers() -> None:
    situations = [Endgame.parse("w Kb6 Rh1 kb8"), Endgame.parse("w Kf6 Pe7 kc7")]
    moved = ENDGAMES.moved(situations)
    actions = [(s, a) for s in situations for a in ENDGAMES.legal(s)]
    assert len(moved) == len(actions)
    for (situation, action), after in zip(actions, moved, strict=True):
        if action[4:] in ("b", "n"):
            assert after is None
            continue
        assert after is not None
        assert after.black_king == situation.black_king
        following = ENDGAMES.step(situation, action).next
        if following is not None:
            assert (after.white_king, after.square, after.piece) == (
                following.white_king,
                following.square,
                following.piece,
            )


def test_an_exam_asks_rare_facts_evenly_and_of_the_same_split() -> None:
    exam = asked()
    assert exam.measures == NAMES
    assert exam.truth["mate in one"].mean() == 0.5
    assert len(exam.asked_of("mate in one")) == 48
    held = {ENDGAMES.cluster(one) for one in exam.asked_of("mate in one")}
    assert not held & {ENDGAMES.cluster(one) for one in asked(split="train").asked_of("mate in one")}
    few = asked(most=3, asked=10)
    assert np.bincount(few.owner, minlength=10).max() == 3
    assert len(few.moved) == len(few.owner) == len(few.utilities["win"])
    all_moves = asked(asked=10)
    legal = [a for s in all_moves.chosen for a in ENDGAMES.legal(s)]
    assert len(all_moves.moved) == sum(a[4:] not in ("b", "n") for a in legal)
    with pytest.raises(UnknownName, match="did you mean 'win'"):
        few.known("wins")
    with pytest.raises(TakebackError, match="tells no facts"):
        Exam.of(ToyArena(), [0, 1], "held-out")


def test_probes_find_what_is_there_and_nothing_else() -> None:
    lessons, exam = asked(400, "train", asked=100), asked(96)
    for see, board, order in ((worth_of, (0.9, 1.0), (0.95, 1.0)), (blind, (0.0, 0.25), (0.4, 0.6))):
        seer: Any = Seer(see)
        found = Probes.fit(seer, lessons).scores(seer, exam, "corner")
        assert board[0] <= found["board"].mean() <= board[1]
        assert order[0] <= found[BETTER].mean() <= order[1]
        for name in NAMES:
            assert len(found[name]) == len(exam.scored(name, "corner"))
    guesses = Probes.fit(Seer(blind), lessons).scores(Seer(blind), exam)["mate in one"]
    assert 0.3 <= guesses.mean() <= 0.7


@pytest.mark.parametrize("name", ["endgame-base", "endgame-mlp"])
def test_states_of_both_kinds_of_policies_do_not_depend_on_their_company(name: str) -> None:
    policy = load_policy(name, ENDGAMES)
    situations = ENDGAMES.situations("held-out", 300, 0)
    states = policy.states(ENDGAMES, situations)
    np.testing.assert_allclose(
        states[[7, 280]], policy.states(ENDGAMES, [situations[7], situations[280]]), atol=1e-4
    )
    assert states.shape[0] == 300


def test_states_are_what_the_model_says_of_itself() -> None:
    policy: Any = load_policy("endgame-base", ENDGAMES)
    situation = ENDGAMES.situations("held-out", 1, 0)[0]
    tokens = policy.tokenizer(ENDGAMES.prompt(situation), return_tensors="pt")["input_ids"]
    hidden = policy.model(tokens, output_hidden_states=True).hidden_states
    expected = np.concatenate([one[0, -1].detach().numpy() for one in hidden])
    np.testing.assert_allclose(policy.states(ENDGAMES, [situation])[0], expected, atol=1e-4)
