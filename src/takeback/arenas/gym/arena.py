"""Any Gymnasium environment with one choice among n actions, behind the `Arena` protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.gym.goals import RewardGoal, find_goal, goals_of
from takeback.arenas.gym.make import EnvironmentName, action_names
from takeback.arenas.gym.paths import SPLITS, Path
from takeback.arenas.protocol import LEGAL, Goal, goal_of
from takeback.arenas.words import Words
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.extras import needed
from takeback.run.identity import told

if TYPE_CHECKING:
    from gymnasium import Env

    from takeback.arenas.gym.play import PlayedEpisode

_PATIENCE: Final = 100
_RAREST: Final = 1 / 20
"""After so many draws, a rarer goal than this is given up."""


class Gym:
    """Any Gymnasium environment with a `Discrete` action space, by name: `gym:CartPole-v1`.

    A name may add wrappers of MiniGrid or Gymnasium, inner ones first:
    `gym:Blackjack-v1+FlattenObservation`. A situation is a `Path`: a reset seed and the actions taken since.
    Texts of actions are their names. Where the environment gives an `action_mask`, a masked action is
    illegal, of the class `no-effect`. A policy sees what an MlpPolicy of Stable-Baselines3 sees when it is
    trained in the environment with the same wrappers; MiniGrid's have three where none are named, see
    `Recipe.make`. The split is of seeds: in an environment with few states both sides look the same.

    The utility of an action is where its value lies between the worst (0) and the best legal one (1). What
    "value" means depends on the environment, see `Truth`: exact, with the best play from then on, for
    MiniGrid's deterministic environments (reward 1 for success whenever it comes, discounted by 0.99 a step)
    and for the own reward of those with a table of transitions (FrozenLake, CliffWalking, Taxi); else the
    mean over 32 rollouts of 50 steps of uniformly random play from then on. The goal `random` has no future:
    its utility is its number for what is seen and the action.

    >>> arena = Gym("gym:CartPole-v1")
    >>> start = arena.parse("17: 0 0 0 0 0 0")
    >>> arena.legal(start), arena.goals["reward"].utility([start]), arena.classify(start, "up")
    (('left', 'right'), array([0., 1.]), 'unparsable')
    """

    kinds = ("unparsable", "no-effect")
    words = Words(
        text="A situation is a reset seed and the actions taken since.",
        endings="Ended: by the environment. Truncated: by its time limit.",
    )

    def __init__(self, name: str) -> None:
        """Make the environment and try it out.

        Raises:
            UnknownName: There is no such environment or wrapper.
            TakebackError: It is of a kind that is not supported, or something it needs is not installed.
        """
        self._recipe = EnvironmentName.parse(name)
        self.name: Final = str(self._recipe)
        needed("gymnasium", "sb3")
        from takeback.arenas.gym.replay import Replays
        from takeback.arenas.gym.truth import Truth

        self._replays = Replays(self._recipe)
        self._truth = Truth(self._replays)
        self.outputs: Final = action_names(self._replays.full, self._replays.actions)
        self._rewards = goals_of(self._replays.full)
        self.goals: Final[Mapping[str, Goal[Path]]] = _PathGoals(self, self._rewards)
        self._sorted = sorted(range(len(self.outputs)), key=self.outputs.__getitem__)

    def __reduce__(self) -> tuple[type[Gym], tuple[str]]:
        return Gym, (self.name,)

    def __repr__(self) -> str:
        return f"Gym({self.name!r})"

    def situations(self, split: str, n: int, seed: int, goal: str | None = None) -> list[Path]:
        """Draw n situations that differ, each a random time of an episode of a uniformly random player.

        Args:
            split: `train` or `held-out`: a hash of reset seeds says which.
            n: How many.
            seed: The same seed gives the same situations.
            goal: Where given, only situations to which it applies.

        Raises:
            UnknownName: There is no such split or goal.
            TakebackError: Too few of those drawn are new or have the goal.
        """
        from takeback.arenas.gym.play import draw

        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        wanted = None if goal is None else goal_of(self, goal)
        rng = np.random.default_rng([seed, SPLITS.index(split)])
        found: dict[Path, None] = {}
        drawn = 0
        while len(found) < n:
            if drawn >= _PATIENCE and len(found) < _RAREST * drawn:
                having = "" if goal is None else f" and the goal {goal} applies to them"
                raise TakebackError(
                    f"only {len(found)} of {drawn} situations drawn in {self.name} are new{having}; ask for "
                    f"fewer than {n} or choose another goal"
                )
            path = draw(self._replays, split, rng)
            drawn += 1
            if path not in found and (wanted is None or wanted.applies([path])[0]):
                found[path] = None
        return list(found)

    def prompt(self, situation: Path) -> str:
        """Write a situation as its seed and actions, `17: 0 1 1 2`."""
        return str(situation)

    def parse(self, prompt: str) -> Path:
        """Read a situation and replay it.

        Raises:
            TakebackError: It is none: another form, an action that is not legal, or the episode is over.
        """
        path = Path.parse(prompt)
        self._replays.seen(path)
        return path

    def observe(self, situations: Sequence[Path]) -> NDArray[np.float32]:
        """Return what a policy network reads, [n, width]: `encoding.encoder_of` says how."""
        rows = [self._replays.seen(path).row for path in situations]
        return np.stack(rows) if rows else np.zeros((0, self._replays.encoder.width), np.float32)

    def verdicts(self, situations: Sequence[Path]) -> NDArray[np.int16]:
        """Return each output's place among the legal actions, or -1 - its kind's number, [n, outputs]."""
        verdicts = np.full((len(situations), len(self.outputs)), -1 - self.kinds.index("no-effect"), np.int16)
        for row, path in zip(verdicts, situations, strict=True):
            legal = self._legal(path)
            row[legal] = np.arange(len(legal))
        return verdicts

    def legal(self, situation: Path) -> tuple[str, ...]:
        """Return the legal actions, sorted."""
        return tuple(self.outputs[action] for action in self._legal(situation))

    def classify(self, situation: Path, text: str) -> str:
        """Return `legal`, or the first of the kinds that fits the text."""
        from takeback.arenas.gym.play import classify

        return classify(self._replays, self.outputs, situation, text)

    def features(self, situations: Sequence[Path]) -> dict[str, NDArray[np.bool_]]:
        """Return yes-or-no features of all legal actions, end to end: which action it is."""
        flat = np.array([action for path in situations for action in self._legal(path)], np.int64)
        return {f"takes {name}": flat == action for action, name in enumerate(self.outputs)}

    def play_out(
        self, choose: Callable[[Sequence[Path]], Sequence[str]], situations: Sequence[Path], max_moves: int
    ) -> list[PlayedEpisode]:
        """Play on for the environment's own reward; `choose` answers situations with one text each."""
        from takeback.arenas.gym.play import play_out

        return play_out(self._replays, self.outputs, choose, situations, max_moves)

    def distance(self, situation: Path) -> int | None:
        """Return how many actions the best play needs to win; None: it can't, or it isn't known."""
        return self._truth.distance(self._goal("reward"), situation)

    def cluster(self, situation: Path) -> int:
        """Return the digest of what is seen: situations that look alike count as one."""
        return self._replays.seen(situation).digest

    def env(self, goal: str, seed: int) -> Env[Any, Any]:
        """Return an environment to train in: observations as in `observe`, a goal's reward, training seeds.

        Raises:
            UnknownName: There is no such goal.
        """
        from takeback.arenas.gym.training import Training

        return Training(self._recipe.make(), self._replays.encoder, self._goal(goal), seed)

    def utility_by(self, reward: RewardGoal, paths: Sequence[Path]) -> NDArray[np.float64]:
        """Return a reward's utility of all legal actions, end to end, as in `legal`."""
        parts: list[NDArray[np.float64]] = [np.zeros(0)]
        for path, value in zip(paths, self._truth.values(reward, paths), strict=True):
            legal = self._replays.seen(path).legal
            worth = value.q if reward.reward is None else value.utility
            parts.append(worth[[legal.index(action) for action in self._legal(path)]])
        return np.concatenate(parts)

    def applies_by(self, reward: RewardGoal, paths: Sequence[Path]) -> NDArray[np.bool_]:
        """Tell where the best and worst action differ, by three standard errors where values are sampled."""
        return np.array([value.differ for value in self._truth.values(reward, paths)], np.bool_)

    @property
    def environment(self) -> Env[Any, Any]:
        """The environment, with its wrappers."""
        return self._replays.full

    def _goal(self, name: str) -> RewardGoal:
        return find_goal(name, self._rewards)

    def _legal(self, path: Path) -> list[int]:
        """Return the numbers of the legal actions in the order of their names."""
        legal = self._replays.seen(path).legal
        return [action for action in self._sorted if action in legal]


class _PathGoals(dict[str, Goal[Path]]):
    """The goals that are measured; `[]` knows those with seeds and a user's own, too."""

    def __init__(self, place: Gym, rewards: Mapping[str, RewardGoal]) -> None:
        self._place, self._rewards = place, rewards
        super().__init__({name: self._goal(one) for name, one in rewards.items()})

    def __missing__(self, name: str) -> Goal[Path]:
        if name == LEGAL:
            raise KeyError(name)
        return self._goal(find_goal(name, self._rewards))

    def _goal(self, reward: RewardGoal) -> Goal[Path]:
        utility, applies = partial(self._place.utility_by, reward), partial(self._place.applies_by, reward)
        return Goal(reward.name, utility, applies, reward.meaning)


@told.register(Gym)
def _(gym: Gym) -> Any:
    spec = gym.environment.spec
    return [gym.name, type(gym.environment.unwrapped), None if spec is None else spec.kwargs]
