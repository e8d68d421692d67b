"""Exact values of the best play from here on, where an environment is finite and shows its states.

Discounted by 0.99 a step and without a time limit. Two kinds of environments: those with a table of
transitions `P` (Gymnasium's toy texts, stochastic ones too), and MiniGrid's deterministic ones, whose
states are enumerated by trying every action.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.gym.copies import copy_of, is_grid, is_plain
from takeback.arenas.gym.goals import RewardGoal
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    from gymnasium import Env

DISCOUNT: Final = 0.99
MOST_STATES: Final = 20_000
_TOLERANCE: Final = 1e-13


def has_table(env: Env[Any, Any]) -> bool:
    """Tell whether an environment's table of transitions is all there is to it."""
    inner: Any = env.unwrapped
    tabled = isinstance(getattr(inner, "P", None), dict) and hasattr(inner, "s")
    return tabled and is_plain(env) and not getattr(inner, "fickle_passenger", False)


def has_graph(env: Env[Any, Any]) -> bool:
    """Tell whether an environment is one of MiniGrid's own whose state its grid and agent show."""
    kind = type(env.unwrapped)
    ours = kind.__module__.startswith("minigrid.envs.") and "babyai" not in kind.__module__
    return ours and is_grid(env) and is_plain(env)


class TransitionTable:
    """Holds the values of an environment with a table of transitions, for its own reward."""

    def __init__(self, env: Env[Any, Any]) -> None:
        inner: Any = env.unwrapped
        states = sorted(inner.P)
        row = {state: place for place, state in enumerate(states)}
        actions = len(inner.P[states[0]])
        most = max(len(outcomes) for state in states for outcomes in inner.P[state].values())
        shape = (len(states), actions, most)
        chance, reward = np.zeros(shape), np.zeros(shape)
        self._next, self._ends = np.zeros(shape, np.int64), np.ones(shape, np.bool_)
        for state in states:
            for action, outcomes in inner.P[state].items():
                for i, (p, after, worth, ends) in enumerate(outcomes):
                    place = (row[state], action, i)
                    chance[place], reward[place] = p, worth
                    self._next[place], self._ends[place] = row[after], ends
        self._row, self._chance, self._reward = row, chance, reward
        self._q = solve(chance, self._next, reward, self._ends)

    def values(self, env: Env[Any, Any]) -> NDArray[np.float64]:
        """Return the value of every action in the environment's state, [actions]."""
        inner: Any = env.unwrapped
        return self._q[self._row[inner.s]]

    def distance(self, env: Env[Any, Any]) -> int | None:
        """Return how many actions the best play needs to win; None where it can't or where chance decides."""
        inner: Any = env.unwrapped
        if self._chance.max(axis=2).min() < 1:
            return None
        sure = self._chance.argmax(axis=2)[:, :, None]
        following = np.take_along_axis(self._next, sure, 2)[:, :, 0]
        reward = np.take_along_axis(self._reward, sure, 2)[:, :, 0]
        ends = np.take_along_axis(self._ends, sure, 2)[:, :, 0]
        return _follow(self._row[inner.s], self._q, following, reward, ends)


class StateGraph:
    """Holds the states of MiniGrid environments that were met so far, and their values for one goal.

    A step that the environment rewards counts as reward 1, whenever it comes.
    """

    def __init__(self, goal: RewardGoal) -> None:
        self._goal = goal
        self._index: dict[bytes, int] = {}
        self._next: list[list[int]] = []
        self._reward: list[list[float]] = []
        self._ends: list[list[bool]] = []
        self._solved = np.zeros((0, 0))

    def explore(self, env: Env[Any, Any]) -> bool:
        """Add all states that can be reached from here; return False where a step is left to chance.

        Raises:
            TakebackError: There are too many states.
        """
        inner: Any = env.unwrapped
        start: Any = copy_of(inner, np.random.default_rng(0))
        if _key(start) in self._index:
            return True
        before = len(self._index)
        rng: Any = start.np_random.bit_generator
        untouched = rng.state["state"]
        actions = int(start.action_space.n)
        waiting = deque([start])
        self._place(start)
        while waiting:
            here = waiting.popleft()
            place = self._index[_key(here)]
            for action in range(actions):
                there: Any = copy_of(here, here.np_random)
                _, reward, terminated, _, _ = there.step(action)
                worth, ends = self._goal.after(there, 1.0 if reward > 0 else float(reward), bool(terminated))
                if not ends and _key(there) not in self._index:
                    self._place(there)
                    waiting.append(there)
                self._next[place].append(place if ends else self._index[_key(there)])
                self._reward[place].append(worth)
                self._ends[place].append(ends)
            if rng.state["state"] != untouched:
                return False
            if len(self._index) - before > MOST_STATES:
                raise TakebackError(
                    f"{inner.spec.id} has more than {MOST_STATES} states from one situation on, too many for "
                    "exact values; choose a smaller environment"
                )
        return True

    def values(self, env: Env[Any, Any]) -> NDArray[np.float64]:
        """Return the value of every action in a state that was explored, [actions]."""
        return self._solution()[self._index[_key(env.unwrapped)]]

    def distance(self, env: Env[Any, Any]) -> int | None:
        """Return how many actions the best play needs to win from an explored state, None: it can't."""
        place = self._index[_key(env.unwrapped)]
        arrays = (np.array(self._next), np.array(self._reward), np.array(self._ends))
        return _follow(place, self._solution(), *arrays)

    def _place(self, env: Any) -> None:
        self._index[_key(env)] = len(self._next)
        for rows in (self._next, self._reward, self._ends):
            rows.append([])

    def _solution(self) -> NDArray[np.float64]:
        if len(self._solved) < len(self._next):
            arrays = [np.array(rows)[:, :, None] for rows in (self._next, self._reward, self._ends)]
            self._solved = solve(np.ones(arrays[0].shape), arrays[0], arrays[1], arrays[2])
        return self._solved


def solve(
    chance: NDArray[np.float64],
    following: NDArray[np.int64],
    reward: NDArray[np.float64],
    ends: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the best play's values, [states, actions], by value iteration; all take [.., outcomes]."""
    at_once = (chance * reward).sum(axis=2)
    going_on = DISCOUNT * chance * ~ends
    best = np.zeros(len(chance))
    while True:
        q = at_once + (going_on * best[following]).sum(axis=2)
        improved = q.max(axis=1)
        if np.abs(improved - best).max() <= _TOLERANCE * max(1.0, np.abs(improved).max()):
            return q
        best = improved


def _follow(
    place: int,
    q: NDArray[np.float64],
    following: NDArray[np.int64],
    reward: NDArray[np.float64],
    ends: NDArray[np.bool_],
) -> int | None:
    """Count the steps of the best play up to its win: an end with a reward, or any end where none has one."""
    rewarded = bool((reward[ends] > 0).any())
    for step in range(1, len(q) + 1):
        action = int(q[place].argmax())
        if ends[place, action]:
            return step if not rewarded or reward[place, action] > 0 else None
        place = int(following[place, action])
    return None


def _key(inner: Any) -> bytes:
    """Return what tells the states of MiniGrid environments apart: grid, agent, what it carries, its task."""
    task = [
        (name, _thing(value) if hasattr(value, "encode") and not isinstance(value, str) else value)
        for name, value in sorted(vars(inner).items())
        if name not in ("agent_pos", "agent_dir", "carrying", "step_count", "_np_random_seed")
        and (isinstance(value, bool | int | float | str | tuple) or hasattr(value, "cur_pos"))
    ]
    agent = (*map(int, inner.agent_pos), int(inner.agent_dir))
    cells = [_thing(thing) for thing in inner.grid.grid]
    state = (agent, _whole(inner.carrying), task, cells, [_whole(t) for t in inner.grid.grid if _holds(t)])
    return blake2b(repr(state).encode(), digest_size=16).digest()


def _thing(thing: Any) -> Any:
    return None if thing is None else thing.encode()


def _whole(thing: Any) -> Any:
    return None if thing is None else (thing.encode(), _whole(thing.contains))


def _holds(thing: Any) -> bool:
    return thing is not None and thing.contains is not None
