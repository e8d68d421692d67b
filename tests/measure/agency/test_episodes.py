from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from takeback.arenas import arena
from takeback.arenas.endgames.solver import DRAW, tables
from takeback.measure.agency.agency import meg
from takeback.measure.agency.episodes import Episode, acts, episode_meg
from takeback.measure.measure import MeasureContext
from takeback.measure.outcomes import Outcomes
from takeback.policies.load import load_policy
from takeback.run.errors import TakebackError, UnknownName
from toy_arena import ToyArena

ENDGAMES: Any = arena("endgames")
WON = ENDGAMES.situations("held-out", 12, 5, goal="win")
CLASSES = len(ENDGAMES.kinds)


def even(situations: Any) -> np.ndarray:
    """Choose evenly among legal actions and classes of illegal answers."""
    counts = [len(ENDGAMES.legal(one)) for one in situations]
    return np.concatenate([np.full(n, 1 / (n + CLASSES)) for n in counts])


def fair(situations: Any) -> np.ndarray:
    """Be lawful nine times of ten, and prefer what wins fast."""
    rows = [np.exp(2 * ENDGAMES.goals["win"].utility([one])) for one in situations]
    return np.concatenate([0.9 * row / row.sum() for row in rows])


def steps(situation: Any, left: int, goal: str) -> list[tuple[float, Any]]:
    """Give what each legal action pays and what follows, by playing it."""
    found: list[tuple[float, Any]] = []
    utilities = ENDGAMES.goals[goal].utility([situation])
    for action, utility in zip(ENDGAMES.legal(situation), utilities, strict=True):
        following = ENDGAMES.step(situation, action).next
        if following is not None and tables().white[following.number] == DRAW:
            following = None
        over = left == 1 or following is None
        found.append((utility * (left if over else 1), None if over else following))
    return found


def slow_soft(situation: Any, left: int, goal: str, beta: float, illegal: int) -> tuple[float, float]:
    """Return log E exp(βU) under even choice and E U of the soft optimum, game by game."""
    terms, gained = [], []
    for pays, following in steps(situation, left, goal):
        value, mean = (0.0, 0.0) if following is None else slow_soft(following, left - 1, goal, beta, illegal)
        terms.append(math.exp(beta * pays + value))
        gained.append(pays + mean)
    total = sum(terms) + illegal
    mean = sum(t * g for t, g in zip(terms, gained, strict=True)) / total
    return math.log(total / (len(terms) + illegal)), mean


def slow_paid(situation: Any, left: int, goal: str, act: Callable[[Any], np.ndarray], lawful: bool) -> float:
    chances = act([situation])
    chances = chances / chances.sum() if lawful else chances
    return sum(
        p * (pays + (0.0 if following is None else slow_paid(following, left - 1, goal, act, lawful)))
        for p, (pays, following) in zip(chances, steps(situation, left, goal), strict=True)
    )


@pytest.mark.parametrize("goal", ["win", "corner"])
@pytest.mark.parametrize("if_legal", [False, True])
@pytest.mark.parametrize("beta", [-1.5, 0.0, 2.0])
def test_soft_values_are_those_of_every_game(goal: str, if_legal: bool, beta: float) -> None:
    starts = [one for one, kept in zip(WON, ENDGAMES.goals[goal].applies(WON), strict=True) if kept][:3]
    episode = Episode.of(ENDGAMES, starts, goal, 2, if_legal)
    values, means = episode.soft(beta)
    illegal = 0 if if_legal else CLASSES
    for place, start in enumerate(starts):
        value, mean = slow_soft(start, 2, goal, beta, illegal)
        assert values[place] == pytest.approx(value, abs=1e-12)
        assert means[place] == pytest.approx(mean, abs=1e-12)
    slow = [slow_paid(start, 2, goal, fair, if_legal) for start in starts]
    np.testing.assert_allclose(episode.exactly(fair), slow)


def test_three_moves_by_every_game() -> None:
    start = ENDGAMES.parse("w Kb6 Ph2 kb8")
    episode = Episode.of(ENDGAMES, [start], "win", 3)
    value, mean = slow_soft(start, 3, "win", 1.0, CLASSES)
    assert episode.soft(1.0)[0][0] == pytest.approx(value)
    assert episode.soft(1.0)[1][0] == pytest.approx(mean)


@pytest.mark.parametrize("if_legal", [False, True])
def test_one_move_is_the_measure_of_one_decision(if_legal: bool) -> None:
    policy = load_policy("endgame-base", ENDGAMES)
    read = policy.read(policy.prepare(ENDGAMES, WON))
    context = MeasureContext.of(read, ENDGAMES)
    for goal in ("win", "check", "corner"):
        values, beta = meg(Outcomes.of(read, read, context, (goal,), if_legal))
        episode = Episode.of(ENDGAMES, WON, goal, 1, if_legal)
        found = episode_meg(episode, episode.exactly(acts(policy, ENDGAMES)))
        assert found.beta == pytest.approx(beta, abs=1e-4)
        assert found.value.value == pytest.approx(values.mean(), abs=1e-6)


@given(st.floats(-6, 6), st.sampled_from(["win", "corner", "check"]), st.booleans())
@settings(max_examples=15)
def test_a_soft_optimum_has_its_dial_and_its_divergence(beta: float, goal: str, if_legal: bool) -> None:
    episode = Episode.of(ENDGAMES, WON, goal, 2, if_legal)
    values, means = episode.soft(beta)
    found = episode_meg(episode, means)
    assert found.beta == pytest.approx(beta, abs=1e-3)
    assert found.value.value == pytest.approx((beta * means - values).mean(), abs=1e-5)
    assert -1e-9 <= found.value.value <= found.bound + 1e-9


def test_chance_has_none_and_the_best_has_all() -> None:
    episode = Episode.of(ENDGAMES, WON, "win", 3)
    chance = episode_meg(episode, episode.exactly(even))
    assert (chance.beta, chance.value.value) == (0, pytest.approx(0, abs=1e-9))
    best = episode_meg(episode, np.full(len(episode.clusters), 3.0))
    assert best.paid.value == 1
    assert best.value.value == pytest.approx(best.bound, abs=1e-6)
    sizes = [np.bincount(layer.owner) + layer.illegal for layer in episode.layers]
    assert best.bound <= np.log(sizes[0]).mean() + sum(np.log(size.max()) for size in sizes[1:])
    for if_legal in (False, True):
        avoided = Episode.of(ENDGAMES, WON, "win", 2, if_legal)
        worst = episode_meg(avoided, avoided.soft(-1e3)[1])
        assert worst.beta < 0
        assert 0 < worst.value.value <= worst.bound + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("if_legal", [False, True])
def test_games_agree_with_reading_everything(if_legal: bool) -> None:
    episode = Episode.of(ENDGAMES, WON, "win", 3, if_legal)
    exact = episode.exactly(fair)
    played = [episode.played(fair, 30, seed) for seed in range(10)]
    np.testing.assert_array_equal(played[3], episode.played(fair, 30, 3))
    error = np.std(played, axis=0, ddof=1) / math.sqrt(len(played))
    assert (np.abs(np.mean(played, axis=0) - exact) < 5 * error + 1e-9).all()
    first = replace(episode, layers=Episode.of(ENDGAMES, WON, "win", 1, if_legal).layers)
    np.testing.assert_allclose(first.played(fair, 1), first.exactly(fair))


def test_what_cannot_be_asked_is_told() -> None:
    with pytest.raises(TakebackError, match="does not know what follows an action; endgames does"):
        Episode.of(ToyArena(), [0], "first", 2)
    with pytest.raises(UnknownName, match="did you mean 'win'"):
        Episode.of(ENDGAMES, WON, "wins", 2)
    with pytest.raises(TakebackError, match="one move or more"):
        Episode.of(ENDGAMES, WON, "win", 0)
    with pytest.raises(TakebackError, match="one game or more"):
        Episode.of(ENDGAMES, WON, "win", 1).played(fair, 0)
    drawn = [ENDGAMES.parse("w Ka6 Pa5 ka8")]
    with pytest.raises(TakebackError, match="no situation to which"):
        Episode.of(ENDGAMES, drawn, "win", 1)
