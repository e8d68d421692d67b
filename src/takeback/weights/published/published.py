"""Published definitions under their own names, computed as their code does, beside ours and what they hide.

Sparsity and update rank: Mukherjee et al. 2025, "Reinforcement Learning Finetunes Small Subnetworks in Large
Language Models", arXiv 2505.11711 (`check_sparsity.py` and `update_rank.py` of its public code, default
settings). Rank-1 part: Cai et al. 2025, arXiv 2510.00553; see `lowrank` for the model itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from takeback.anatomy import anatomy_of
from takeback.anatomy.source import parameters_of
from takeback.checkpoint.pair import Pair
from takeback.checkpoint.weights import all_finite
from takeback.draw.result import Result, as_table
from takeback.run.errors import TakebackError
from takeback.run.jobs import Workers
from takeback.run.parts import collect
from takeback.weights.cost import gram_seconds
from takeback.weights.published.definitions import definitions
from takeback.weights.spectra.rank import gram, ranks
from takeback.weights.work import PairWork

COLUMNS: Mapping[str, str] = {
    "definition": "the published measure, by the name and paper it is known under",
    "scope": "whole, or the layer",
    "value": "what the published code computes, to the last digit",
    "ours": "the comparable number that we would give, described in `hides`",
    "hides": "what the published number hides, and what ours is",
}
"""What each column of the table means; a value that can't be had is missing."""

TENSOR_COLUMNS: Mapping[str, str] = {
    "tensor": "the tensor's name in the live model",
    "slice": "the place of a matrix in a stack of them, missing elsewhere",
    "layer": "the number that the published code takes from a name that begins with model.layers",
    "inside": "whether it is a matrix of a layer, which rank-k models change",
    "parameters": "entries",
    "nonzero": "entries with Δ ≠ 0, both sides rounded to bfloat16 and subtracted there",
    "close": "entries with |Δ| within the tolerance 1e-5, which bfloat16 rounds to 1.0014e-5",
    "changed": "entries that differ as stored",
    "rank": "torch.linalg.matrix_rank of Δ in bfloat16; missing where the published code takes none",
    "full_rank": "min(rows, columns) of a matrix",
    "k90": "directions that hold 90% of ‖Δ‖², as stored",
    "stable_rank": "‖Δ‖² / σ₁², as stored",
    "entropy_rank": "exp of the entropy of σ² / Σσ², as stored",
    "square": "‖Δ‖², as stored",
    "leading": "σ₁² of Δ, as stored",
}
"""What each column of `Published.tensors` means."""

TOLERANCE = 1e-5
"""The default tolerance of `check_sparsity.py`."""

_ROUNDED = 8.0
"""Units of σ₁ by which a decomposition in float32 may be off, for each root of the longer side."""

_LAYER = re.compile(r"model\.layers[^.]*\.([^.]+)")


@dataclass(frozen=True, eq=False)
class PublishedWork(PairWork):
    """Is the work of counting and decomposing every tensor's change for the published definitions."""

    name = "published"
    entry_seconds = 5e-9
    device: str = "cpu"

    def seconds(self, item: str) -> float:
        """Return about how long one tensor takes: two decompositions of each matrix."""
        found = 0.0
        for name in (name for parts in self._live[item] for name in parts):
            found += super().seconds(name)
            if len(shape := self.pair.tuned.shapes[name]) > 1:
                found += 2 * math.prod(shape[:-2]) * gram_seconds((shape[-2], shape[-1]))
        return found

    def items(self) -> Sequence[str]:
        """Return the tensors in the order of the live model, on which sums depend in their last digits."""
        return list(self._live)

    def rows(self, item: str) -> pd.DataFrame:
        """Return one tensor's row, or one for each matrix that it stacks.

        Raises:
            TakebackError: the tensor holds a value that is not finite, or a file cannot be read any more.
        """
        found = _LAYER.match(item)
        keys = {"tensor": item, "layer": None if found is None else int(found[1])}
        slices = self._slices(item)
        rows: list[dict[str, Any]] = []
        for place, (base, tuned) in enumerate(slices):
            if not (all_finite(base) and all_finite(tuned)):
                raise TakebackError(f"tensor {item} holds a value that is not finite")
            keys["slice"] = place if len(slices) > 1 else None
            placed = base.to(self.device), tuned.to(self.device)
            found_ranks = _ranks(*placed, "layernorm" not in item) if base.ndim == 2 else {}
            inside = base.ndim == 2 and self._layered(item)
            rows.append({**keys, **_counts(base, tuned), **found_ranks, "inside": inside})
        return _typed(rows)

    def _slices(self, item: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Read both sides of a live tensor, of a stack slice by slice."""
        joined = [
            [torch.cat([_wide(side.read(part)) for part in parts]) for parts in self._live[item]]
            for side in (self.pair.base, self.pair.tuned)
        ]
        if joined[0][0].ndim == 3:
            joined = [list(side[0]) for side in joined]
        return list(zip(*joined, strict=True))

    def _layered(self, item: str) -> bool:
        owner, _ = self.pair.anatomy().of_tensor(self._live[item][0][0])[0]
        return owner.layer is not None

    @cached_property
    def _live(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """The live model's tensors in its order, each with the stored ones that its slices consist of."""
        from transformers import AutoModelForCausalLM

        if self.pair.tuned.config is None:
            return {name: ((name,),) for name in self.pair.tuned.shapes}
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(self.pair.tuned.config, trust_remote_code=False)
        stored = anatomy_of(model).stored
        return {
            name: ((name,),) if name in self.pair.tuned.shapes else stored[name]
            for name in parameters_of(model)
        }


@dataclass(frozen=True, eq=False, repr=False)
class Published(Result):
    """Holds the published measures of a pair in `table`, and what they sum in `tensors`."""

    name = "published"
    table: pd.DataFrame = field(metadata=as_table("published", COLUMNS))
    tensors: pd.DataFrame = field(metadata=as_table("published-tensors", TENSOR_COLUMNS))


def published(
    pair: Pair,
    out: str | Path | None = None,
    workers: Workers = 1,
    threads: int | None = 1,
    device: str = "cpu",
) -> Published:
    """Compute the published measures of a pair as their code does, one tensor at a time.

    Each matrix is decomposed on its smaller side, on a device: 4096 × 4096 takes ten seconds on one core.

    Raises:
        TakebackError: a tensor holds a value that is not finite, a file cannot be read any more, several
            workers without `out`, or parts of another comparison in `out`.
    """
    tensors = collect(PublishedWork(pair, device), out, workers, threads)
    return Published(str(pair), definitions(tensors), tensors)


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in a type that torch calculates with: 8-bit numbers, exactly, as bfloat16."""
    return tensor if tensor.element_size() > 1 else tensor.to(torch.bfloat16)


def _change(base: torch.Tensor, tuned: torch.Tensor) -> torch.Tensor:
    """Return tuned minus base in float64."""
    return tuned.to(torch.float64, copy=True).sub_(base)


def _counts(base: torch.Tensor, tuned: torch.Tensor) -> dict[str, float]:
    """Count entries as `check_sparsity.py` does, in bfloat16, and as they are stored."""
    delta = tuned.to(torch.bfloat16) - base.to(torch.bfloat16)
    return {
        "parameters": delta.numel(),
        "nonzero": int((delta != 0).sum()),
        "close": int(torch.isclose(delta, torch.zeros_like(delta), atol=TOLERANCE).sum()),
        "changed": int((tuned != base).sum()),
        "square": float(torch.linalg.vector_norm(_change(base, tuned))) ** 2,
    }


def matrix_rank(matrix: torch.Tensor) -> int:
    """Return what `torch.linalg.matrix_rank` does, by a decomposition only where it must be.

    It counts the float32 values above max(rows, columns) · 2⁻²³ · σ₁. Those of the Gram matrix in float64 say
    the same unless one lies so near that line that float32 may see it on the other side.
    """
    values = gram(matrix.double()).values
    unit = torch.finfo(torch.float32).eps * float(values[0])
    line = max(matrix.shape) * unit
    near = _ROUNDED * math.sqrt(max(matrix.shape)) * unit
    if not line or ((values > line - near) & (values < line + near)).any():
        return int(torch.linalg.matrix_rank(matrix.float().cpu()))
    return int((values > line).sum())


def _ranks(base: torch.Tensor, tuned: torch.Tensor, published: bool) -> dict[str, float | None]:
    """Return the rank as `update_rank.py` takes it, and ours of Δ as stored, None where that is zero."""
    rounded = tuned.to(torch.bfloat16) - base.to(torch.bfloat16)
    rank = matrix_rank(rounded) if published else None
    found: dict[str, float | None] = {"rank": rank, "full_rank": min(base.shape)}
    delta = _change(base, tuned)
    if not bool(delta.any()):
        return found
    spectrum = gram(delta)
    return {**found, **ranks(spectrum), "leading": float(spectrum.values[0]) ** 2}


def _typed(rows: list[dict[str, Any]]) -> pd.DataFrame:
    kinds = dict.fromkeys(TENSOR_COLUMNS, "Int64") | {"tensor": "string"}
    kinds |= {"inside": "boolean"}
    kinds |= dict.fromkeys(("k90", "stable_rank", "entropy_rank", "square", "leading"), "Float64")
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows], dtype=kinds[name]) for name in kinds}
    )
