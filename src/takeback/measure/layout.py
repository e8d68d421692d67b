"""What all policies that are read in the same situations have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas import Arena
from takeback.arenas.listed import Listed, Listing
from takeback.arenas.rows import DrawnRows
from takeback.policies.answers import AnswerReadouts
from takeback.policies.drawn import DrawnReadouts
from takeback.policies.readout import Readouts

Places = NDArray[np.int64]


PART: Final = 32
"""Hybrids that are read, or told of, together: what their paths have in common is shared, and a kill costs no
more."""

LISTED_PART: Final = 8
"""The same where answers are read, which takes long."""


class Layout:
    """Situations of an arena, and how numbers of policies there are laid out as readouts."""

    def __init__(self, arena: Arena[Any], situations: Sequence[Any]) -> None:
        self.arena, self.situations = arena, tuple(situations)

    @cached_property
    def counts(self) -> Places:
        """How many legal actions each situation has."""
        return np.array([len(legal) for _, _, legal in self._told])

    def readouts(self, rows: Mapping[str, Any], places: Places) -> Readouts:
        """Return readouts of some situations from the rows of a store."""
        told = [self._told[place] for place in places]
        if self.listings:
            return AnswerReadouts.of(self.arena, told, [self.listings[place] for place in places], rows)
        if self.drawn:
            return DrawnReadouts.of(self.arena, told, rows)
        texts, clusters, actions = zip(*told, strict=True)
        shape = len(places), len(self.arena.kinds)
        whole = {**rows, **{name: rows[name].reshape(shape) for name in ("masses", "errors")}}
        return Readouts(
            arena=self.arena.name,
            situations=texts,
            clusters=clusters,
            actions=actions,
            illegal=tuple(self.arena.kinds),
            **whole,
        )

    @property
    def readouts_class(self) -> type[Readouts]:
        """What readouts of policies here are."""
        if self.drawn:
            return DrawnReadouts
        return AnswerReadouts if self.listings else Readouts

    @property
    def part(self) -> int:
        """How many hybrids are read together."""
        if self.drawn:
            return 1
        return LISTED_PART if self.listings else PART

    @property
    def drawn(self) -> bool:
        """Whether policies are read by drawing answers."""
        return isinstance(self.arena, DrawnRows)

    @cached_property
    def listings(self) -> list[Listing]:
        """The situations with their answers, where the arena lists them."""
        arena = self.arena
        return [arena.listing(one) for one in self.situations] if isinstance(arena, Listed) else []

    @cached_property
    def _told(self) -> list[tuple[str, str, tuple[str, ...]]]:
        arena = self.arena
        return [
            (arena.prompt(one), str(arena.cluster(one)), tuple(arena.legal(one))) for one in self.situations
        ]
