"""Open rows that every policy answers anew: nothing is frozen, all draw with the same luck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.protocol import LEGAL, Goal
from takeback.arenas.rows.row import Row
from takeback.arenas.rows.rows import OpenRows
from takeback.arenas.words import Words
from takeback.run.identity import told

LUCK: Final = 2
"""What the luck of drawing anew is told by, beside the seed: the sides of a pool have 0 and 1."""


class DrawnRows:
    """An open arena that is read by drawing.

    Attributes:
        open: the arena that is asked.
        draws: answers to each prompt.
    """

    words: Words = OpenRows.words
    kinds: tuple[str, ...] = ()

    def __init__(self, arena: OpenRows, draws: int | None = None) -> None:
        self.open, self.name = arena, arena.name
        self.draws = arena.spec.answers if draws is None else draws

    @property
    def goals(self) -> dict[str, Goal[Row]]:
        """The rewards, of which nothing is known before answers are drawn."""
        return {
            reward.name: Goal(reward.name, _none, meaning=f"reward {reward.name}")
            for reward in self.open.rewards
        }

    @property
    def seed(self) -> tuple[int, ...]:
        """What fixes the luck of all policies."""
        return self.open.spec.seed, LUCK

    @property
    def template_arguments(self) -> Mapping[str, Any]:
        """What the tokenizer's chat template is given besides the messages."""
        return self.open.template_arguments

    def situations(self, split: str, n: int, seed: int, goal: str | None = None) -> list[Row]:
        """Draw rows of a split; see `OpenRows.situations`."""
        return self.open.situations(split, n, seed, goal)

    def prompt(self, situation: Row) -> str:
        """Return what tables call a row."""
        return self.open.prompt(situation)

    def cluster(self, situation: Row) -> str:
        """Return what a row counts as one by."""
        return self.open.cluster(situation)

    def legal(self, situation: Row) -> tuple[str, ...]:
        """Return nothing: no answers are known before they are drawn."""
        return ()

    def classify(self, situation: Row, text: str) -> str:
        """Return `legal`: any text is an answer."""
        return LEGAL


@told.register(DrawnRows)
def _(arena: DrawnRows) -> Any:
    place = arena.open
    return [type(arena).__name__, place, place.rows, place.draws, arena.draws, LUCK]


def _none(_: Sequence[Row]) -> NDArray[np.float64]:
    return np.zeros(0)
