"""The live policies of a pair: both in memory, or one at a time."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any, Protocol

from takeback.arenas import Arena
from takeback.checkpoint import Checkpoint, Placement
from takeback.checkpoint.placement import ONE
from takeback.policies.policy import Policy
from takeback.run.errors import TakebackError


class Load(Protocol):
    """Loads policies, as `load_policy` does."""

    def __call__(self, model: Checkpoint, arena: Arena[Any], *, placement: Placement) -> Policy:
        """Load a policy at a settled place."""
        ...


def held(policies: Mapping[str, Policy]) -> Load:
    """Return what loads policies that are in memory already, by their checkpoints' digests."""

    def load(model: Checkpoint, arena: Arena[Any], *, placement: Placement) -> Policy:
        return policies[model.digest]

    return load


class Sides:
    """Loads the policies of some checkpoints when they are asked for; all have to be alike.

    Attributes:
        models: the checkpoints by the name of the side.
        placement: where they run, settled; if one is held, another takes its place.
    """

    def __init__(
        self, models: Mapping[str, Checkpoint], arena: Arena[Any], load: Load, placement: Placement
    ) -> None:
        self.models, self.placement = models, placement
        self._arena, self._load = arena, load
        self._live: dict[str, Policy] = {}
        self._first: tuple[str, Policy] | None = None

    def holds(self, side: str) -> bool:
        """Tell whether a side is in memory."""
        return side in self._live

    def policy(self, side: str) -> Policy:
        """Return the policy of a side.

        Raises:
            TakebackError: a model can't be loaded, or is not like the others.
        """
        if side not in self._live:
            one = self.placement.hold == ONE
            if one:
                self._live.clear()
                gc.collect()
            for wanted in (side,) if one else self.models:
                self._live[wanted] = self._loaded(wanted)
        return self._live[side]

    @property
    def any(self) -> Policy:
        """A policy that is held, by which plans are made: it does not matter which."""
        return next(iter(self._live.values()), None) or self.policy([*self.models][-1])

    def _loaded(self, side: str) -> Policy:
        policy = self._load(self.models[side], self._arena, placement=self.placement)
        if self._first is None:
            self._first = side, policy.emptied()
        elif why := policy.unlike(self._first[1]):
            refs = [self.models[name].ref for name in self.models if name in (side, self._first[0])]
            raise TakebackError(f"{refs[-1]} has {why} than {refs[0]}: not compared")
        return policy
