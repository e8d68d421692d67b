"""Copies of an environment in the state it is in."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from gymnasium import Env

_PASSING: Final = ("TimeLimit", "OrderEnforcing", "PassiveEnvChecker")
_STILL: Final = ("wall", "floor", "goal", "lava")
"""Objects of MiniGrid that never change."""


def layers(env: Env[Any, Any]) -> Iterator[Any]:
    """Yield an environment's wrappers from the outermost to the environment itself."""
    layer: Any = env
    while layer is not env.unwrapped:
        yield layer
        layer = layer.env
    yield layer


def is_plain(env: Env[Any, Any]) -> bool:
    """Tell whether no wrapper changes what steps do, apart from the time limit."""
    *wrappers, _ = layers(env)
    return all(type(wrapper).__name__ in _PASSING for wrapper in wrappers)


def is_grid(env: Env[Any, Any]) -> bool:
    """Tell whether an environment is one of MiniGrid or BabyAI."""
    return any(kind.__name__ == "MiniGridEnv" for kind in type(env.unwrapped).__mro__)


def copy_of(env: Env[Any, Any], randomness: np.random.Generator | None = None) -> Env[Any, Any]:
    """Copy an environment as it stands, with its own randomness or with another one in its place.

    What never changes is shared: observation spaces, tables of transitions, walls.
    """
    from gymnasium import Space

    shared: dict[int, Any] = {}
    for layer in layers(env):
        for name, value in vars(layer).items():
            fixed = name in ("P", "spec") or (isinstance(value, Space) and "action" not in name)
            if fixed and value is not None:
                shared[id(value)] = value
    inner: Any = env.unwrapped
    grid: Any = getattr(inner, "grid", None)
    for thing in getattr(grid, "grid", None) or ():
        if getattr(thing, "type", None) in _STILL:
            shared[id(thing)] = thing
    own: Any = getattr(inner, "_np_random", None)
    if randomness is not None and own is not None:
        shared[id(own)] = randomness
    return copy.deepcopy(env, shared)
