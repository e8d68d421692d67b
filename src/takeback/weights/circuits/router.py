"""A layer's router: how far the scores moved by which tokens are sent to experts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from takeback.weights.circuits.gauge import Array, Distance
from takeback.weights.circuits.roles import LayerReader, Null, Reads, Rows, randomised_rows


@dataclass(frozen=True, eq=False)
class Router:
    """Holds a router's rows, (1, experts, d + 1)."""

    weight: Rows
    reads: Reads

    def changes(self, base: Router) -> Mapping[str, Distance]:
        """Return the change of the scores; (1,).

        Softmax takes out what all experts get alike, so that the mean of the rows is left out.
        """
        return {"router": Distance.of(self._scores(), base._scores(), axes=2)}

    def raw(self, base: Router) -> Mapping[str, tuple[Distance, Distance | None]]:
        """Return how far the rows moved."""
        return {"router": (Distance.of(self.weight, base.weight, axes=2), None)}

    def randomised(self, base: Router, null: Null, rng: np.random.Generator) -> Router:
        """Return base with a random change as large as this one."""
        return replace(self, weight=randomised_rows(self.weight, base.weight, null, rng))

    def _scores(self) -> Array:
        rows = self.reads.fold(self.weight)
        return rows - rows.mean(axis=1, keepdims=True)


def read_router(layer: LayerReader) -> Router:
    """Read a layer's router.

    Raises:
        TakebackError: a tensor cannot be read.
    """
    rows = layer.rows("mlp", "router")
    return Router(rows[None], layer.reads("mlp", rows.shape[1] - 1))
