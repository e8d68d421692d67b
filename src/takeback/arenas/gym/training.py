"""Environments to train in: an arena's observations, a goal's reward, seeds of the training split only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import Wrapper, spaces
from numpy.typing import NDArray

from takeback.arenas.gym.encoding import Encoder
from takeback.arenas.gym.goals import RewardGoal, noise
from takeback.arenas.gym.paths import draw_seed, number_of

if TYPE_CHECKING:
    from gymnasium import Env


class Training(Wrapper[Any, Any, Any, Any]):
    """An environment with flat float32 observations whose every episode begins with a seed of `train`.

    A seed given to `reset` chooses which of these seeds come next; it is not the environment's own. The
    environment's time limit stays. The goal `random` is worth its number less a half, so that a long episode
    is no gain in itself.
    """

    def __init__(self, env: Env[Any, Any], encoder: Encoder, goal: RewardGoal, seed: int) -> None:
        super().__init__(env)
        inner: Any = env.action_space
        self.observation_space = spaces.Box(-np.inf, np.inf, (encoder.width,), np.float32)
        self.action_space = spaces.Discrete(int(inner.n))
        self._first, self._encode, self._goal, self._seed = int(inner.start), encoder.encode, goal, seed
        self._seeds = np.random.default_rng(seed)
        self._before = np.zeros(0, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode with the next seed."""
        if seed is not None:
            self._seeds = np.random.default_rng([self._seed, seed])
        raw, info = self.env.reset(seed=draw_seed("train", self._seeds), options=options)
        self._before = self._encode(raw)
        return self._before, info

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Take an action, by its number from 0, and return the goal's reward for it."""
        raw, reward, terminated, truncated, info = self.env.step(self._first + int(action))
        if self._goal.reward is None:
            worth = noise(number_of(self._before.tobytes()), int(action), self._goal.seed) - 0.5
            ends = bool(terminated)
        else:
            worth, ends = self._goal.after(self.env, float(reward), bool(terminated))
        self._before = self._encode(raw)
        return self._before, worth, ends, bool(truncated), info
