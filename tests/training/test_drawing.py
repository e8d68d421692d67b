"""Drawing the situations and pairs that recipes train on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from takeback.arenas import arena
from takeback.run.errors import TakebackError
from takeback.training import check_recipe
from takeback.training.drawing import best_actions, divided_situations, preferences, training_situations

ENDGAMES = arena("endgames")


def recipe(**more: Any) -> Any:
    fields = {"method": "dpo", "parent": "endgame-base", "goal": "win", "steps": 3, "batch": 20}
    return check_recipe({**fields, "learning_rate": 1e-3, **more})


def worth(goal: str, situation: Any) -> dict[str, float]:
    utility = ENDGAMES.goals[goal].utility([situation])
    return dict(zip(ENDGAMES.legal(situation), utility.tolist(), strict=True))


@pytest.mark.parametrize("goal", ["win", "corner", "check", "draw", "random"])
def test_a_pair_is_a_best_action_and_a_worse_one(goal: str) -> None:
    situations = divided_situations(recipe(goal=goal), ENDGAMES)
    assert len(situations) == 60
    pairs = preferences(ENDGAMES, goal, situations, np.random.default_rng(0))
    for situation, (chosen, rejected) in zip(situations, pairs, strict=True):
        values = worth(goal, situation)
        assert values[chosen] == max(values.values()) > values[rejected]


def test_pairs_are_drawn_evenly_and_by_the_seed() -> None:
    situation = ENDGAMES.parse("w Kd4 Ra1 kd6")
    values = worth("corner", situation)
    best = {action for action, value in values.items() if value == max(values.values())}
    drawn = [
        preferences(ENDGAMES, "corner", [situation] * 2000, np.random.default_rng(seed)) for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    for side, expected in ((0, best), (1, set(values) - best)):
        counts = {action: sum(pair[side] == action for pair in drawn[0]) for action in expected}
        assert sum(counts.values()) == 2000
        even = 2000 / len(expected)
        assert all(abs(count - even) < 5 * even**0.5 for count in counts.values())


def test_best_actions_are_best() -> None:
    situations = ENDGAMES.situations("train", 30, 0, goal="win")
    for situation, action in zip(
        situations, best_actions(ENDGAMES, "win", situations, np.random.default_rng(0)), strict=True
    ):
        values = worth("win", situation)
        assert values[action] == max(values.values())


def test_only_wanted_situations_are_drawn_as_many_as_asked_and_by_the_seed() -> None:
    def near(situations: Any) -> list[bool]:
        return [ENDGAMES.distance(one) == 2 for one in situations]

    drawn = [
        training_situations(ENDGAMES, recipe(seed=seed), 300, near, "mated in two") for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 300
    assert all(near(drawn[0]))


def test_where_there_are_none_or_too_few_it_says_so() -> None:
    with pytest.raises(TakebackError, match=r"none of 512 .* in which a legal action is worse .* goal legal"):
        divided_situations(recipe(goal="legal"), ENDGAMES)

    def rare(situations: Any) -> list[bool]:
        return [number % 40 == 0 for number in range(len(situations))]

    with pytest.raises(TakebackError, match=r"asks for 30000 .* only about 750 among few; take fewer steps"):
        training_situations(ENDGAMES, recipe(), 30_000, rare, "among few")
