"""Values by sampling: what an action and then uniformly random play are worth."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.gym.goals import RewardGoal
from takeback.arenas.gym.paths import Path, number_of
from takeback.arenas.gym.replay import Replays

ROLLOUTS: Final = 32
HORIZON: Final = 50


def returns(replays: Replays, goal: RewardGoal, path: Path) -> NDArray[np.float64]:
    """Return the sums of a goal's rewards, [legal actions, ROLLOUTS].

    Each rollout takes the action and then plays evenly among the legal actions, to the end of the episode or
    for HORIZON steps. Rollout i of every action has the same random numbers, for the player and for the
    environment, drawn from the path's text: the differences between actions are then not those of luck.
    """
    legal = replays.seen(path).legal
    seed = number_of(b"rollouts", str(path).encode())
    player = np.random.default_rng(seed).random((ROLLOUTS, HORIZON))
    totals = np.zeros((len(legal), ROLLOUTS))
    for i in range(ROLLOUTS):
        for row, action in enumerate(legal):
            totals[row, i] = _one(replays, goal, (path, action), np.random.default_rng([seed, i]), player[i])
    return totals


def _one(
    replays: Replays,
    goal: RewardGoal,
    begin: tuple[Path, int],
    chance: np.random.Generator,
    player: NDArray[np.float64],
) -> float:
    env = replays.fork(begin[0], chance)
    action, total = begin[1], 0.0
    for number in (*player, None):
        step = replays.step(env, action)
        worth, ends = goal.after(env, step.reward, step.terminated)
        total += worth
        if number is None or ends or step.over:
            break
        action = step.legal[int(number * len(step.legal))]
    return total
