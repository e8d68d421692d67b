"""Reading hybrids: both models in memory, readouts of many hybrids on the same batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import nn

from takeback.arenas import Arena
from takeback.checkpoint import Pair
from takeback.component import ComponentSet
from takeback.hybrid.sources import source_of
from takeback.hybrid.walk import path_of
from takeback.measure.measure import TOLERANCE, MeasureContext
from takeback.policies.load import load_policy
from takeback.policies.policy import Policy
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError

SIDES = ("base", "tuned")
BASE = "base"
"""The source of an ordinary takeback."""


class Sides:
    """Holds both policies of a pair, loaded when they are first needed; it is sent elsewhere without them."""

    def __init__(self, pair: Pair, arena: Arena[Any]) -> None:
        self.pair, self.arena = pair, arena

    def __getstate__(self) -> dict[str, Any]:
        return {"pair": self.pair, "arena": self.arena}

    def policy(self, side: str) -> Policy:
        """Return the policy of base or tuned."""
        return self._policies[side]

    def model(self, side: str) -> nn.Module:
        """Return the model of base or tuned."""
        return self._policies[side].model

    def hybrids(self, side: str, source: str = BASE) -> Any:
        """Return hybrids of one side with sets from the other, or of tuned with sets from a source.

        A source's tensors are held until another one is asked for.

        Raises:
            TakebackError: a source other than base is given for base, or it does not fit the pair.
        """
        if source == BASE:
            return self._hybrids[side]
        if side != "tuned":
            raise TakebackError(f"{source!r} takes the place of base in tuned, not of tuned in {side}")
        if self._other is None or self._other[0] != source:
            self._other = None
            given = source_of(source, self.pair)
            held = {name: given.read(name).to(torch.float32) for name in given.shapes}
            self._other = source, self.policy("tuned").hybrids(held)
        return self._other[1]

    _other: tuple[str, Any] | None = None

    @cached_property
    def _policies(self) -> dict[str, Policy]:
        base, tuned = (load_policy(side, self.arena) for side in (self.pair.base, self.pair.tuned))
        if why := tuned.unlike(base):
            raise TakebackError(f"{self.pair.tuned.ref} has {why} than {self.pair.base.ref}: not compared")
        return {"base": base, "tuned": tuned}

    @cached_property
    def _hybrids(self) -> dict[str, Any]:
        base, tuned = (self.policy(side) for side in SIDES)
        return {"base": base.hybrids(tuned), "tuned": tuned.hybrids(base)}


class Reader:
    """Reads hybrids of both models on the same situations.

    Every readout is decided on the prefixes that are heavy for base or for tuned, so that an effect does not
    depend on what one side alone left undecided.

    Attributes:
        sides: both policies.
        plan: what is asked of every hybrid.
        steps: what all readouts expand.
        before: the readouts of base and tuned, which effects are relative to.
        context: what measures need of base.
    """

    def __init__(self, sides: Sides, situations: Sequence[Any], tolerance: float = TOLERANCE) -> None:
        self.sides, self._policy, self._tolerance = sides, sides.policy("tuned"), tolerance
        self.plan = self._policy.prepare(sides.arena, situations=situations)
        universe = sides.pair.anatomy().universe
        nothing = path_of(universe - universe)
        whole = [(sides.hybrids(side), nothing) for side in SIDES]
        readouts, self.steps = self._policy.read_hybrids(self.plan, whole, tolerance)
        self.before = dict(zip(SIDES, readouts, strict=True))
        self.context = MeasureContext.of(self.before["base"], sides.arena, situations=situations)

    def model(self, side: str) -> nn.Module:
        """Return the model of base or tuned."""
        return self.sides.model(side)

    def read(self, side: str, sets: Sequence[ComponentSet], source: str = BASE) -> list[Readouts]:
        """Read the hybrids that are one side with each of the sets from the other side, or from a source.

        Raises:
            TakebackError: a source other than base is given for base, or it does not fit the pair.
        """
        hybrids = self.sides.hybrids(side, source)
        views = [(hybrids, path_of(components)) for components in sets]
        readouts, _ = self._policy.read_hybrids(self.plan, views, self._tolerance, self.steps)
        return readouts
