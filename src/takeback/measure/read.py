"""Reading hybrids: both models in memory, readouts of many hybrids on the same batches.

What is read of a hybrid depends on the situations that are read together, in its last bits, and not on the
hybrids that are read with it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from takeback.arenas import Arena
from takeback.checkpoint import Checkpoint, Pair
from takeback.component import ComponentSet
from takeback.hybrid.sources import source_of
from takeback.hybrid.walk import path_of
from takeback.measure.store import Key, Part
from takeback.policies.load import load_policy
from takeback.policies.policy import Policy
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError

LEGAL_ACTIONS: Final = 1.0
"""The tolerance with which no illegal mass is classified."""

SIDES: Final = ("base", "tuned")
BASE: Final = "base"
"""The source of an ordinary takeback."""

PLANS: Final = 4
"""Most lists of situations that are held ready to be read."""

Places = NDArray[np.int64]
Load: TypeAlias = Callable[[Checkpoint, Arena[Any]], Policy]


@dataclass(frozen=True)
class Ask:
    """A hybrid: tuned with a set of components from a source, base unless said otherwise."""

    take_back: ComponentSet
    source: str = BASE

    @classmethod
    def graft(cls, components: ComponentSet) -> Ask:
        """Return base with a set from tuned, which is tuned with all else from base."""
        return cls(~components)

    @property
    def key(self) -> Key:
        """What it is called in tables: the set and the source; nothing has no source."""
        return str(self.take_back), self.source if self.take_back else BASE

    @property
    def built(self) -> tuple[str, ComponentSet]:
        """How it is made in memory: the side it starts from and what is exchanged there, never most of it."""
        if self.source == BASE and 2 * len(self.take_back) > len(self.take_back.universe):
            return "base", ~self.take_back
        return "tuned", self.take_back


@dataclass(frozen=True)
class HybridBatch:
    """Hybrids of one side and source that are read together, in the same situations."""

    asks: tuple[Ask, ...]
    keys: tuple[Key, ...]
    places: tuple[int, ...]
    tolerance: float


class Reader:
    """Holds both policies of a pair, loaded when first needed; it is sent elsewhere without them.

    Every readout is decided on the prefixes that are heavy for base or for tuned, so that an effect does not
    depend on what one side alone left undecided.

    Attributes:
        pair: base and tuned.
        arena: where they act.
        situations: all that can be asked; what is read together is said by places among them.
        token: tells it from others in one process.
    """

    def __init__(
        self, pair: Pair, arena: Arena[Any], situations: Sequence[Any], load: Load = load_policy
    ) -> None:
        self.pair, self.arena, self.situations, self._load = pair, arena, tuple(situations), load
        self.token = uuid.uuid4().hex
        self._plans: dict[tuple[int, ...], Any] = {}
        self._other: tuple[str, Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Reader, (self.pair, self.arena, self.situations)

    def policy(self, side: str) -> Policy:
        """Return the policy of base or tuned."""
        return self._policies[side]

    def hybrids(self, side: str, source: str = BASE) -> Any:
        """Return hybrids of one side with sets from the other, or of tuned with sets from a source.

        A source's tensors are held until another one is asked for.

        Raises:
            TakebackError: the source does not fit the pair.
        """
        if source == BASE:
            return self._hybrids[side]
        if self._other is None or self._other[0] != source:
            self._other = None
            given = source_of(source, self.pair)
            held = {name: given.read(name).to(torch.float32) for name in given.shapes}
            self._other = source, self.policy("tuned").hybrids(held)
        return self._other[1]

    def plan(self, places: Sequence[int]) -> Any:
        """Return some of the situations made ready to be read; the last few lists are held."""
        key = tuple(places)
        if key not in self._plans:
            while len(self._plans) >= PLANS:
                del self._plans[next(iter(self._plans))]
            chosen = [self.situations[place] for place in key]
            self._plans[key] = self.policy("tuned").prepare(self.arena, chosen)
        return self._plans[key]

    def ends(self, places: Sequence[int], tolerance: float) -> tuple[list[Readouts], list[Places]]:
        """Read base and tuned, and say what has to be expanded to decide both; see `Policy.marks`."""
        policy, universe = self.policy("tuned"), self.pair.anatomy().universe
        views = [(self.hybrids(side), path_of(universe - universe)) for side in SIDES]
        readouts, steps = policy.read_hybrids(self.plan(places), views, tolerance)
        return readouts, policy.marks(steps)

    def read(self, batch: HybridBatch, marks: Sequence[Places]) -> Part:
        """Read hybrids that expand what is marked; one that is not decided by that goes on alone.

        Raises:
            TakebackError: the source does not fit the pair.
        """
        policy, plan = self.policy("tuned"), self.plan(batch.places)
        views = [
            (self.hybrids(side, ask.source), path_of(components))
            for ask in batch.asks
            for side, components in [ask.built]
        ]
        readouts, _ = policy.read_hybrids(plan, views, batch.tolerance, policy.steps(plan, marks))
        return Part.of(batch.keys, readouts, np.array(batch.places), batch.tolerance)

    @cached_property
    def _policies(self) -> dict[str, Policy]:
        base, tuned = (self._load(side, self.arena) for side in (self.pair.base, self.pair.tuned))
        if why := tuned.unlike(base):
            raise TakebackError(f"{self.pair.tuned.ref} has {why} than {self.pair.base.ref}: not compared")
        return {"base": base, "tuned": tuned}

    @cached_property
    def _hybrids(self) -> dict[str, Any]:
        base, tuned = (self.policy(side) for side in SIDES)
        return {"base": base.hybrids(tuned), "tuned": tuned.hybrids(base)}
