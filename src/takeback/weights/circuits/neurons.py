"""A layer's MLP or one of its experts: how far its neurons moved, whatever their order and their inner scale.

A neuron of a gated MLP (Shazeer 2020, arXiv 2002.05202) adds d (u·x) act(g·x): its gate g and the outer
product of u and d say all it does. U → c U, D → D / c of a neuron changes nothing (c may be negative), nor
does the order of neurons. Without a gate it adds d act(g·x), which is the same with u·x = 1. ReLU lets
positive factors through: each gate is then taken at length 1, and its length is d's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from takeback.weights.circuits.gauge import Array, Distance, outer_change
from takeback.weights.circuits.roles import (
    LayerReader,
    Null,
    Reads,
    Rows,
    Writes,
    randomised,
    randomised_rows,
)

BLOCK = 1024
"""Neurons that are compared at once: what bounds the memory besides the weights themselves."""

_SHADOW = 64
"""Directions onto which gates are projected to show that they are apart."""

Order = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Folded:
    """Holds neurons as the residual stream meets them: `gate`, `up` and `down` in float64, a row for each."""

    gate: Array
    up: Array
    down: Array


@dataclass(frozen=True, eq=False)
class Neurons:
    """Holds the weights of N neurons in a model of width d.

    `gate` and `up` are (N, d + 1), `up` is None in an MLP without gates, `down` is (N, d), `out_bias` (1, d).
    """

    gate: Rows
    up: Rows | None
    down: NDArray[Any]
    out_bias: NDArray[Any]
    reads: Reads
    writes: Writes
    homogeneous: bool

    def __len__(self) -> int:
        return len(self.gate)

    def folded(self, rows: slice | Order) -> Folded:
        """Return some of the neurons with the norms around them folded in."""
        gate, down = self.reads.fold(self.gate[rows]), self.writes.fold(self.down[rows])
        up = np.ones((len(gate), 1)) if self.up is None else self.reads.fold(self.up[rows])
        if self.homogeneous:
            lengths = np.linalg.norm(gate, axis=1, keepdims=True)
            gate, down = gate / np.where(lengths == 0, 1.0, lengths), down * lengths
        return Folded(gate, up, down / self.scale)

    @cached_property
    def scale(self) -> float:
        """The scale of all that is written, which an RMS norm behind the MLP divides out; 1 without one."""
        if self.writes.gain is None:
            return 1.0
        plain = replace(self, writes=replace(self.writes, gain=None))
        return plain.norms[1] or 1.0

    @cached_property
    def norms(self) -> tuple[float, float]:
        """The norms of all gates and of all that is written."""
        squares = np.zeros(2)
        for rows in _blocks(len(self)):
            part = self.folded(rows)
            squares[0] += np.sum(part.gate**2)
            squares[1] += np.sum(np.sum(part.up**2, axis=1) * np.sum(part.down**2, axis=1))
        return float(np.sqrt(squares[0])), float(np.sqrt(squares[1]))

    def changes(self, base: Neurons) -> Mapping[str, Distance]:
        """Return the change of gates, of what is written and of the output bias, neurons matched; (1,) each.

        Matched are `partners`, which make the sum of the two relative squares smallest.
        """
        order, squares = partners(self, base), np.zeros(2)
        for rows in _blocks(len(self)):
            squares += [part.sum() for part in _squares(self.folded(rows), base.folded(order[rows]))]
        moved = Distance.beyond_rounding(np.sqrt(squares), np.array(base.norms))
        reassigned = float(np.mean(order != np.arange(len(order))))
        gate, write = (
            Distance(moved.distance[at], moved.norm[at], reassigned) for at in (slice(1), slice(1, 2))
        )
        biases = [side.writes.fold(side.out_bias) / side.scale for side in (self, base)]
        return {"gate": gate, "write": write, "constant": Distance.of(*biases, axes=1)}

    def raw(self, base: Neurons) -> Mapping[str, tuple[Distance, Distance | None]]:
        """Return how far the entries of each factor moved."""
        up = None if self.up is None or base.up is None else Distance.of(self.up[None], base.up[None], axes=2)
        return {
            "gate": (Distance.of(self.gate[None], base.gate[None], axes=2), None),
            "write": (Distance.of(self.down[None], base.down[None], axes=2), up),
            "constant": (Distance.of(self.out_bias, base.out_bias, axes=1), None),
        }

    def randomised(self, base: Neurons, null: Null, rng: np.random.Generator) -> Neurons:
        """Return base's neurons with random changes as large as these; norms stay as they are here."""
        return replace(
            self,
            gate=randomised_rows(self.gate, base.gate, null, rng),
            up=None if self.up is None or base.up is None else randomised_rows(self.up, base.up, null, rng),
            down=randomised(self.down, base.down, null, rng, axes=2),
            out_bias=randomised(self.out_bias, base.out_bias, null, rng, axes=1),
        )


def read_neurons(layer: LayerReader, expert: int | None = None) -> Neurons:
    """Read a layer's MLP, or one of its experts.

    Raises:
        TakebackError: a tensor cannot be read.
    """
    part, number = ("mlp", 0) if expert is None else ("experts", expert)
    down = layer.rows(part, "down", number)
    if layer.has(part, "joined"):
        gate, up = np.split(layer.rows(part, "joined"), 2)
    else:
        gate = layer.rows(part, "gate", number)
        up = layer.rows(part, "up", number) if layer.has(part, "up") else None
    return Neurons(
        gate=gate,
        up=up,
        down=np.ascontiguousarray(down[:, :-1].T),
        out_bias=down[None, :, -1],
        reads=layer.reads("mlp", len(down)),
        writes=layer.writes("mlp"),
        homogeneous=layer.wiring.homogeneous(layer.config),
    )


def partners(tuned: Neurons, base: Neurons) -> Order:
    """Return the partner in base of each neuron: the permutation of the least cost.

    The cost of a match is its share of the squared relative changes of gates and of what is written, so that
    the best assignment (Kuhn 1955, "The Hungarian method"; as in Ainsworth et al. 2022, arXiv 2209.04836) is
    the distance of the two MLPs up to the order of neurons. No assignment costs less than each neuron's own
    cheapest partner; if these are distinct, they are the best one. That a neuron's cheapest partner is at
    its own place is shown for most by their gates alone, in a projection that makes no distance larger: see
    `_settled`.
    """
    from scipy.optimize import linear_sum_assignment

    order = np.arange(len(tuned))
    open_ = np.flatnonzero(~_settled(tuned, base))
    for rows in np.array_split(open_, -(-len(open_) // BLOCK)) if len(open_) else ():
        order[rows] = _nearest(tuned, base, rows)
    if len(np.unique(order)) == len(order):
        return order
    every = [np.arange(len(tuned))[rows] for rows in _blocks(len(tuned))]
    costs = np.block([[_costs(tuned, base, rows, columns) for columns in every] for rows in every])
    return linear_sum_assignment(costs)[1]


def _settled(tuned: Neurons, base: Neurons) -> NDArray[np.bool_]:
    """Tell which neurons are certainly nearest to their own place in base.

    Projected onto a few orthonormal directions, gates are no further apart than they are; so a neuron whose
    cost at its own place is below the gates' part of its cost elsewhere, seen in the projection, is settled.
    """
    directions = _directions(base.gate.shape[1])
    shadows = [
        np.concatenate([side.folded(rows).gate @ directions for rows in _blocks(len(side))])
        for side in (tuned, base)
    ]
    settled: list[NDArray[np.bool_]] = []
    for rows in _blocks(len(tuned)):
        own = _weighed(base, *_squares(tuned.folded(rows), base.folded(rows)))
        apart = _weighed(base, _square_distances(shadows[0][rows], shadows[1]), np.zeros(1))
        places = np.arange(len(tuned))[rows]
        apart[np.arange(len(places)), places] = np.inf
        settled.append(own < apart.min(axis=1) * (1 - 1e-6))
    return np.concatenate(settled)


@lru_cache(maxsize=4)
def _directions(width: int) -> Array:
    import torch

    drawn = np.random.default_rng(0).standard_normal((width, min(_SHADOW, width)))
    return torch.linalg.qr(torch.from_numpy(drawn))[0].numpy()


def _nearest(tuned: Neurons, base: Neurons, rows: Order) -> Order:
    best, nearest = np.full(len(rows), np.inf), np.zeros(len(rows), np.intp)
    for block in _blocks(len(base)):
        columns = np.arange(len(base))[block]
        costs = _costs(tuned, base, rows, columns)
        place = costs.argmin(axis=1)
        cost = costs[np.arange(len(rows)), place]
        nearest = np.where(cost < best, columns[place], nearest)
        best = np.minimum(best, cost)
    return nearest


def _costs(tuned: Neurons, base: Neurons, rows: Order, columns: Order) -> Array:
    """Return the cost of each match of some neurons with some of base, from inner products."""
    a, b = tuned.folded(rows), base.folded(columns)
    sizes = [np.sum(part.up**2, axis=1) * np.sum(part.down**2, axis=1) for part in (a, b)]
    write = sizes[0][:, None] + sizes[1] - 2 * (a.up @ b.up.T) * (a.down @ b.down.T)
    return _weighed(base, _square_distances(a.gate, b.gate), write)


def _squares(tuned: Folded, base: Folded) -> tuple[Array, Array]:
    write = outer_change((tuned.up, tuned.down), (base.up, base.down)).distance
    return np.sum((tuned.gate - base.gate) ** 2, axis=1), write**2


def _weighed(base: Neurons, gate: Array, write: Array) -> Array:
    """Add squared distances, each relative to base's norm."""
    weights = [1 / norm**2 if norm else 0.0 for norm in base.norms]
    return weights[0] * gate + weights[1] * write


def _square_distances(a: Array, b: Array) -> Array:
    return np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) - 2 * a @ b.T


def _blocks(count: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
