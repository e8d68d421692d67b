"""The part of a change in k directions of each matrix, or what it is without them, as a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from takeback.anatomy import Region
from takeback.checkpoint.derived import Derived
from takeback.run.errors import TakebackError, unknown_name
from takeback.weights.spectra.matrices import WeightMatrix, matrices_of, sides_of
from takeback.weights.spectra.rank import SLACK, gram, sketch
from takeback.weights.spectra.shape import Options
from takeback.weights.spectra.subspaces import leading_of_rank

COLUMNS: Mapping[str, str] = {
    "tensor": "the tensor's name",
    "slice": "the place of a matrix in a stack of them, missing elsewhere",
    "delta_norm": "‖Δ‖, Frobenius norm of the change",
    "kept": "share of ‖Δ‖² that the k directions hold, missing where nothing changed",
    "factor": "what the part of Δ is multiplied with: 1, or what restores ‖Δ‖; for rank-k models times α",
}
"""What each column of `LowRank.table` means."""

_OVERSAMPLED, _ROUNDS = 32, 8
"""Directions of a large matrix's sketch besides the k, and how often it is refined."""


@dataclass(frozen=True, slots=True)
class Factors:
    """Holds the part of one matrix's Δ in some directions as `left` (rows, k) times `right` (columns, k)ᵀ.

    `norm` is ‖Δ‖, `kept` the part's share of ‖Δ‖², None where nothing changed.
    """

    left: torch.Tensor
    right: torch.Tensor
    norm: float
    kept: float | None


@dataclass(frozen=True, eq=False)
class LowRank(Derived):
    """Is base with each matrix's Δ cut down to k directions, or with `rest` tuned without them.

    The directions are those of the k largest singular values, U_k U_kᵀ Δ. With a `seed` they are random: a
    k-dimensional subspace from the Haar measure on the side of fewer dimensions (rows where both are equal),
    Q Qᵀ Δ or Δ Q Qᵀ, which holds a share k / (smaller side) of ‖Δ‖² on average and all of it when k is full;
    the subspaces of one seed are nested. `rescale` stretches the part that is left to ‖Δ‖.

    Only the matrices of the layers are cut; all other tensors (`left_alone`) are base's, or with `rest`
    tuned's, so that the two kinds of model share Δ between them. Computed in float32 or wider, not bit-exact.
    It keeps the k directions of each matrix once they were asked for, never whole matrices.

    Raises:
        TakebackError: k is below 1.
    """

    k: int
    seed: int | None = None
    rest: bool = False
    rescale: bool = False
    _known: dict[Region, Factors] = field(
        default_factory=dict[Region, Factors], repr=False, init=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.k < 1:
            raise TakebackError(f"a rank-{self.k} part of a change has no directions; k is 1 or more")

    @property
    def ref(self) -> str:
        """What it is made of, in words."""
        which = "leading" if self.seed is None else f"random (seed {self.seed})"
        what = f"{self.k} {which} directions of each matrix's Δ"
        scaled = ", rescaled to ‖Δ‖" if self.rescale else ""
        if self.rest:
            return f"{self.pair.tuned.ref} without the {what} from {self.pair.base.ref}{scaled}"
        return f"{self.pair.base.ref} + the {what} to {self.pair.tuned.ref}{scaled}"

    @property
    def left_alone(self) -> tuple[str, ...]:
        """The tensors that are a side's own: vectors, embeddings, and what lies outside the layers."""
        return tuple(name for name in self.shapes if not self._matrices(name))

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row of `COLUMNS` for each matrix of a layer."""
        rows: list[dict[str, object]] = []
        for matrix in (matrix for name in self.shapes for matrix in self._matrices(name)):
            known = self._factors(matrix)
            sizes = {"delta_norm": known.norm, "kept": known.kept, "factor": self._factor(known)}
            rows.append({"tensor": matrix.region.tensor, "slice": matrix.slice, **sizes})
        kinds = {"slice": "Int64", "delta_norm": "Float64", "kept": "Float64", "factor": "Float64"}
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype(kinds)

    def _made(self, name: str) -> torch.Tensor:
        matrices = self._matrices(name)
        if not matrices:
            return (self.pair.tuned if self.rest else self.pair.base).read(name)
        base, tuned = self._sides(name)
        made = base.clone()
        for matrix in matrices:
            before, after = (side[matrix.region.index].reshape(matrix.shape) for side in (base, tuned))
            here = made[matrix.region.index]
            here.copy_(self._changed(matrix, before, after).reshape(here.shape))
        return made

    def _changed(self, matrix: WeightMatrix, base: torch.Tensor, tuned: torch.Tensor) -> torch.Tensor:
        """Return W + c Δ′, where Δ′ is what is left of Δ."""
        known = self._factors(matrix)
        if not known.norm:
            return base
        part = known.left.to(base.dtype) @ known.right.to(base.dtype).T
        return base + self._factor(known) * (tuned - base - part if self.rest else part)

    def _factor(self, known: Factors) -> float:
        """Return c: 1, or ‖Δ‖ / ‖Δ′‖; where nothing is left there is nothing to stretch."""
        kept = known.kept or 0.0
        left = max(0.0, 1 - kept) if self.rest else kept
        return 1 / math.sqrt(left) if self.rescale and left > SLACK else 1.0

    def _factors(self, matrix: WeightMatrix) -> Factors:
        if matrix.region not in self._known:
            self._known[matrix.region] = self._part(matrix)
        return self._known[matrix.region]

    def _part(self, matrix: WeightMatrix) -> Factors:
        base, tuned = sides_of(self.pair, matrix)
        delta, place = tuned - base, f"{matrix.region.tensor} {matrix.region.start}"
        if not bool(delta.any()):
            return Factors(delta[:, :0], delta[:0].T, 0.0, None)
        if self.seed is None:
            return _leading(delta, self.k)
        return _random(delta, self.k, np.random.default_rng([self.seed, *place.encode()]))

    def _matrices(self, name: str) -> list[WeightMatrix]:
        anatomy = self.anatomy()
        if name not in anatomy.cuts:
            raise unknown_name("tensor", name, anatomy.cuts)
        inside = [one for one in matrices_of(anatomy, name) if one.role == "whole"]
        return [one for one in inside if one.layer is not None]


def _leading(delta: torch.Tensor, k: int) -> Factors:
    """Return the part of Δ in its k leading directions; of a large one in those of a sketch."""
    if min(delta.shape) <= Options.largest:
        spectrum = gram(delta, rank=k)
    else:
        spectrum = sketch(delta, k + _OVERSAMPLED, np.random.default_rng(0), _ROUNDS)
    space = leading_of_rank(spectrum, k)
    return _inside(delta, (space.left if delta.shape[0] <= delta.shape[1] else space.right).clone())


def _random(delta: torch.Tensor, k: int, rng: np.random.Generator) -> Factors:
    """Return the part of Δ in a Haar-random subspace of its smaller side (Mezzadri 2007, math-ph/0609050).

    The span of the Q of a Gaussian matrix is Haar-distributed; its columns for a smaller k come first.
    """
    side = min(delta.shape)
    gaussian = torch.from_numpy(rng.standard_normal((min(k, side), side)))
    return _inside(delta, torch.linalg.qr(gaussian.T)[0])


def _inside(delta: torch.Tensor, basis: torch.Tensor) -> Factors:
    """Return the part of Δ in a subspace of its smaller side, given by an orthonormal basis (side, k)."""
    rows, columns = delta.shape
    left, right = (basis, delta.T @ basis) if rows <= columns else (delta @ basis, basis)
    norm, held = (float(torch.linalg.vector_norm(one)) for one in (delta, right if rows <= columns else left))
    return Factors(left, right, norm, (held / norm) ** 2)
