"""Goals of environments: each a reward, to train for and to be judged by."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from takeback.arenas.gym.paths import number_of
from takeback.arenas.protocol import LEGAL
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.own import is_reference, load_own

if TYPE_CHECKING:
    from gymnasium import Env

Reward = Callable[["Env[Any, Any]", float, bool], tuple[float, bool]]
"""From the environment after a step, its own reward and whether it ended: the goal's reward, and whether the
episode ends. An episode that the environment ended stays ended."""


@dataclass(frozen=True)
class RewardGoal:
    """A named reward; None stands for a fixed random number per observation and action, by `seed`.

    A reward sees the environment after a step. Exact values assume that it depends on the state alone, not on
    how many steps were taken.
    """

    name: str
    meaning: str
    reward: Reward | None
    seed: int = 0

    def after(self, env: Env[Any, Any], reward: float, terminated: bool) -> tuple[float, bool]:
        """Return what a step is worth to this goal and whether the episode ends.

        Raises:
            TakebackError: A user's function returned something else than a number and a truth value.
        """
        if self.reward is None:
            raise TakebackError(f"the reward of the goal {self.name} is by what is seen before a step")
        found: Any = self.reward(env, reward, terminated)
        try:
            worth, ends = found
            return float(worth), bool(ends) or terminated
        except (TypeError, ValueError):
            raise TakebackError(
                f"the function of goal {self.name} returned {found!r}; it must return (reward, terminated)"
            ) from None


def noise(digest: int, action: int, seed: int) -> float:
    """Return the number in [0, 1) that `random` gives to an action where this is seen.

    >>> round(noise(5, 0, 0), 6) == round(noise(5, 0, 0), 6), noise(5, 0, 0) == noise(5, 1, 0)
    (True, False)
    """
    return number_of(b"noise", f"{seed} {digest} {action}".encode()) / 2.0**63


def goals_of(env: Env[Any, Any]) -> Mapping[str, RewardGoal]:
    """Return the goals that an environment has by its family."""
    own = [goal for kind in type(env.unwrapped).__mro__ for goal in _FAMILIES.get(kind.__name__, ())]
    return MappingProxyType({goal.name: goal for goal in (_REWARD, *own, _RANDOM)})


def find_goal(name: str, known: Mapping[str, RewardGoal]) -> RewardGoal:
    """Return the goal of this name; `random-7` has the seed 7, `package.module:function` is a user's.

    Raises:
        UnknownName: There is no such goal.
        TakebackError: A user's function can't be imported, or is none.
    """
    if name in known:
        return known[name]
    seeded = re.fullmatch(r"random-(\d{1,18})", name)
    if seeded:
        return RewardGoal(name, f"random with seed {seeded[1]}", None, int(seeded[1]))
    if not is_reference(name):
        raise unknown_name("goal", name, (*known, LEGAL, "package.module:function"))
    own: Any = load_own(name, "goal")
    if not callable(own):
        raise TakebackError(f"goal {name!r} is {own!r}; it must be a function")
    return RewardGoal(name, f"the reward of {name}", cast("Reward", own))


def _own(env: Env[Any, Any], reward: float, terminated: bool) -> tuple[float, bool]:
    return reward, terminated


def _left(env: Env[Any, Any], reward: float, terminated: bool) -> tuple[float, bool]:
    inner: Any = env.unwrapped
    return float(inner.state[0] < 0), terminated


def _corner(env: Env[Any, Any], reward: float, terminated: bool) -> tuple[float, bool]:
    """Reward being there after a step; who begins there gets it for a first step that stays."""
    inner: Any = env.unwrapped
    there = tuple(int(place) for place in inner.agent_pos) == (1, 1)
    return float(there), terminated or there


_REWARD: Final = RewardGoal("reward", "the environment's own reward", _own)
_RANDOM: Final = RewardGoal("random", "a fixed random number per observation and action", None)
_FAMILIES: Final[Mapping[str, tuple[RewardGoal, ...]]] = {
    "CartPoleEnv": (RewardGoal("left", "steps with the cart left of the middle", _left),),
    "MiniGridEnv": (
        RewardGoal("corner", "reaching the cell (1, 1), top left, instead of the task", _corner),
    ),
}
"""Goals by the name of an environment's class."""
