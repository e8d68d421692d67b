"""The rank-k part of a change as a model: base with each matrix's Δ replaced by its k leading directions.

Cai et al. 2025, "On Predictability of Reinforcement Learning Dynamics for Large Language Models",
arXiv 2510.00553; the measure of "recovery" there is behavioural: write the model and run it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from takeback.checkpoint.pair import Pair
from takeback.weights.spectra.directions import Factors, LowRank
from takeback.weights.spectra.matrices import WeightMatrix


@dataclass(frozen=True, eq=False)
class RankK(LowRank):
    """Is the model W + α c Δ_k, where Δ_k is the rank-k truncation of Δ and c is 1, or ‖Δ‖ / ‖Δ_k‖.

    To write it, take everything back from it: `hybrid(pair, universe, source=this)`.
    """

    alpha: float = 1.0
    cast: bool = False

    @property
    def ref(self) -> str:
        """What it is made of, in words."""
        factor = f"{self.alpha:g} × " if self.alpha != 1 else ""
        scaled = ", rescaled to ‖Δ‖" if self.rescale else ""
        return f"{self.pair.base.ref} + {factor}rank-{self.k} part of {self.pair.tuned.ref}'s Δ{scaled}"

    def _changed(self, matrix: WeightMatrix, base: torch.Tensor, tuned: torch.Tensor) -> torch.Tensor:
        """Return W + α c Δ_k, or as published, with every step in the stored type."""
        if not self.cast or not self._factors(matrix).norm:
            return super()._changed(matrix, base, tuned)
        dtype = self.pair.base.dtypes[matrix.region.tensor]
        part = _published_change(tuned.double() - base.double(), self, dtype)
        return base.to(dtype) + self.alpha * part

    def _factor(self, known: Factors) -> float:
        return self.alpha * super()._factor(known)


def rank_k(pair: Pair, k: int, alpha: float = 1.0, rescale: bool = True, cast: bool = False) -> RankK:
    """Return the model that has only the k leading directions of each matrix's change.

    The published model is `rescale=True`: every matrix's part is blown up to the norm of its whole change,
    which amplifies. With `cast` U, S and V are rounded to the stored type before they are multiplied, as
    published. No weights are read yet.

    Raises:
        TakebackError: k is below 1.
    """
    return RankK(pair, k, rescale=rescale, alpha=alpha, cast=cast)


def _published_change(delta: torch.Tensor, made: RankK, dtype: torch.dtype) -> torch.Tensor:
    """Return c Δ_k with U, S and V rounded to `dtype` before every product, as published."""
    left, values, right = (part.to(dtype) for part in torch.linalg.svd(delta, full_matrices=False))
    part = left[:, : made.k] @ torch.diag(values[: made.k]) @ right[: made.k]
    if not made.rescale:
        return part
    whole = left @ torch.diag(values) @ right
    return (torch.linalg.vector_norm(whole) / torch.linalg.vector_norm(part)) * part
