"""Which tensor and which component each stretch of a model belongs to, in arrays: neurons are many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.anatomy import Anatomy
from takeback.component import TENSOR, Component

_ABSENT = -1


@dataclass(frozen=True, eq=False)
class Parts:
    """Names parts of a model as components are named, in canonical order; -1 stands for no layer or index.

    `tensors` has the text forms of those that are whole tensors, "" for all others.
    """

    kinds: NDArray[np.str_]
    layers: NDArray[np.int64]
    indices: NDArray[np.int64]
    tensors: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.kinds)

    def components(self) -> list[Component]:
        """Return them as components."""
        return [
            Component.parse(tensor)
            if tensor
            else Component(kind, None if layer < 0 else layer, None if index < 0 else index)
            for kind, layer, index, tensor in self._rows()
        ]

    def names(self) -> list[str]:
        """Return the names of the components; without a kind, of the layers."""
        return [
            tensor
            or (kind if layer < 0 else f"L{layer}" + f".{kind}{'' if index < 0 else index}" * bool(kind))
            for kind, layer, index, tensor in self._rows()
        ]

    def table(self) -> pd.DataFrame:
        """Return a table with their names, kinds, layers and indices, the last two missing where absent."""
        numbers = {name: _or_missing(getattr(self, name)) for name in ("layers", "indices")}
        keys = {"component": self.names(), "kind": self.kinds.astype(object)}
        return pd.DataFrame({**keys, "layer": numbers["layers"], "index": numbers["indices"]})

    def by_layer(self) -> tuple[NDArray[np.intp], Parts]:
        """Return for each part the place of its layer, or of itself where it is in none, and those places."""
        alone = self.layers < 0
        kinds, tensors = np.where(alone, self.kinds, ""), np.where(alone, self.tensors, "")
        return replace(self, kinds=kinds, indices=np.full(len(self), _ABSENT), tensors=tensors).together()

    def without_neurons(self) -> tuple[NDArray[np.intp], Parts]:
        """Return for each part the place of what it is shown as, and those: an MLP for its neurons."""
        neurons = np.isin(self.kinds, ("N", "MLPB"))
        kinds, indices = np.where(neurons, "MLP", self.kinds), np.where(neurons, _ABSENT, self.indices)
        return replace(self, kinds=kinds, indices=indices).together()

    def together(self) -> tuple[NDArray[np.intp], Parts]:
        """Return for each part the place of the run of equal ones that it is in, and one of each run."""
        fields = (self.kinds, self.layers, self.indices, self.tensors)
        changes = np.logical_or.reduce([values[1:] != values[:-1] for values in fields])
        place = np.concatenate([[0], np.cumsum(changes)]).astype(np.intp)[: len(self)]
        first = np.flatnonzero(np.concatenate([[True], changes]))[: len(self)]
        return place, self.some(first)

    def some(self, places: NDArray[np.intp]) -> Parts:
        """Return those at some places."""
        return Parts(self.kinds[places], self.layers[places], self.indices[places], self.tensors[places])

    def _rows(self) -> Iterator[tuple[str, int, int, str]]:
        fields = (self.kinds, self.layers, self.indices, self.tensors)
        return zip(*(values.tolist() for values in fields), strict=True)


@dataclass(frozen=True, eq=False)
class Segments:
    """Says of each stretch, tensor by tensor in the order of the cuts, its tensor and its component."""

    tensor: NDArray[np.intp]
    component: NDArray[np.intp]
    parts: Parts

    @classmethod
    def of(cls, anatomy: Anatomy, tensors: Sequence[str]) -> Segments:
        """Read who owns what from the cuts of an anatomy."""
        owned = [(place, cut) for place, name in enumerate(tensors) for cut in anatomy.cuts[name]]
        counts = [cut.count for _, cut in owned]
        within = np.concatenate([np.arange(count) for count in counts])
        places = [cut.component(0).place() for _, cut in owned]
        names = {name: rank for rank, name in enumerate(sorted({place[-1] for place in places}))}
        firsts = np.array([(*place[:-1], names[place[-1]]) for place in places]).repeat(counts, axis=0)
        indexed = np.array([cut.index is not None for _, cut in owned]).repeat(counts)
        firsts[:, 3] += within * indexed
        _, where, component = np.unique(firsts, axis=0, return_index=True, return_inverse=True)
        kinds = np.array([cut.kind for _, cut in owned]).repeat(counts)
        layers = np.array([_ABSENT if cut.layer is None else cut.layer for _, cut in owned]).repeat(counts)
        indices = np.where(indexed, firsts[:, 3], _ABSENT)
        whole = [str(cut.component(0)) if cut.kind == TENSOR else "" for _, cut in owned]
        tensor = np.array([place for place, _ in owned]).repeat(counts)
        parts = Parts(kinds, layers, indices, np.array(whole, np.object_).repeat(counts))
        return cls(tensor, component.reshape(-1), parts.some(where))


def _or_missing(values: NDArray[np.int64]) -> pd.Series:
    return pd.Series(values, dtype="Int64").mask(values < 0)
