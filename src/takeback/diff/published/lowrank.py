"""The rank-k part of a change as a model: base with each matrix's Δ replaced by its k leading directions.

Cai et al. 2025, "On Predictability of Reinforcement Learning Dynamics for Large Language Models",
arXiv 2510.00553; the measure of "recovery" there is behavioural: write the model and run it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedConfig

from takeback.anatomy import Anatomy, Region
from takeback.checkpoint.pair import Pair
from takeback.checkpoint.weights import weights_digest
from takeback.diff.spectra.matrices import Matrix, matrices_of, sides_of
from takeback.diff.spectra.rank import exact, sketch
from takeback.diff.spectra.shape import Options
from takeback.diff.spectra.subspaces import leading_of_rank
from takeback.errors import TakebackError, unknown_name

COLUMNS: Mapping[str, str] = {
    "tensor": "the tensor's name",
    "slice": "the place of a matrix in a stack of them, missing elsewhere",
    "delta_norm": "‖Δ‖, Frobenius norm of the change",
    "kept": "share of ‖Δ‖² that its k leading directions hold, missing where nothing changed",
    "factor": "what the k directions are multiplied with: α, or α ‖Δ‖ / ‖Δ_k‖ when rescaled",
}
"""What each column of `RankK.table` means."""


_OVERSAMPLED, _ROUNDS = 32, 8
"""Directions of a large matrix's sketch besides the k, and how often it is refined."""


@dataclass(frozen=True, slots=True)
class _Factors:
    """Holds the rank-k part of one matrix's Δ: `left` (rows, k) has the singular values multiplied in."""

    left: torch.Tensor
    right: torch.Tensor
    norm: float
    kept: float | None


@dataclass(frozen=True, eq=False)
class RankK:
    """Is the model W + α c Δ_k, where Δ_k is the rank-k truncation of Δ and c is 1, or ‖Δ‖ / ‖Δ_k‖.

    Only the matrices of the layers change; `left_at_base` names the tensors that stay as base has them. It
    reads like a checkpoint; to write it, take everything back from it: `hybrid(pair, universe, source=this)`.
    It keeps the k leading directions of each matrix once they were asked for, never whole matrices.
    """

    pair: Pair
    k: int
    alpha: float = 1.0
    rescale: bool = True
    cast: bool = False
    _known: dict[Region, _Factors] = field(default_factory=dict[Region, _Factors], repr=False)

    @property
    def ref(self) -> str:
        """What it is made of, in words."""
        factor = f"{self.alpha:g} × " if self.alpha != 1 else ""
        scaled = ", rescaled to ‖Δ‖" if self.rescale else ""
        return f"{self.pair.base.ref} + {factor}rank-{self.k} part of {self.pair.tuned.ref}'s Δ{scaled}"

    @property
    def config(self) -> PreTrainedConfig | None:
        """Base's settings."""
        return self.pair.base.config

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each tensor by canonical name."""
        return self.pair.base.shapes

    @property
    def dtypes(self) -> Mapping[str, torch.dtype]:
        """The element type of each tensor, as base stores it."""
        return self.pair.base.dtypes

    @property
    def digest(self) -> str:
        """The content hash of the weights."""
        return self._digest

    @property
    def left_at_base(self) -> tuple[str, ...]:
        """The tensors that are base's: vectors, embeddings, and what lies outside the layers."""
        return tuple(name for name in self.shapes if not self._matrices(name))

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row of `COLUMNS` for each matrix that changes."""
        rows: list[dict[str, object]] = []
        for matrix in (matrix for name in self.shapes for matrix in self._matrices(name)):
            known = self._factors(matrix)
            sizes = {"delta_norm": known.norm, "kept": known.kept, "factor": self._factor(known)}
            rows.append({"tensor": matrix.region.tensor, "slice": matrix.slice, **sizes})
        kinds = {"slice": "Int64", "delta_norm": "Float64", "kept": "Float64", "factor": "Float64"}
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype(kinds)

    def read(self, name: str) -> torch.Tensor:
        """Read one tensor; it must not be written to.

        Raises:
            UnknownName: there is no such tensor.
            TakebackError: it holds a value that is not finite, or a file cannot be read any more.
        """
        base, matrices = self.pair.base.read(name), self._matrices(name)
        if not matrices:
            return base
        made = base.clone()
        for matrix in matrices:
            made[matrix.region.index] = self._changed(matrix, base).reshape(made[matrix.region.index].shape)
        return made

    def read_region(self, region: Region) -> torch.Tensor:
        """Read one stretch of a tensor.

        Raises:
            UnknownName: there is no such tensor.
            TakebackError: it holds a value that is not finite, or a file cannot be read any more.
        """
        return self.read(region.tensor)[region.index]

    def anatomy(self, resolution: str = "heads") -> Anatomy:
        """Return which entries belong to which component, at the resolution "heads" or "neurons"."""
        return self.pair.base.anatomy(resolution)

    @cached_property
    def _digest(self) -> str:
        return weights_digest(self)

    def _matrices(self, name: str) -> list[Matrix]:
        anatomy = self.anatomy()
        if name not in anatomy.cuts:
            raise unknown_name("tensor", name, anatomy.cuts)
        inside = [one for one in matrices_of(anatomy, name) if one.role == "whole"]
        return [one for one in inside if one.layer is not None]

    def _changed(self, matrix: Matrix, base: torch.Tensor) -> torch.Tensor:
        """Return W + α c Δ_k, computed in float32 (or wider), or as published in the stored type."""
        before, known = base[matrix.region.index].reshape(matrix.shape), self._factors(matrix)
        if not known.norm:
            return before
        if self.cast:
            return before + self.alpha * _published_change(self._delta(matrix), self, before.dtype)
        wide = torch.promote_types(before.dtype, torch.float32)
        change = known.left.to(wide) @ known.right.to(wide).T
        return (before.to(wide) + self._factor(known) * change).to(before.dtype)

    def _factor(self, known: _Factors) -> float:
        return self.alpha / math.sqrt(known.kept) if self.rescale and known.kept else self.alpha

    def _factors(self, matrix: Matrix) -> _Factors:
        if matrix.region not in self._known:
            self._known[matrix.region] = _truncated(self._delta(matrix), self.k)
        return self._known[matrix.region]

    def _delta(self, matrix: Matrix) -> torch.Tensor:
        base, tuned = sides_of(self.pair, matrix)
        return tuned - base


def rank_k(pair: Pair, k: int, alpha: float = 1.0, rescale: bool = True, cast: bool = False) -> RankK:
    """Return the model that has only the k leading directions of each matrix's change.

    The published model is `rescale=True`: every matrix's part is blown up to the norm of its whole change,
    which amplifies. With `cast` U, S and V are rounded to the stored type before they are multiplied, as
    published. No weights are read yet.

    Raises:
        TakebackError: k is below 1.
    """
    if k < 1:
        raise TakebackError(f"a rank-{k} part of a change has no directions; k is 1 or more")
    return RankK(pair, k, alpha, rescale, cast)


def _truncated(delta: torch.Tensor, k: int) -> _Factors:
    """Return the k leading directions of Δ; of a large one those of a sketch, which hold what `kept` says."""
    if min(delta.shape) <= Options.largest:
        spectrum = exact(delta)
    else:
        spectrum = sketch(delta, k + _OVERSAMPLED, np.random.default_rng(0), _ROUNDS)
    space = leading_of_rank(spectrum, k) if spectrum.square else None
    if space is None:
        return _Factors(delta[:, :0], delta[:0].T, 0.0, None)
    left = space.left * torch.from_numpy(spectrum.values[:k])
    return _Factors(left.clone(), space.right.clone(), math.sqrt(spectrum.square), space.energy)


def _published_change(delta: torch.Tensor, made: RankK, dtype: torch.dtype) -> torch.Tensor:
    """Return c Δ_k with U, S and V rounded to `dtype` before every product, as published."""
    left, values, right = (part.to(dtype) for part in torch.linalg.svd(delta, full_matrices=False))
    part = left[:, : made.k] @ torch.diag(values[: made.k]) @ right[: made.k]
    if not made.rescale:
        return part
    whole = left @ torch.diag(values) @ right
    return (torch.linalg.vector_norm(whole) / torch.linalg.vector_norm(part)) * part
