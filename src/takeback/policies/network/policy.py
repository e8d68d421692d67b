"""A policy network as a policy: one pass gives the probability of every action."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from takeback.arenas import ForNetworks, able
from takeback.checkpoint import Checkpoint, Network, Placement, load_network
from takeback.hybrid.network import NetworkHybrids
from takeback.policies.network.plan import NetworkPlan, OutcomeMasses
from takeback.policies.policy import Policy, View, by_model
from takeback.policies.readout import SAMPLES, TOLERANCE, Readouts
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    from takeback.arenas import Arena
    from takeback.hybrid.live import ReadableWeights


@dataclass(frozen=True, eq=False)
class NetworkPolicy:
    """A network with one output for each of an arena's `outputs`."""

    model: Network

    def prepare(self, arena: Arena[Any], situations: Iterable[Any]) -> NetworkPlan:
        """Make situations ready for networks of this arena.

        Raises:
            TakebackError: there are none, or the network has other inputs or outputs than the arena.
        """
        plan = NetworkPlan.prepare(arena, situations)
        check_fit(self.model, arena, plan.observations.shape[1])
        return plan

    def read(
        self, plan: NetworkPlan, *, tolerance: float = TOLERANCE, samples: int = SAMPLES, seed: int = 0
    ) -> Readouts:
        """Read what this network does in a plan's situations: exact, whatever the tolerance."""
        return self._tally(plan).readouts(samples, seed)

    def choose(self, arena: Arena[Any], situations: Sequence[Any], generator: torch.Generator) -> list[str]:
        """Draw one action in each situation."""
        with torch.inference_mode():
            outputs = self.model(torch.from_numpy(able(arena, ForNetworks).observe(situations)))
            weights = self.model.network.weights(outputs)
            drawn = torch.multinomial(weights, 1, generator=generator).flatten()
        return [able(arena, ForNetworks).outputs[place] for place in drawn.tolist()]

    def states(self, arena: Arena[Any], situations: Sequence[Any]) -> NDArray[np.float64]:
        """Return the activations of all hidden layers, from below, shape (n, units)."""
        with torch.inference_mode():
            values, found = torch.from_numpy(able(arena, ForNetworks).observe(situations)), list[Tensor]()
            for layer in self.model.layers[:-1]:
                values = self.model.activate(layer(values))
                found.append(values)
        return torch.cat(found, dim=1).double().numpy()

    def unlike(self, other: Policy) -> str | None:
        """Tell that the other is no network, or reads or gives something else."""
        if not isinstance(other, NetworkPolicy):
            return "another kind of policy"
        mine, others = ((one.inputs, one.outputs, one.network.outputs) for one in (self.model, other.model))
        return None if mine == others else "other inputs or outputs"

    def emptied(self) -> NetworkPolicy:
        """Return the policy itself: a network is small."""
        return self

    def hybrids(self, source: Policy | Mapping[str, Tensor] | ReadableWeights) -> NetworkHybrids:
        """Return what runs this network with units from another, or from a state dict."""
        if isinstance(source, Mapping):
            return NetworkHybrids(self.model, source)
        if isinstance(source, NetworkPolicy):
            return NetworkHybrids(self.model, source.model)
        raise TakebackError("a network's units come from another network")

    @torch.inference_mode()
    def read_hybrids(
        self, plan: NetworkPlan, views: Sequence[View], tolerance: float = TOLERANCE, steps: None = None
    ) -> tuple[list[Readouts], None]:
        """Read several hybrids; nothing is left undecided, so there are no steps to share."""
        found: dict[int, Readouts] = {}
        for members in by_model(views):
            hybrids: NetworkHybrids = views[members[0]][0]
            own = NetworkPolicy(hybrids.model)._tally(plan)
            tallies = [own.copy() for _ in members]
            for block in hybrids.outputs(plan.observations, [views[member][1] for member in members]):
                tallies[block.place].put(block.rows.numpy(), block.values)
            found |= {m: tally.readouts(SAMPLES, 0) for m, tally in zip(members, tallies, strict=True)}
        return [found[place] for place in range(len(views))], None

    def marks(self, steps: None) -> list[NDArray[np.int64]]:
        """Say that there are no steps."""
        return []

    def steps(self, plan: NetworkPlan, marks: Sequence[NDArray[np.int64]]) -> None:
        """Lay out none."""

    @torch.inference_mode()
    def _tally(self, plan: NetworkPlan) -> OutcomeMasses:
        tally = OutcomeMasses(plan, self.model.network)
        for rows in torch.arange(len(plan)).split(256):
            tally.put(rows.numpy(), self.model(plan.observations[rows]))
        return tally


def check_fit(network: Network, arena: Arena[Any], inputs: int) -> None:
    """Raise if a network does not read what an arena shows, or has not an output for each action.

    Raises:
        TakebackError: it does not.
    """
    for what, has, needs in (
        ("reads", network.inputs, inputs),
        ("has outputs", network.outputs, len(able(arena, ForNetworks).outputs)),
    ):
        if has != needs:
            raise TakebackError(
                f"the network {what}: {has}, where arena {arena.name} has {needs}; it was made for another "
                "arena, or with other wrappers (gym:ENV+Wrapper names them)"
            )


def load_network_policy(checkpoint: Checkpoint, arena: Arena[Any], placement: Placement) -> NetworkPolicy:
    """Load a plain state dict as a policy network, at a settled place; see `load_policy`.

    Raises:
        TakebackError: its file does not say how it is run, or it has another number of outputs.
    """
    network = load_network(checkpoint, placement.device)
    check_fit(network, arena, network.inputs)
    return NetworkPolicy(network)
