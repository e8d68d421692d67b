"""Small environments and rewards for tests, registered by importing this."""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium import spaces


class Toy(gymnasium.Env):
    """Shows the number of steps; ends after five; class attributes are changed below."""

    action_space = spaces.Discrete(3)
    observation_space: spaces.Space = spaces.Box(-10, 10, (1,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.seen(), {}

    def step(self, action):
        self.steps += 1
        return self.seen(), float(action), self.steps >= 5, False, {}

    def seen(self):
        return np.full((1,), self.steps, np.float64)


class Uncopied(Toy):
    """Can't be copied, and ends by chance."""

    def __deepcopy__(self, memo):
        raise TypeError("no")

    def step(self, action):
        seen, reward, ended, *rest = super().step(action)
        return seen + self.np_random.random(), reward * self.np_random.random(), ended, *rest


class Late(Toy):
    """Its actions begin at 4."""

    action_space = spaces.Discrete(2, start=4)

    def step(self, action):
        assert action in (4, 5)
        return super().step(action - 4)


class Wild(Toy):
    """Its randomness is not that of its seed."""

    def seen(self):
        return np.random.default_rng().random(1)


class Broken(Toy):
    def step(self, action):
        raise KeyError("oh\nno")


def _with(**attributes):
    return type("Toy", (Toy,), attributes)


KINDS = {
    "Toy": Toy,
    "Uncopied": Uncopied,
    "Late": Late,
    "Wild": Wild,
    "Broken": Broken,
    "Pairs": _with(action_space=spaces.MultiDiscrete([2, 3])),
    "Table": _with(observation_space=spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Discrete(3)})),
    "Tuple": _with(observation_space=spaces.Tuple((spaces.Discrete(2),))),
    "Text": _with(observation_space=spaces.Text(5)),
    "Large": _with(observation_space=spaces.Box(0, 255, (96, 96, 3), np.uint8)),
}
for _name, _kind in KINDS.items():
    if f"{_name}-v0" not in gymnasium.registry:
        gymnasium.register(f"{_name}-v0", _kind)


def passing(env, reward, terminated):
    """Is worth 1 above the second row of a grid."""
    return float(env.unwrapped.agent_pos[1] == 1), terminated


def twice(env, reward, terminated):
    return 2 * reward, terminated


def wrong(env, reward, terminated):
    return reward


nothing = 3


def flat(env, reward, terminated):
    return 1, terminated
