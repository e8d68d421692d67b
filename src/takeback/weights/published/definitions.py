"""Published measures from tables of counts and ranks per tensor, in the arithmetic of their code."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import torch

SPARSITY = "sparsity, exact zeros (arXiv 2505.11711)"
TOLERANT = "sparsity, tolerance 1e-5 (arXiv 2505.11711)"
LAYERWISE = "layerwise sparsity (arXiv 2505.11711)"
UPDATE_RANK = "update rank (arXiv 2505.11711)"
RANK_1 = "rank-1 norm ratio (arXiv 2510.00553)"

_Row = tuple[str, str, float | None, float | None, str]


def definitions(tensors: pd.DataFrame) -> pd.DataFrame:
    """Return the published measures of a table of tensors, with the columns `published.COLUMNS`."""
    rows = [*_sparsity(tensors), *_layerwise(tensors), _update_rank(tensors), _rank_1(tensors)]
    names = ("definition", "scope", "value", "ours", "hides")
    found = pd.DataFrame(rows, columns=list(names))
    return found.astype({**dict.fromkeys(names, "string"), "value": "Float64", "ours": "Float64"})


def _sparsity(tensors: pd.DataFrame) -> Iterator[_Row]:
    total, nonzero, close, changed = (
        int(tensors[name].sum()) for name in ("parameters", "nonzero", "close", "changed")
    )
    zeros = total - nonzero
    still = 1 - changed / total
    yield (
        SPARSITY,
        "whole",
        zeros / total,
        still,
        f"Both sides are rounded to bfloat16 first, which hides most changes below about 0.2% of a weight: "
        f"{nonzero:,} of {total:,} entries change there, {changed:,} as stored. Ours: unchanged as stored.",
    )
    yield (
        TOLERANT,
        "whole",
        close / total,
        still,
        "One bfloat16 step is below the tolerance for weights under 2⁻⁹ (0.002) and above it for all others: "
        f"{close - zeros:,} entries that moved, all small weights, are called unchanged. Ours: unchanged as "
        "stored, at any size.",
    )


def _layerwise(tensors: pd.DataFrame) -> Iterator[_Row]:
    """Yield a row for each layer: the unweighted mean over its tensors, in the order of the live model."""
    summed = tensors.groupby("tensor", sort=False)[["parameters", "nonzero", "changed"]].sum()
    layers = tensors.groupby("tensor", sort=False)["layer"].first()
    for layer, group in summed.groupby(layers):
        counts = zip(group["nonzero"], group["parameters"], strict=True)
        densities = [int(nonzero) / int(total) for nonzero, total in counts]
        yield (
            LAYERWISE,
            f"layer {layer}",
            sum(densities) / len(densities),
            1 - int(group["changed"].sum()) / int(group["parameters"].sum()),
            "It is printed as sparsity but is the fraction that changed, and a norm's few entries weigh as "
            "much as a matrix. Ours: the fraction of the layer's entries that are unchanged as stored.",
        )


def _update_rank(tensors: pd.DataFrame) -> _Row:
    """Return the mean of rank / min(shape) in float32, as torch adds and divides its own integers."""
    ranked = tensors[tensors["rank"].notna()]
    parts = [
        torch.tensor(int(rank)) / int(full)
        for rank, full in zip(ranked["rank"], ranked["full_rank"], strict=True)
    ]
    value = float(sum(parts, torch.tensor(0)) / len(parts)) if parts else None
    moved = ranked[ranked["square"] > 0]
    shares = {
        name: _mean(moved[name] / moved["full_rank"]) for name in ("k90", "entropy_rank", "stable_rank")
    }
    told = ", ".join(
        f"{word} {'–' if share is None else f'{share:.1%}'}"
        for word, share in zip(("k90", "entropy rank", "stable rank"), shares.values(), strict=True)
    )
    return (
        UPDATE_RANK,
        "whole",
        value,
        shares["k90"],
        "matrix_rank counts every singular value above max(rows, columns) · 1.2e-7 · σ₁, so that a few "
        f"scattered rounded entries make nearly any Δ full rank. Of full rank, on average: {told}; a "
        "Gaussian's k90 is not full either (see spectra). Ours: k90 as stored over full rank, mean over "
        "matrices that changed.",
    )


def _rank_1(tensors: pd.DataFrame) -> _Row:
    """Return the mean over matrices of ‖Δ₁‖ / ‖Δ‖, as published, and the energy kept of all."""
    moved = tensors[tensors["inside"] & (tensors["square"] > 0)]
    ratio = (moved["leading"] / moved["square"]) ** 0.5
    whole = float(tensors["square"].sum())
    inside = float(moved["square"].sum())
    value = _mean(ratio)
    return (
        RANK_1,
        "whole",
        value,
        float(moved["leading"].sum()) / whole if whole else None,
        "Each matrix's rank-1 part is blown up to the norm of its whole change"
        + (f" (by {_mean(1 / ratio):.3g} on average)" if value else "")
        + ", and biases, norms and embeddings stay at base: "
        + (f"{1 - inside / whole:.1%} of ‖Δ‖²" if whole else "nothing changed")
        + ". Ours: share of the model's ‖Δ‖² that the rank-1 parts keep as they are.",
    )


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if len(values) else None
