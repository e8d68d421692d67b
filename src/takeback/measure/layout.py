"""What all policies that are read in the same situations have in common."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from takeback.arenas import Arena
from takeback.policies.readout import Readouts
from takeback.run.tables import SCHEMA

Places = NDArray[np.int64]


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
        texts, clusters, actions = zip(*(self._told[place] for place in places), strict=True)
        shape = len(places), len(self.arena.illegal)
        whole = {**rows, **{name: rows[name].reshape(shape) for name in ("masses", "errors")}}
        return Readouts(
            arena=self.arena.name,
            situations=texts,
            clusters=clusters,
            actions=actions,
            illegal=tuple(self.arena.illegal),
            **whole,
        )

    def identity(self, weights: Any, settings: Any) -> str:
        """Return a hash of what the arena says here, of weights as they are told, and of settings."""
        utilities = {
            goal: self.arena.utility(goal, self.situations).round(12).tolist() for goal in self.arena.goals
        }
        features = {name: has.tolist() for name, has in self.arena.features(self.situations).items()}
        said = [self.arena.name, self._told, utilities, features]
        code = [importlib.metadata.version("takeback"), SCHEMA]
        return hashlib.sha256(json.dumps([weights, said, settings, code]).encode()).hexdigest()

    @cached_property
    def _told(self) -> list[tuple[str, str, tuple[str, ...]]]:
        arena = self.arena
        return [
            (arena.prompt(one, "compact"), str(arena.cluster(one)), tuple(arena.legal(one)))
            for one in self.situations
        ]
