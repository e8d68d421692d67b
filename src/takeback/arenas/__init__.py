"""Arenas: places where policies act."""

from __future__ import annotations

from functools import cache
from typing import Any

from takeback.arenas.asked import Asked as Asked
from takeback.arenas.endgames import Endgames
from takeback.arenas.gym import Gym
from takeback.arenas.protocol import Arena as Arena
from takeback.arenas.protocol import EpisodicArena as EpisodicArena
from takeback.arenas.protocol import Game as Game
from takeback.arenas.protocol import Goal as Goal
from takeback.arenas.protocol import Layer as Layer
from takeback.arenas.protocol import Lesson as Lesson
from takeback.arenas.protocol import NetworkLesson as NetworkLesson
from takeback.arenas.protocol import PopulatedArena as PopulatedArena
from takeback.arenas.protocol import ProbedArena as ProbedArena
from takeback.arenas.protocol import TextArena as TextArena
from takeback.arenas.protocol import TrainableArena as TrainableArena
from takeback.arenas.protocol import TwinArena as TwinArena
from takeback.arenas.protocol import Twins as Twins
from takeback.arenas.words import Words as Words
from takeback.run.errors import unknown_name

GYM = "gym:"
_ARENAS = {Endgames.name: Endgames}


def arena(name: str) -> Arena[Any]:
    """Return the arena of this name; `gym:ENV` is an environment of Gymnasium.

    >>> arena("endgames").goals.keys()
    dict_keys(['win', 'draw', 'check', 'corner', 'random'])

    Raises:
        UnknownName: There is no such arena or environment.
        TakebackError: The environment is of a kind that is not supported, or Gymnasium is missing.
    """
    if name.startswith(GYM):
        return _environment(name)
    if name not in _ARENAS:
        raise unknown_name("arena", name, (*_ARENAS, "gym:ENV"))
    return _ARENAS[name]()


@cache
def _environment(name: str) -> Gym:
    """Make an environment once in a process: what it has replayed and solved serves all that ask."""
    return Gym(name)
