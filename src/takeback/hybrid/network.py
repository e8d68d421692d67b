"""The hybrids of policy networks, run from what the unchanged network computes.

Taking units back changes columns of one hidden layer, so the layers below are computed once for all hybrids
and the one above by an update of as many columns; situations in which no unit's value changed keep the
outputs of the unchanged network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from takeback.checkpoint.network import Network
from takeback.hybrid.walk import Path
from takeback.run.errors import TakebackError

BLOCK = 2**20
"""Outputs that are computed at a time: few enough to stay in a processor's cache."""

FEW = 0.25
"""Largest share of a layer's inputs that are changed as columns; of more, the layer is computed anew."""


@dataclass(frozen=True)
class Outputs:
    """What a hybrid gives in some rows, shape (rows, outputs); in rows of no block it is as unchanged."""

    place: int
    rows: Tensor
    values: Tensor


@dataclass(frozen=True)
class _Input:
    """What a layer reads in some rows of a hybrid.

    `columns` have these `values`, shape (rows, columns), and the others are as unchanged; without columns
    the values are all of it.
    """

    rows: Tensor
    columns: Tensor | None
    values: Tensor


class NetworkHybrids:
    """Hybrids of a policy network in memory: units of it from `source`, all others its own.

    Attributes:
        model: the network; it is never changed.
    """

    def __init__(self, model: Network, source: Network | Mapping[str, Tensor]) -> None:
        self.model = model
        given = dict(source.named_parameters()) if isinstance(source, Network) else source
        self._source = [_given(name, layer, given) for name, layer in model.named_layers.items()]
        self._asked: Tensor | None = None
        self._inputs: list[Tensor] = []
        self._sums: list[Tensor] = []

    @torch.inference_mode()
    def outputs(self, observations: Tensor, paths: Sequence[Path]) -> Iterator[Outputs]:
        """Yield the outputs of each hybrid that takes back `paths[place]`, in blocks of rows, place by place.

        Rows whose outputs are those of the unchanged network may be left out. `observations` has shape
        (situations, inputs); what is computed of the same tensor before is not computed again.
        """
        self._compute(observations)
        for place, path in enumerate(paths):
            units = self._units(path)
            first = next((layer for layer, some in enumerate(units) if len(some)), None)
            if first is None:
                yield from self._own(place, torch.arange(len(observations)))
            else:
                yield from self._hybrid(place, first, units)

    def _units(self, path: Path) -> list[Tensor]:
        """Return the units of each layer that a path takes back; outputs that are one component come last."""
        units = [torch.tensor([unit.index for unit in part], dtype=torch.long) for part in path[1:-1]]
        if len(units) < len(self.model.layers):
            units.append(torch.arange(self.model.outputs if path[-1] else 0))
        return units

    def _compute(self, observations: Tensor) -> None:
        if self._asked is observations:
            return
        inputs, sums = [observations], list[Tensor]()
        for layer in self.model.layers:
            sums.append(layer(inputs[-1]))
            inputs.append(self.model.activate(sums[-1]))
        self._asked, self._inputs, self._sums = observations, inputs, sums

    def _own(self, place: int, rows: Tensor) -> Iterator[Outputs]:
        for some in rows.split(self._block):
            yield Outputs(place, some, self._sums[-1][some])

    def _hybrid(self, place: int, first: int, units: Sequence[Tensor]) -> Iterator[Outputs]:
        """Yield the blocks of one hybrid, from the first layer of which units are taken back."""
        taken, last = self._taken(first, self._inputs[first], units[first]), len(self._sums) - 1
        if first == last:
            for rows in torch.arange(len(taken)).split(self._block):
                yield Outputs(place, rows, self._sums[last][rows].index_copy(1, units[last], taken[rows]))
            return
        values = self.model.activate(taken)
        rows_changed = torch.arange(len(values))
        if not any(len(some) for some in units[first + 1 :]):
            changed = (values != self._inputs[first + 1][:, units[first]]).any(dim=1)
            rows_changed = rows_changed[changed]
        for rows in rows_changed.split(self._block):
            read = _Input(rows, units[first], values[rows])
            for layer in range(first + 1, last):
                sums = self._layer(layer, read, units[layer])
                read = _Input(rows, None, self.model.activate(sums))
            yield Outputs(place, rows, self._layer(last, read, units[last]))

    def _layer(self, number: int, read: _Input, units: Tensor) -> Tensor:
        """Return a layer's sums for what it reads, some of its own units taken back."""
        layer, inputs = self.model.layers[number], self._inputs[number]
        whole = read.values
        if read.columns is not None:
            if not len(units) and len(read.columns) <= FEW * layer.in_features:
                delta = whole - inputs[read.rows[:, None], read.columns]
                return self._sums[number][read.rows].addmm_(delta, layer.weight[:, read.columns].T)
            whole = inputs[read.rows].index_copy(1, read.columns, whole)
        if len(units) == layer.out_features:
            return self._taken(number, whole, units)
        return layer(whole).index_copy(1, units, self._taken(number, whole, units))

    def _taken(self, number: int, inputs: Tensor, units: Tensor) -> Tensor:
        """Return the sums of units of a layer as the source has them."""
        weight, bias = self._source[number]
        if len(units) == len(weight):
            return functional.linear(inputs, weight, bias)
        return functional.linear(inputs, weight[units], None if bias is None else bias[units])

    @property
    def _block(self) -> int:
        return max(1, BLOCK // self.model.outputs)


def _given(name: str, like: nn.Linear, source: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return a layer's tensors in a source."""
    found: list[Tensor | None] = []
    mine: list[Tensor | None] = [like.weight, like.bias]
    for own, key in zip(mine, (f"{name}.weight", f"{name}.bias"), strict=True):
        given = source.get(key)
        if (None if given is None else given.shape) != (None if own is None else own.shape):
            there = "nothing" if given is None else f"shape {list(given.shape)}"
            here = "nothing" if own is None else f"shape {list(own.shape)}"
            raise TakebackError(f"the source has {there} as {key}, the network {here}; name one like it")
        found.append(given)
    weight, bias = found
    assert weight is not None
    return weight, bias
