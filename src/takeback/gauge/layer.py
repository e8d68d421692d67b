"""A layer's weights by role, as views that can be written to: what changes of coordinates act on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from takeback.anatomy.wiring import Wiring
from takeback.checkpoint import Checkpoint

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearViews:
    """Holds views of a linear layer: `weight` (..., outputs, inputs) and `bias` (..., outputs) or None."""

    weight: Array
    bias: Array | None

    def split(self, *shape: int) -> LinearViews:
        """Return views with the outputs on several axes."""
        return self._with(lambda part: part.reshape(*shape, *part.shape[1:]))

    def part(self, at: Any) -> LinearViews:
        """Return views of some outputs."""
        return self._with(lambda part: part[at])

    @property
    def rows(self) -> Array:
        """A copy of the weights with the bias as last column."""
        if self.bias is None:
            return self.weight.copy()
        return np.concatenate([self.weight, self.bias[..., None]], axis=-1)

    def write(self, rows: Array) -> None:
        """Set weights and bias from rows of the shape of `rows`."""
        inputs = self.weight.shape[-1]
        self.weight[...] = rows[..., :inputs]
        if self.bias is not None:
            self.bias[...] = rows[..., inputs]

    def _with(self, view: Any) -> LinearViews:
        return LinearViews(view(self.weight), None if self.bias is None else view(self.bias))


@dataclass(frozen=True, eq=False)
class NormViews:
    """Holds views of a norm's gain and shift; `one` is what the norm adds to the gain that is stored."""

    weight: Array
    shift: Array | None
    one: float
    readers: tuple[LinearViews, ...]

    @property
    def value(self) -> Array:
        """What the norm multiplies by."""
        return self.weight + self.one

    def divide(self, factors: Array) -> None:
        """Divide gain and shift by factors, and multiply what reads them by the same."""
        self.weight[...] = self.value / factors - self.one
        if self.shift is not None:
            self.shift[...] = self.shift / factors
        for reader in self.readers:
            reader.weight[...] = reader.weight * factors


@dataclass(frozen=True, eq=False)
class AttentionViews:
    """Views of G groups of m heads of width w: `query` (G, m, w, d), `key` and `value` (G, w, d).

    `out` is (G, m, w, d), the columns of the output weights. The first 2 × `pairs` dimensions of a head are
    rotated by RoPE; `normed` says that norms stand on queries and keys.
    """

    query: LinearViews
    key: LinearViews
    value: LinearViews
    out: Array
    pairs: int
    normed: bool


@dataclass(frozen=True, eq=False)
class MLPViews:
    """Views of N neurons: `gate` and `up` (N, d), `down` (N, d); `up` is None where there are no gates.

    `homogeneous` says that the activation lets positive factors through. `expert` is the MLP's number among
    a layer's experts.
    """

    gate: LinearViews
    up: LinearViews | None
    down: Array
    homogeneous: bool
    expert: int | None = None


@dataclass(frozen=True, eq=False)
class LayerViews:
    """Reads one layer of a checkpoint into memory in float64, and gives views of it by role.

    What is written to the views is in `tensors`, by canonical name.
    """

    checkpoint: Checkpoint
    wiring: Wiring
    number: int
    tensors: dict[str, Array] = field(default_factory=dict[str, Array])

    @property
    def attention(self) -> AttentionViews:
        """The layer's attention."""
        anatomy, config = self.checkpoint.anatomy(), self.checkpoint.config
        heads, groups = anatomy.heads, anatomy.groups
        out = self._linear("attention", "out").weight
        width = out.shape[1] // heads
        each = (groups, heads // groups, width)
        return AttentionViews(
            *self._queries_keys_values(each),
            out.T.reshape(*each, -1),
            self.wiring.pairs(config, width),
            self.wiring.qk_norms != "none",
        )

    @property
    def mlps(self) -> tuple[MLPViews, ...]:
        """The layer's MLP, or its experts."""
        router = self._name("mlp", "router")
        if f"{router}.weight" not in self.checkpoint.shapes:
            return (self._mlp("mlp", None),)
        experts = self.checkpoint.shapes[f"{router}.weight"][0]
        return tuple(self._mlp("experts", expert) for expert in range(experts))

    @property
    def gains(self) -> tuple[NormViews, ...]:
        """The norms that stand before attention and MLP and have a gain, each with all that reads it."""
        if not self.wiring.norms_first(self.checkpoint.config):
            return ()
        attention, mlps = self.attention, self.mlps
        reads = (attention.query, attention.key, attention.value)
        inner = tuple(part for mlp in mlps for part in (mlp.gate, mlp.up) if part is not None)
        if self._name("mlp", "router") and mlps[0].expert is not None:
            inner = (*inner, self._linear("mlp", "router"))
        found = [self._gain("attention", reads), self._gain("mlp", inner)]
        return tuple(gain for gain in found if gain is not None)

    def _gain(self, part: str, readers: tuple[LinearViews, ...]) -> NormViews | None:
        name = self._name(part, "norm")
        weight = self._tensor(f"{name}.weight")
        one = 1.0 if self.wiring.norms == "rms of 1 + gain" else 0.0
        return None if weight is None else NormViews(weight, self._tensor(f"{name}.bias"), one, readers)

    def _mlp(self, part: str, expert: int | None) -> MLPViews:
        down = self._linear(part, "down", expert or 0).weight.T
        if self._name(part, "joined"):
            joined = self._linear(part, "joined")
            gate, up = joined.part(slice(len(down))), joined.part(slice(len(down), None))
        else:
            gate = self._linear(part, "gate", expert or 0)
            up = self._linear(part, "up", expert or 0) if self._name(part, "up") else None
        return MLPViews(gate, up, down, self.wiring.homogeneous(self.checkpoint.config), expert)

    def _queries_keys_values(
        self, each: tuple[int, int, int]
    ) -> tuple[LinearViews, LinearViews, LinearViews]:
        groups, members, width = each
        if self.wiring.fused == "heads":
            joined = self._linear("attention", "joined").split(groups, 3, width)
            return joined.part(np.s_[:, :1]), joined.part(np.s_[:, 1]), joined.part(np.s_[:, 2])
        if self.wiring.fused == "none":
            query, key, value = (self._linear("attention", role) for role in ("query", "key", "value"))
        else:
            joined, first = self._linear("attention", "joined"), groups * members * width
            second = first + groups * width
            query, key, value = (
                joined.part(np.s_[a:b]) for a, b in ((0, first), (first, second), (second, None))
            )
        return query.split(*each), key.split(groups, width), value.split(groups, width)

    def _linear(self, part: str, role: str, expert: int = 0) -> LinearViews:
        name = self._name(part, role, expert)
        weight = self._tensor(f"{name}.weight")
        assert weight is not None, f"{name} has no weight"
        return LinearViews(weight.T if self.wiring.transposed else weight, self._tensor(f"{name}.bias"))

    def _name(self, part: str, role: str, expert: int = 0) -> str:
        roles: Mapping[str, str] = getattr(self.wiring, part)
        return roles.get(role, "").format(l=self.number, i=expert)

    def _tensor(self, name: str) -> Array | None:
        if name not in self.checkpoint.shapes:
            return None
        if name not in self.tensors:
            self.tensors[name] = self.checkpoint.read(name).to(torch.float64).numpy().copy()
        return self.tensors[name]
