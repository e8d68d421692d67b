"""What acts in arenas: a policy gives every situation a distribution over answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from takeback.policies.readout import SAMPLES, TOLERANCE, Readouts

if TYPE_CHECKING:
    from takeback.arenas import Arena
    from takeback.hybrid.live import ReadableWeights
    from takeback.hybrid.walk import Path

View: TypeAlias = "tuple[Any, Path]"
"""One of several hybrids to read: what holds hybrids of its model, and what is taken back at each stage."""


class Policy(Protocol):
    """A model that acts in arenas; language models are one kind, policy networks another.

    `Plan` is what a kind of policy prepares once from an arena and situations, for any number of its models.
    """

    @property
    def model(self) -> nn.Module:
        """The live model, in evaluation mode."""
        ...

    def prepare(self, arena: Arena[Any], situations: Iterable[Any]) -> Any:
        """Make situations ready to be read from models that are like this one.

        Raises:
            TakebackError: there are none, or the policy can't act in this arena.
        """
        ...

    def read(
        self, plan: Any, *, tolerance: float = TOLERANCE, samples: int = SAMPLES, seed: int = 0
    ) -> Readouts:
        """Read what this policy does in a plan's situations."""
        ...

    def choose(self, arena: Arena[Any], situations: Sequence[Any], generator: torch.Generator) -> list[str]:
        """Draw one answer in each situation, at temperature 1."""
        ...

    def states(self, arena: Arena[Any], situations: Sequence[Any]) -> NDArray[np.float64]:
        """Return the hidden states in each situation, several layers end to end, shape (n, width)."""
        ...

    def unlike(self, other: Policy) -> str | None:
        """Tell why plans for the other policy do not serve this one, None where they do."""
        ...

    def emptied(self) -> Policy:
        """Return the same policy without the memory of its weights: plans are made and compared by it."""
        ...

    def hybrids(self, source: Policy | Mapping[str, Tensor] | ReadableWeights) -> Any:
        """Return what runs this model with components from another policy, a state dict or a checkpoint."""
        ...

    def read_hybrids(
        self, plan: Any, views: Sequence[View], tolerance: float, steps: Any = None
    ) -> tuple[list[Readouts], Any]:
        """Read several hybrids so that they compare; see the kinds of policies for `steps`.

        Returns:
            The readouts in the order of `views`, and the steps that were taken to decide outcomes. A
            readout does not depend on what is read with it, if steps are given.
        """
        ...

    def marks(self, steps: Any) -> list[NDArray[np.int64]]:
        """Say steps in plain numbers, one array for each, whose first column are situations of the plan."""
        ...

    def steps(self, plan: Any, marks: Sequence[NDArray[np.int64]]) -> Any:
        """Return the steps that `marks` gave, in any plan that holds their situations; no model is asked."""
        ...


def by_model(views: Sequence[View]) -> list[list[int]]:
    """Return the places of the views of each model: its hybrids are read together."""
    places: dict[int, list[int]] = {}
    for place, (hybrids, _) in enumerate(views):
        places.setdefault(id(hybrids), []).append(place)
    return list(places.values())


def read(
    policy: Policy,
    arena: Arena[Any],
    situations: Iterable[Any],
    *,
    tolerance: float = TOLERANCE,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Readouts:
    """Read what a policy does in situations; to read many, prepare a plan once and use `policy.read`."""
    plan = policy.prepare(arena, situations)
    return policy.read(plan, tolerance=tolerance, samples=samples, seed=seed)
