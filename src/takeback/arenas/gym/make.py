"""From the name of an arena to an environment: its id, wrappers, and what its actions are called."""

from __future__ import annotations

import enum
import importlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from takeback.arenas.gym.copies import is_grid
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.extras import needed

if TYPE_CHECKING:
    from gymnasium import Env

PREFIX: Final = "gym:"
_MINIGRID: Final = ("OneHotPartialObsWrapper", "ImgObsWrapper", "FlattenObservation")
_ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "CartPoleEnv": ("left", "right"),
    "FrozenLakeEnv": ("left", "down", "right", "up"),
    "CliffWalkingEnv": ("up", "right", "down", "left"),
    "TaxiEnv": ("south", "north", "east", "west", "pickup", "dropoff"),
    "MountainCarEnv": ("left", "coast", "right"),
    "AcrobotEnv": ("negative", "none", "positive"),
    "LunarLander": ("nothing", "left", "main", "right"),
    "BlackjackEnv": ("stick", "hit"),
}
"""What the actions of an environment's class stand for, by its documentation."""


@dataclass(frozen=True)
class EnvironmentName:
    """How to make an environment: the id that `gymnasium.make` takes, and wrappers, inner ones first.

    >>> EnvironmentName.parse("gym:CartPole-v1")
    EnvironmentName(env='CartPole-v1', wrappers=())
    >>> EnvironmentName.parse("gym:Blackjack-v1+FlattenObservation").wrappers
    ('FlattenObservation',)
    """

    env: str
    wrappers: tuple[str, ...] = ()

    @classmethod
    def parse(cls, name: str) -> EnvironmentName:
        """Read `gym:ENV_ID` or `gym:ENV_ID+Wrapper+Wrapper`.

        Raises:
            TakebackError: A part of the name is empty.
        """
        env, *wrappers = (part.strip() for part in name.removeprefix(PREFIX).split("+"))
        if not env or not all(wrappers):
            raise TakebackError(f"{name!r} names no environment; write gym:CartPole-v1 or gym:ENV+Wrapper")
        return cls(env, tuple(wrappers))

    def __str__(self) -> str:
        """Write the arena's name, which parses back."""
        return PREFIX + "+".join((self.env, *self.wrappers))

    def make(self) -> Env[Any, Any]:
        """Make the environment, without rendering and without Gymnasium's checks of every step.

        Of a MiniGrid environment without named wrappers the observation is what the agent sees, one-hot and
        flat: `OneHotPartialObsWrapper+ImgObsWrapper+FlattenObservation`.

        Raises:
            UnknownName: There is no such environment or wrapper.
            TakebackError: Gymnasium or what the environment needs is not installed, or it can't be made.
        """
        needed("gymnasium", "sb3")
        env = _make(self.env)
        for wrapper in self.wrappers or (_MINIGRID if is_grid(env) else ()):
            kind = _wrapper(wrapper)
            try:
                env = kind(env)
            except Exception as error:  # wrappers complain in many ways about an environment they don't fit
                raise TakebackError(f"{wrapper} does not fit {self.env}: {_line(error)}") from error
        return env


def action_names(env: Env[Any, Any], n: int) -> tuple[str, ...]:
    """Return what the n actions of an environment are called: by its enum, by our table, or by number."""
    named: Any = getattr(env.unwrapped, "actions", None)
    if isinstance(named, enum.EnumMeta):
        members: dict[Any, str] = {member.value: member.name for member in named}  # pyright: ignore
        if all(i in members for i in range(n)):
            return tuple(members[i] for i in range(n))
    for kind in type(env.unwrapped).__mro__:
        if len(_ACTIONS.get(kind.__name__, ())) == n:
            return _ACTIONS[kind.__name__]
    return tuple(map(str, range(n)))


def _make(name: str) -> Env[Any, Any]:
    import gymnasium
    from gymnasium.error import Error, UnregisteredEnv

    if name.startswith(("MiniGrid-", "BabyAI-")):
        needed("minigrid", "sb3")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is out of date", category=DeprecationWarning)
            return gymnasium.make(name, disable_env_checker=True)
    except UnregisteredEnv:
        raise unknown_name("environment", name, gymnasium.registry) from None
    except (Error, ImportError) as error:
        raise TakebackError(f"could not make the environment {name}: {_line(error)}") from error
    except Exception as error:  # an environment of somebody else's can fail in any way
        raise TakebackError(
            f"could not make the environment {name}: {type(error).__name__}: {_line(error)}"
        ) from error


def _wrapper(name: str) -> Any:
    import gymnasium

    known: dict[str, Any] = {}
    for place in ("gymnasium.wrappers", "minigrid.wrappers"):
        try:
            module = importlib.import_module(place)
        except ImportError:
            continue
        for key, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, gymnasium.Wrapper) and not _is_base(value):
                known[key] = value
    if name not in known:
        raise unknown_name("wrapper", name, sorted(known))
    return known[name]


def _is_base(kind: type) -> bool:
    return kind.__module__ == "gymnasium.core"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
