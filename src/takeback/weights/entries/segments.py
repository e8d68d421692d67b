"""Which tensor and which component each stretch of a model belongs to, in arrays: neurons are many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.anatomy import Anatomy
from takeback.component import Component

_ABSENT = -1


@dataclass(frozen=True, eq=False)
class Parts:
    """Names parts of a model as components are named, in canonical order; -1 stands for no layer or index."""

    kinds: NDArray[np.str_]
    layers: NDArray[np.int64]
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kinds)

    def components(self) -> list[Component]:
        """Return them as components."""
        rows = zip(self.kinds.tolist(), self.layers.tolist(), self.indices.tolist(), strict=True)
        return [
            Component(kind, None if layer < 0 else layer, None if index < 0 else index)
            for kind, layer, index in rows
        ]

    def names(self) -> list[str]:
        """Return the names of the components; without a kind, of the layers."""
        rows = zip(self.kinds.tolist(), self.layers.tolist(), self.indices.tolist(), strict=True)
        return [
            kind if layer < 0 else f"L{layer}" + f".{kind}{'' if index < 0 else index}" * bool(kind)
            for kind, layer, index in rows
        ]

    def table(self) -> pd.DataFrame:
        """Return a table with their names, kinds, layers and indices, the last two missing where absent."""
        numbers = {name: _or_missing(getattr(self, name)) for name in ("layers", "indices")}
        keys = {"component": self.names(), "kind": self.kinds.astype(object)}
        return pd.DataFrame({**keys, "layer": numbers["layers"], "index": numbers["indices"]})

    def by_layer(self) -> tuple[NDArray[np.intp], Parts]:
        """Return for each part the place of its layer, or of itself where it is in none, and those places."""
        kinds = np.where(self.layers < 0, self.kinds, "")
        return replace(self, kinds=kinds, indices=np.full(len(self), _ABSENT)).together()

    def without_neurons(self) -> tuple[NDArray[np.intp], Parts]:
        """Return for each part the place of what it is shown as, and those: an MLP for its neurons."""
        neurons = np.isin(self.kinds, ("N", "MLPB"))
        kinds, indices = np.where(neurons, "MLP", self.kinds), np.where(neurons, _ABSENT, self.indices)
        return replace(self, kinds=kinds, indices=indices).together()

    def together(self) -> tuple[NDArray[np.intp], Parts]:
        """Return for each part the place of the run of equal ones that it is in, and one of each run."""
        fields = (self.kinds, self.layers, self.indices)
        changes = np.logical_or.reduce([values[1:] != values[:-1] for values in fields])
        place = np.concatenate([[0], np.cumsum(changes)]).astype(np.intp)[: len(self)]
        first = np.flatnonzero(np.concatenate([[True], changes]))[: len(self)]
        return place, Parts(self.kinds[first], self.layers[first], self.indices[first])


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
        firsts = np.array([cut.component(0).place() for _, cut in owned]).repeat(counts, axis=0)
        indexed = np.array([cut.index is not None for _, cut in owned]).repeat(counts)
        firsts[:, 3] += within * indexed
        _, where, component = np.unique(firsts, axis=0, return_index=True, return_inverse=True)
        kinds = np.array([cut.kind for _, cut in owned]).repeat(counts)
        layers = np.array([_ABSENT if cut.layer is None else cut.layer for _, cut in owned]).repeat(counts)
        indices = np.where(indexed, firsts[:, 3], _ABSENT)
        tensor = np.array([place for place, _ in owned]).repeat(counts)
        return cls(tensor, component.reshape(-1), Parts(kinds[where], layers[where], indices[where]))


def _or_missing(values: NDArray[np.int64]) -> pd.Series:
    return pd.Series(values, dtype="Int64").mask(values < 0)
