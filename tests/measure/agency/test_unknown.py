from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from takeback.arenas import arena
from takeback.measure.agency.agency import meg
from takeback.measure.agency.unknown import FEATURES, GOALS, family, unknown_meg, unknown_utility
from takeback.measure.measure import MeasureContext
from takeback.measure.outcomes import Outcomes
from takeback.policies.load import load_policy
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError
from validation.planted import World, world

MADE = world(80)


def softly(made: World, **betas: float) -> Readouts:
    """Choose exp(Σ βU) among legal actions and classes of illegal answers alike."""
    worth = sum(beta * made.context.utilities[goal] for goal, beta in betas.items())
    return made.made(np.exp(worth), np.ones_like(made.base.masses))


def outcomes(after: Readouts, *goals: str, if_legal: bool = False) -> Outcomes:
    return Outcomes.of(after, after, MADE.context, goals, if_legal)


@pytest.mark.parametrize("if_legal", [False, True])
def test_a_member_of_the_family_is_found(if_legal: bool) -> None:
    """The policy is the tilt, so that what is foretold is all its divergence from even choice."""
    one = outcomes(softly(MADE, wanted=2.0, other=-1.0), "wanted", "other", if_legal=if_legal)
    found = unknown_meg(one)
    assert found.weights == pytest.approx({"wanted": 2, "other": -1}, abs=1e-4)
    sizes = one.exists.sum(axis=1)
    inside = one.tuned * np.log(np.where(one.exists, one.tuned, 1.0) * sizes[:, None])
    divergence = inside.sum(axis=1).mean()
    assert found.inside.value == pytest.approx(divergence, abs=1e-6)
    assert found.value is not None
    assert found.value.value == pytest.approx(divergence, abs=1e-6)
    assert divergence <= found.bound


def test_one_member_is_the_measure_with_a_known_utility() -> None:
    for name in ("wanted", "shadow"):
        one = outcomes(softly(MADE, wanted=3.0), name)
        assert unknown_meg(one).inside.value == pytest.approx(meg(one)[0].mean(), abs=1e-6)
    single = [meg(outcomes(MADE.base, goal))[0].mean() for goal in MADE.context.utilities]
    together = unknown_meg(outcomes(MADE.base, *MADE.context.utilities)).inside.value
    assert together >= max(single) - 1e-9


def test_what_is_particular_to_a_sample_is_not_foretold() -> None:
    """Sixty utilities of chance fit habits of chance in sample; held out they foretell nothing."""
    rng = np.random.default_rng(0)
    chance = {f"chance {i}": rng.random(len(MADE.context.owner)) for i in range(60)}
    context = replace(MADE.context, utilities=chance, applies=dict.fromkeys(chance, np.ones(80, np.bool_)))
    habit = MADE.made(np.exp(rng.normal(size=len(MADE.context.owner))), MADE.base.masses)
    found = unknown_meg(Outcomes.of(habit, habit, context, tuple(chance), if_legal=True))
    assert found.inside.value > 0.01
    assert found.value is not None
    assert found.value.value < 0


def test_families_of_an_arena() -> None:
    place: Any = arena("endgames")
    policy = load_policy("endgame-mlp", place)
    read = policy.read(policy.prepare(place, place.situations("held-out", 96, 0)))
    context = MeasureContext.of(read, place)
    assert tuple(family(context, GOALS).utilities) == tuple(place.goals)
    members = family(context, FEATURES)
    assert "legal" in members.utilities
    assert "is capture" not in members.utilities
    assert "legal" not in family(context, FEATURES, if_legal=True).utilities
    assert all(applies.all() for applies in members.applies.values())
    table = unknown_utility(read, context).set_index("measure")["value"]
    for suffix in ("", ", if legal"):
        goals, more = (table[f"MEG over {name} in sample{suffix}"] for name in (GOALS, FEATURES))
        assert 0 < goals < more
        assert table[f"MEG over goals and features{suffix}"] < more
    with pytest.raises(TakebackError, match="no situation"):
        unknown_meg(
            Outcomes.of(
                read,
                read,
                replace(context, applies=dict.fromkeys(context.applies, np.zeros(96, np.bool_))),
                ["win"],
            )
        )
