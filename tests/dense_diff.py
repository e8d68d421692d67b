"""The slow, obvious reference of a diff: all entries at once, in numpy's float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

TOLERANCES = {"changed_1e5": 1e-5, "changed_1e3": 1e-3}


def rounded_to_bf16(values: np.ndarray) -> np.ndarray:
    """Round to the nearest, ties to even, by the bits: bfloat16 is the upper half of a float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    kept = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16
    return kept.astype(np.uint32).view(np.float32)


def dense(base: torch.Tensor, tuned: torch.Tensor) -> dict[str, Any]:
    """Return every measure of a part but its share; None where one is missing."""
    w, v = (side.double().numpy().ravel() for side in (base, tuned))
    delta = v - w
    halves = [rounded_to_bf16(side.float().numpy().ravel()) for side in (base, tuned)]
    norms = [math.sqrt(math.fsum(values**2)) for values in (delta, w, v)]
    return {
        "parameters": w.size,
        "delta_norm": norms[0],
        "base_norm": norms[1],
        "relative": norms[0] / norms[1] if norms[1] else None,
        "changed_bitwise": np.mean(w != v),
        "changed_bf16": np.mean(halves[0] != halves[1]),
        **{name: np.mean(np.abs(delta) > tolerance) for name, tolerance in TOLERANCES.items()},
        "sign_flips": np.mean(np.sign(w) * np.sign(v) < 0),
        "max_abs": np.abs(delta).max(),
        "mean_abs": math.fsum(np.abs(delta)) / w.size,
        "cosine": math.fsum(w * v) / norms[1] / norms[2] if norms[1] and norms[2] else None,
    }
