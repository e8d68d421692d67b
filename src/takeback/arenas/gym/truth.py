"""What actions are worth to a goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.gym.exact import StateGraph, TransitionTable, has_graph, has_table
from takeback.arenas.gym.goals import RewardGoal, noise
from takeback.arenas.gym.paths import Path
from takeback.arenas.gym.replay import Replays
from takeback.arenas.gym.rollouts import returns

_EQUAL: Final = 1e-9
_ERRORS: Final = 3


@dataclass(frozen=True)
class ActionValues:
    """The values Q of a situation's legal actions, and what is known of their differences.

    `error` is the standard error of the difference between the best and the worst action, 0 where exact.
    """

    q: NDArray[np.float64]
    error: float = 0.0

    @property
    def utility(self) -> NDArray[np.float64]:
        """Where each value lies between the worst action's, 0, and the best one's, 1; 0 if all are equal."""
        spread = np.ptp(self.q)
        return (self.q - self.q.min()) / spread if spread > _EQUAL else np.zeros(len(self.q))

    @property
    def differ(self) -> bool:
        """Whether the best and the worst action differ, by more than three standard errors where sampled."""
        return bool(np.ptp(self.q) > max(_EQUAL, _ERRORS * self.error))


class Truth:
    """Finds and remembers the values of one environment's actions.

    Exact values are those of the best play from the next step on. They are there for goals of MiniGrid's own
    deterministic environments and for the own reward of environments with a table of transitions, unless a
    wrapper changes what steps do. Everywhere else values are sampled: those of uniformly random play from the
    next step on, over a horizon; an action may be best for that player and not for a better one.
    """

    def __init__(self, replays: Replays) -> None:
        self._replays = replays
        env = replays.state(Path(1)).env
        self._table = TransitionTable(env) if has_table(env) else None
        self._has_graph = has_graph(env)
        self._graphs: dict[str, StateGraph] = {}
        self._kept: dict[tuple[str, Path], ActionValues] = {}

    def values(self, goal: RewardGoal, paths: Sequence[Path]) -> list[ActionValues]:
        """Return the values of each situation's legal actions.

        Raises:
            TakebackError: A path is no situation, or there are too many states for exact values.
        """
        if goal.reward is None:
            return [self._noise(goal, path) for path in paths]
        new = [path for path in dict.fromkeys(paths) if (goal.name, path) not in self._kept]
        exact = self._explored(goal, new)
        for path in new:
            if exact is None:
                found = self._sampled(goal, path)
            else:
                state = self._replays.state(path)
                found = ActionValues(exact.values(state.env)[list(state.seen.legal)])
            self._kept[goal.name, path] = found
        return [self._kept[goal.name, path] for path in paths]

    def distance(self, goal: RewardGoal, path: Path) -> int | None:
        """Return how many actions the best play needs to win; None where it can't or it isn't known."""
        exact = self._explored(goal, [path])
        return None if exact is None else exact.distance(self._replays.state(path).env)

    def _explored(self, goal: RewardGoal, paths: Sequence[Path]) -> TransitionTable | StateGraph | None:
        """Return what knows the values of these situations exactly, if anything does."""
        if self._table is not None:
            return self._table if goal.name == "reward" else None
        if not self._has_graph:
            return None
        graph = self._graphs.setdefault(goal.name, StateGraph(goal))
        for path in paths:
            if not graph.explore(self._replays.state(path).env):
                self._has_graph = False
                return None
        return graph

    def _noise(self, goal: RewardGoal, path: Path) -> ActionValues:
        seen = self._replays.seen(path)
        return ActionValues(np.array([noise(seen.digest, action, goal.seed) for action in seen.legal]))

    def _sampled(self, goal: RewardGoal, path: Path) -> ActionValues:
        totals = returns(self._replays, goal, path)
        means = totals.mean(axis=1)
        difference = totals[means.argmax()] - totals[means.argmin()]
        return ActionValues(means, float(difference.std(ddof=1) / np.sqrt(len(difference))))
