"""The weights of a layer by the role they play, and how the norms around them fold in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from takeback.anatomy.wiring import Wiring
from takeback.checkpoint import Checkpoint, narrowest_dtype
from takeback.run.errors import TakebackError
from takeback.weights.circuits.gauge import Array, Distance

Rows = NDArray[Any]
"""Rows of a linear layer with the bias as last column, (..., inputs + 1), in float32 or float64 as stored."""

Null = Literal["permuted", "gaussian"]
"""A random change of the same size: the entries of the real one in another order, or normal numbers."""


@dataclass(frozen=True, eq=False)
class Reads:
    """What stands between the residual stream and the weights that read it: a norm, or nothing.

    A norm gives γ ⊙ x̂ + β, where x̂ is what it makes of the stream; LayerNorm's x̂ has mean zero.
    """

    gain: Array
    shift: Array
    centred: bool

    def fold(self, rows: Rows) -> Array:
        """Return the rows [W, b] as they act on (x̂, 1): [W diag(γ), b + W β], in float64.

        Where x̂ has mean zero, the mean of W diag(γ) over the inputs meets nothing and is taken out. γ → c γ,
        W → W / c, β → β + t, b → b − W t, and adding n 1ᵀ to W diag(γ) change nothing.
        """
        folded = np.empty(rows.shape, np.float64)
        weights = folded[..., :-1]
        folded[..., -1] = rows[..., -1]
        if self.shift.any():
            folded[..., -1] += rows[..., :-1].astype(np.float64) @ self.shift
        np.multiply(rows[..., :-1], self.gain, out=weights)
        if self.centred:
            weights -= weights.mean(axis=-1, keepdims=True)
        return folded


@dataclass(frozen=True, eq=False)
class Writes:
    """What stands between the weights that write and the residual stream: a norm's gain, or nothing.

    `centred` where all that read the stream are LayerNorms, which take out its mean.
    """

    gain: Array | None
    centred: bool

    def fold(self, columns: NDArray[Any]) -> Array:
        """Return vectors (..., hidden) as the readers of the stream meet them, in float64."""
        vectors = columns.astype(np.float64)
        if self.centred:
            vectors -= vectors.mean(axis=-1, keepdims=True)
        return vectors if self.gain is None else vectors * self.gain


@dataclass(frozen=True, eq=False)
class LayerReader:
    """Reads one layer of a checkpoint by role."""

    checkpoint: Checkpoint
    wiring: Wiring
    number: int

    @property
    def config(self) -> Any:
        """The config of the checkpoint."""
        return self.checkpoint.config

    @property
    def experts(self) -> int | None:
        """How many experts the layer has, None where its MLP is one."""
        router = self.vector("mlp", "router")
        return None if router is None else len(router)

    def rows(self, part: str, role: str, expert: int = 0) -> Rows:
        """Read a linear layer as (outputs, inputs + 1); without a bias the last column is zero."""
        name = self._name(part, role, expert)
        weight = self._finite(f"{name}.weight")
        if self.wiring.transposed:
            weight = weight.T
        bias = self._read(f"{name}.bias")
        column = np.zeros(len(weight), weight.dtype) if bias is None else bias
        return np.concatenate([weight, column[:, None]], axis=1)

    def vector(self, part: str, role: str) -> NDArray[Any] | None:
        """Read the weight of a role, None where the layer has no such role."""
        name = self._name(part, role)
        return self._read(f"{name}.weight") if name else None

    def reads(self, part: str, hidden: int) -> Reads:
        """Return the norm before a part of the layer."""
        first = self.wiring.norms_first(self.config) and self._name(part, "norm") != ""
        gain = self.gain(part, "norm") if first else None
        shift = self._read(f"{self._name(part, 'norm')}.bias") if first else None
        return Reads(
            np.ones(hidden) if gain is None else gain,
            np.zeros(hidden) if shift is None else shift.astype(np.float64),
            centred=first and self.wiring.norms == "layer",
        )

    def writes(self, part: str) -> Writes:
        """Return the norm behind a part of the layer."""
        return Writes(self.gain(part, "post"), centred=self.wiring.norms == "layer")

    def gain(self, part: str, role: str) -> Array | None:
        """Return what a norm multiplies by, None where there is no such norm or it has no gain."""
        stored = self.vector(part, role)
        if stored is None:
            return None
        return stored.astype(np.float64) + (1.0 if self.wiring.norms == "rms of 1 + gain" else 0.0)

    def has(self, part: str, role: str) -> bool:
        """Return whether the family has such a role."""
        return bool(self._name(part, role))

    def _name(self, part: str, role: str, expert: int = 0) -> str:
        roles: Mapping[str, str] = getattr(self.wiring, part)
        return roles.get(role, "").format(l=self.number, i=expert)

    def _read(self, name: str) -> NDArray[Any] | None:
        return self._finite(name) if name in self.checkpoint.shapes else None

    def _finite(self, name: str) -> NDArray[Any]:
        values = exact(self.checkpoint.read(name))
        if not np.isfinite(values).all():
            raise TakebackError(f"tensor {name} of {self.checkpoint.ref} holds values that are not finite")
        return values


class LayerPart(Protocol):
    """A part of a layer whose circuits are measured: attention, an MLP, an expert, a router."""

    def changes(self, base: Any) -> Mapping[str, Distance]:
        """Return how far each kind of circuit moved from `base`, one entry for each component that has it."""
        ...

    def raw(self, base: Any) -> Mapping[str, tuple[Distance, Distance | None]]:
        """Return how far the stored factors of each kind of circuit moved, entry by entry."""
        ...

    def randomised(self, base: Any, null: Null, rng: np.random.Generator) -> Any:
        """Return base with a random change in place of this one, of the same norm in each stored factor."""
        ...


def exact(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a tensor as float32, or float64 if that is what it takes to hold its values."""
    return tensor.to(narrowest_dtype(tensor.dtype, torch.float32)).numpy()


def randomised(
    tuned: NDArray[Any], base: NDArray[Any], null: Null, rng: np.random.Generator, axes: int
) -> NDArray[Any]:
    """Return base with a random change of the same norm over each last `axes` axes.

    >>> base, rng = np.zeros((1, 4)), np.random.default_rng(0)
    >>> sorted(randomised(np.array([[0.0, 0.0, 3.0, 4.0]]), base, "permuted", rng, axes=1)[0].tolist())
    [0.0, 0.0, 3.0, 4.0]
    """
    delta = (tuned - base).reshape(*base.shape[: base.ndim - axes], -1)
    if null == "permuted":
        drawn = rng.permuted(delta, axis=-1)
    else:
        drawn = rng.standard_normal(delta.shape, dtype=delta.dtype.type)
        drawn *= np.linalg.norm(delta, axis=-1, keepdims=True) / np.linalg.norm(drawn, axis=-1, keepdims=True)
    return base + drawn.reshape(base.shape)


def randomised_rows(tuned: Rows, base: Rows, null: Null, rng: np.random.Generator) -> Rows:
    """Return what `randomised` does to the rows of each linear layer, its weights and its bias apart."""
    weights, biases = slice(-1), slice(-1, None)
    parts = [randomised(tuned[..., at], base[..., at], null, rng, axes=2) for at in (weights, biases)]
    return np.concatenate(parts, axis=-1)
