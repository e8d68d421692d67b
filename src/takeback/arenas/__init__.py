"""Arenas: places where policies act."""

from __future__ import annotations

from typing import Any

from takeback.arenas.endgames import Endgames
from takeback.arenas.protocol import Arena as Arena
from takeback.arenas.protocol import Game as Game
from takeback.arenas.protocol import Goal as Goal
from takeback.arenas.protocol import Lesson as Lesson
from takeback.arenas.protocol import NetworkLesson as NetworkLesson
from takeback.arenas.protocol import PopulatedArena as PopulatedArena
from takeback.arenas.protocol import TextArena as TextArena
from takeback.arenas.protocol import TrainableArena as TrainableArena
from takeback.errors import unknown_name

_ARENAS = {Endgames.name: Endgames}


def arena(name: str) -> Arena[Any]:
    """Return the arena of this name.

    >>> arena("endgames").goals.keys()
    dict_keys(['win', 'draw', 'check', 'corner', 'random'])

    Raises:
        UnknownName: There is no such arena.
    """
    if name not in _ARENAS:
        raise unknown_name("arena", name, _ARENAS)
    return _ARENAS[name]()
