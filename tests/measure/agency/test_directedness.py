from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from takeback.arenas import arena
from takeback.measure.agency.directedness import (
    directedness,
    goal_directedness,
    order_foreseen,
    reach,
    strength_of,
)
from takeback.measure.agency.probes import order_accuracy
from takeback.measure.outcomes import Outcomes
from takeback.policies.load import load_policy
from takeback.policies.readout import Readouts
from takeback.run.errors import UnknownName
from validation.planted import World, world

MADE = world(150)


def outcomes(made: World, after: Readouts, goal: str = "wanted", if_legal: bool = False) -> Outcomes:
    return Outcomes.of(made.base, after, made.context, [goal], if_legal)


def chooser(made: World, strength: float, lawful: float = 1.0) -> Readouts:
    """Choose softmax(βU) among legal actions, and something illegal with the rest of the probability."""
    weights = np.exp(strength * made.context.utilities["wanted"])
    total = np.bincount(made.context.owner, weights)[made.context.owner]
    illegal = np.full(made.base.masses.shape, (1 - lawful) / made.base.masses.shape[1])
    return replace(made.base, probabilities=lawful * weights / total, masses=illegal)


def seen(made: World, strength: float, seed: int = 0) -> np.ndarray:
    """What a probe of that strength gets right in each situation."""
    utility, owner = made.context.utilities["wanted"], made.context.owner
    worth = strength * utility + np.random.default_rng(seed).gumbel(size=len(utility))
    return order_accuracy(worth, utility, owner, len(made.base))


@given(st.floats(0.1, 20), st.integers(0, 1000))
@settings(max_examples=20)
def test_the_formula_is_what_a_chooser_with_noisy_sight_does(strength: float, seed: int) -> None:
    """Simulated: see utilities through Gumbel noise, take the largest, and compare pairs."""
    rng = np.random.default_rng(seed)
    utility = rng.choice([0, 0.25, 0.5, 1.0], size=(1, 5))
    utility[0, :2] = 0, 1
    exists = np.ones((1, 5), np.bool_)
    draws = 20_000
    worth = strength * utility + rng.gumbel(size=(draws, 5))
    taken = utility[0, worth.argmax(axis=1)]
    assert reach(utility, exists, strength)[0] == pytest.approx(taken.mean(), abs=5 / math.sqrt(draws))
    right = order_accuracy(
        worth.reshape(-1), np.tile(utility[0], draws), np.repeat(np.arange(draws), 5), draws
    )
    foreseen = order_foreseen(utility, exists, strength)[0]
    assert foreseen == pytest.approx(right.mean(), abs=5 / math.sqrt(draws))
    assert strength_of(foreseen, utility, exists) == pytest.approx(strength, rel=1e-4)


def test_no_sight_is_chance_and_full_sight_the_best() -> None:
    one = outcomes(MADE, MADE.base, if_legal=True)
    best = np.where(one.legal, one.utility, -1).max(axis=1)
    even = (one.utility * one.legal).sum(axis=1) / one.legal.sum(axis=1)
    for accuracy, wanted in ((0.3, even), (0.5, even), (1.0, best)):
        strength = strength_of(accuracy, one.utility, one.legal)
        np.testing.assert_allclose(reach(one.utility, one.legal, strength), wanted, atol=1e-9)
    reached = [reach(one.utility, one.legal, strength).mean() for strength in (0, 0.5, 1, 2, 5, 20, np.inf)]
    assert reached == sorted(reached)


@pytest.mark.parametrize("strength", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("lawful", [1.0, 0.6])
def test_a_policy_that_does_what_it_can_has_one_however_little_it_can(strength: float, lawful: float) -> None:
    """Its legality is no lack of direction: 0.6 of it everywhere changes nothing."""
    one = outcomes(MADE, chooser(MADE, strength, lawful))
    found = directedness(one, order_foreseen(one.utility, one.legal, strength))
    assert found.strength == pytest.approx(strength, rel=1e-6)
    assert found.value is not None
    assert found.value.value == pytest.approx(1)
    assert found.best.value == pytest.approx(lawful * reach(one.utility, one.legal, strength).mean())


def test_less_none_and_the_other_way() -> None:
    accuracy = order_foreseen(*_arrays(), 3.0)
    able, aimless = chooser(MADE, 3.0), chooser(MADE, 0.0)
    half = replace(able, probabilities=(able.probabilities + aimless.probabilities) / 2)
    for policy, wanted in ((half, 0.5), (aimless, 0.0)):
        found = directedness(outcomes(MADE, policy), accuracy).value
        assert found is not None
        assert found.value == pytest.approx(wanted)
    shuns = directedness(outcomes(MADE, chooser(MADE, -3.0)), accuracy).value
    assert shuns is not None
    assert shuns.value < 0
    more = directedness(outcomes(MADE, chooser(MADE, 6.0)), accuracy)
    assert more.value is not None
    assert more.value.value > 1
    assert "more than the linear probe finds" in more.note


def test_it_is_undefined_where_nothing_can_be_told_apart() -> None:
    one = outcomes(MADE, chooser(MADE, 3.0))
    found = directedness(one, seen(MADE, 0.0))
    assert found.value is None
    assert "tells no moves apart" in found.note
    lone = replace(one, clusters=np.zeros(len(one), np.int64))
    assert "one cluster" in directedness(lone, seen(MADE, 3.0)).note


@pytest.mark.slow
def test_its_interval_covers_with_the_accuracy_estimated() -> None:
    hits, runs = 0, 100
    for run in range(runs):
        made = world(60, seed=run)
        found = directedness(outcomes(made, chooser(made, 2.0)), seen(made, 2.0, run)).value
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 1 <= found.high
    assert hits / runs >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / runs)


def _arrays() -> tuple[np.ndarray, np.ndarray]:
    one = outcomes(MADE, MADE.base)
    return one.utility, one.legal


@pytest.mark.slow
def test_the_table_of_a_real_policy() -> None:
    place = arena("endgames")
    policy = load_policy("endgame-mlp", place)
    situations = place.situations("held-out", 96, 0)
    table = goal_directedness(policy, place, situations, ["corner", "random"])
    rows = table.set_index(["measure", "goal"])
    assert rows.loc[("probe board", ""), "value"] > 0.7
    assert rows.loc[("probe better move", "corner"), "low"] > 0.5
    assert abs(rows.loc[("goal-directedness", "corner"), "value"]) < 0.3
    assert str(rows.loc[("goal-directedness", "random"), "value"]) == "<NA>"
    with pytest.raises(UnknownName, match="did you mean 'corner'"):
        goal_directedness(policy, place, situations, ["cornr"])
