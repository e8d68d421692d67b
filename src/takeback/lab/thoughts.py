"""What is worked out bit by bit while nobody waits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final

import pandas as pd

from takeback.checkpoint import Pair
from takeback.lab.scene import Colouring, circuit_colourings
from takeback.run.errors import TakebackError
from takeback.weights.circuits import Circuits
from takeback.weights.circuits.circuits import CircuitsWork

PATIENCE: Final = 2.0
"""Seconds that a layer's circuits may take, about; those of larger models `takeback diff` measures."""


Waited = Callable[[], bool]
"""Tells whether somebody waits."""


class WaitedFor(Exception):
    """Raised inside a thought when somebody waits: what was begun is dropped, and begun again later."""


def nobody() -> bool:
    """Tell that nobody waits."""
    return False


class Thought(ABC):
    """Something that takes long and is cut into bits."""

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether there is nothing left to do."""

    @abstractmethod
    def go_on(self, waited: Waited = nobody) -> None:
        """Do some more of it, unless somebody comes to wait."""

    @abstractmethod
    def colourings(self) -> list[Colouring]:
        """Return what the map can be coloured by, as far as it is known."""


class Invariants(Thought):
    """How far each component moved whatever coordinates its weights are in, beside what chance gives."""

    def __init__(self, pair: Pair) -> None:
        self._work, self._title = CircuitsWork(pair), str(pair)
        self._parts: list[pd.DataFrame] = []
        self._left: Sequence[str] = self._items()

    @property
    def finished(self) -> bool:
        """Whether all layers were measured, or none can be."""
        return not self._left

    def go_on(self, waited: Waited = nobody) -> None:
        """Measure a layer."""
        try:
            self._parts.append(self._work.rows(self._left[0]))
            self._left = self._left[1:]
        except TakebackError:  # values that are not finite
            self._left, self._parts = (), []

    def colourings(self) -> list[Colouring]:
        """Return the invariant change and the raw one."""
        if self._left or not self._parts:
            return []
        found = Circuits(self._title, pd.concat(self._parts, ignore_index=True))
        return circuit_colourings(found.components)

    def _items(self) -> Sequence[str]:
        """Return the layers, none of a model without circuits or of one that takes too long."""
        try:
            items = tuple(self._work.items())
        except TakebackError:
            return ()
        return items if all(self._work.seconds(item) < PATIENCE for item in items) else ()
