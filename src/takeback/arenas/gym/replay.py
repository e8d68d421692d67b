"""From paths to states: replaying, copying and remembering what was seen there."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import numpy as np
from gymnasium import ObservationWrapper, spaces
from numpy.typing import NDArray

from takeback.arenas.gym.copies import copy_of, is_grid, is_plain
from takeback.arenas.gym.encoding import encoder_of
from takeback.arenas.gym.make import EnvironmentName
from takeback.arenas.gym.paths import Path, number_of
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    from gymnasium import Env

_STATES: Final = 1024
_SIGHTS: Final = 32768
_TRIAL: Final = 25
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a situation without its state: the encoded observation, its digest, legal actions."""

    row: NDArray[np.float32]
    digest: int
    legal: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class State:
    """An environment that stands in a situation and is never stepped, only copied; and what is seen there."""

    env: Env[Any, Any]
    seen: Seen


class Replays:
    """Finds the state of every path of one environment; remembers those that were asked for last.

    Wrappers that only rewrite observations are peeled off and applied where an observation is wanted.
    Environments that can't be copied are replayed from their seed each time.
    """

    def __init__(self, recipe: EnvironmentName) -> None:
        """Make the environment and try it out.

        Raises:
            TakebackError: It can't be made, has a kind of actions or observations that is not supported, or
                does not do the same again after a reset with the same seed.
        """
        self.name = str(recipe)
        self._recipe = recipe
        self.full = recipe.make()
        space: Any = self.full.action_space
        if not isinstance(space, spaces.Discrete):
            raise TakebackError(
                f"{self.name} has the action space {space}; only Discrete ones, one of n, are supported"
            )
        self.actions, self._first = int(space.n), int(space.start)
        self.encoder = encoder_of(self.full.observation_space, self.name)
        self._blank, self._views = self._fresh()
        self._states: _Recent[Path, State] = _Recent(_STATES)
        self._sights: _Recent[Path, Seen] = _Recent(_SIGHTS)
        self.copies = _can_be_copied(self._blank)
        self._check_replay()

    def seen(self, path: Path) -> Seen:
        """Return what is seen at a path.

        Raises:
            TakebackError: The path is none of this environment.
        """
        return self._sights.get(path) or self.state(path).seen

    def state(self, path: Path) -> State:
        """Return the state at a path; its environment must not be stepped.

        Raises:
            TakebackError: An action of the path is not legal where it is taken, or its episode is over.
        """
        found = self._states.get(path)
        if found is not None:
            return found
        before = self._states.get(Path(path.seed, path.actions[:-1])) if self.copies else None
        if before is not None and path.actions:
            env, seen, done = copy_of(before.env), before.seen, len(path.actions) - 1
        else:
            env, seen = self.start(path.seed)
            done = 0
        step, legal = None, seen.legal
        for place, action in enumerate(path.actions[done:], done):
            self._check_step(path, place, legal)
            step = self.step(env, action)
            legal = step.legal
            if step.over:
                raise TakebackError(
                    f"'{path}' is no situation of {self.name}: its episode is over after {place + 1} actions"
                )
        found = State(env, seen if step is None else step.seen)
        self.remember(path, found)
        return found

    def fork(self, path: Path, randomness: np.random.Generator | None = None) -> Env[Any, Any]:
        """Return an environment of the caller's own that stands at a path, to be stepped with `step`.

        With `randomness`, what happens by chance from there on is drawn from it.
        """
        if self.copies:
            return copy_of(self.state(path).env, randomness)
        env, _ = self.start(path.seed)
        for action in path.actions:
            self.step(env, action)
        if randomness is not None:
            env.unwrapped.np_random = randomness
        return env

    def start(self, seed: int) -> tuple[Env[Any, Any], Seen]:
        """Return an environment of the caller's own after a reset, and what is seen there."""
        env = copy_of(self._blank) if self.copies else self._fresh()[0]
        raw, info = env.reset(seed=seed)
        return env, self._see(env, raw, info)

    def step(self, env: Env[Any, Any], action: int) -> Transition:
        """Take an action, by its number from 0, in an environment that came from here."""
        raw, reward, terminated, truncated, info = env.step(self._first + action)
        return Transition(self, env, raw, info, (float(reward), bool(terminated), bool(truncated)))

    def remember(self, path: Path, state: State) -> None:
        """Keep a state that stands at a path."""
        self._sights.put(path, state.seen)
        if self.copies:
            self._states.put(path, state)

    def remember_seen(self, path: Path, seen: Seen) -> None:
        """Keep what is seen at a path."""
        self._sights.put(path, seen)

    def legal(self, info: dict[str, Any]) -> tuple[int, ...]:
        """Return the numbers of the legal actions: those of `action_mask` where there is one, else all."""
        mask: Any = info.get("action_mask")
        if mask is None:
            return tuple(range(self.actions))
        legal = np.flatnonzero(np.asarray(mask)).tolist()
        return tuple(legal) if legal else tuple(range(self.actions))

    def _fresh(self) -> tuple[Env[Any, Any], list[Any]]:
        """Make an environment and peel it; MiniGrid's slow observations wait until they are asked for."""
        env, views = _peel(self._recipe.make())
        if is_grid(env) and is_plain(env):
            env.unwrapped.gen_obs = _nothing_seen  # pyright: ignore[reportAttributeAccessIssue]
        return env, views

    def _see(self, env: Env[Any, Any], raw: Any, info: dict[str, Any]) -> Seen:
        inner: Any = env.unwrapped
        if vars(inner).get("gen_obs") is _nothing_seen:
            raw = type(inner).gen_obs(inner)
        if self._views:
            self._views[-1].env = env
            for view in reversed(self._views):
                raw = view.observation(raw)
        row = self.encoder.encode(raw)
        row.flags.writeable = False
        return Seen(row, number_of(row.tobytes()), self.legal(info))

    def _check_step(self, path: Path, place: int, legal: tuple[int, ...]) -> None:
        if path.actions[place] not in legal:
            raise TakebackError(
                f"'{path}' is no situation of {self.name}: action {path.actions[place]} at place {place + 1} "
                f"is not one of {', '.join(map(str, legal))}"
            )

    def _check_replay(self) -> None:
        """Play a few steps three times: as it is, peeled, and with a copy at each step."""
        rng = np.random.default_rng(0)
        try:
            raw, info = self.full.reset(seed=1)
            rows, actions, over = [self.encoder.encode(raw)], list[int](), False
            while not over and len(actions) < _TRIAL:
                actions.append(int(rng.choice(self.legal(info))))
                raw, _, terminated, truncated, info = self.full.step(self._first + actions[-1])
                rows.append(self.encoder.encode(raw))
                over = bool(terminated or truncated)
            for copying in (False, self.copies):
                env, seen = self.start(1)
                again = [seen.row]
                for action in actions:
                    env = copy_of(env) if copying else env
                    again.append(self.step(env, action).seen.row)
                if any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(rows, again, strict=True)):
                    raise TakebackError(
                        f"{self.name} does not show the same again after a reset with the same seed, so that "
                        "situations can't be replayed; it or a wrapper has randomness or memory of its own"
                    )
        except TakebackError:
            raise
        except Exception as error:  # an environment of somebody else's can fail in any way
            raise TakebackError(
                f"could not play {self.name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
            ) from error


class Transition:
    """What one step gave; the observation is encoded only when it is asked for."""

    __slots__ = ("_env", "_info", "_raw", "_replays", "_seen", "over", "reward", "terminated")

    def __init__(
        self,
        replays: Replays,
        env: Env[Any, Any],
        raw: Any,
        info: dict[str, Any],
        rest: tuple[float, bool, bool],
    ) -> None:
        self.reward, self.terminated, truncated = rest
        self.over = self.terminated or truncated
        self._replays, self._env, self._raw, self._info = replays, env, raw, info
        self._seen: Seen | None = None

    @property
    def legal(self) -> tuple[int, ...]:
        """The numbers of the legal actions after it."""
        return self._replays.legal(self._info)

    @property
    def seen(self) -> Seen:
        """What is seen after it; to be asked for before the environment goes on."""
        if self._seen is None:
            self._seen = self._replays._see(self._env, self._raw, self._info)  # pyright: ignore[reportPrivateUsage]
        return self._seen


K = TypeVar("K")


class _Recent(Generic[K, V]):
    """Keeps the `size` values that were used last."""

    def __init__(self, size: int) -> None:
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._size = size

    def get(self, key: K) -> V | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: K, value: V) -> None:
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)


def _peel(env: Env[Any, Any]) -> tuple[Env[Any, Any], list[Any]]:
    """Take off outer wrappers that only rewrite observations; return the rest and them, outermost first."""
    views: list[Any] = []
    while (
        isinstance(env, ObservationWrapper)
        and type(env).reset is ObservationWrapper.reset
        and type(env).step is ObservationWrapper.step
    ):
        views.append(env)
        env = env.env
    return env, views


def _nothing_seen() -> dict[str, Any]:
    return {}


def _can_be_copied(env: Env[Any, Any]) -> bool:
    try:
        copied = copy_of(env)
        copied.reset(seed=0)
        copy_of(copied)
    except Exception:  # whatever it is that refuses to be copied
        return False
    return True
