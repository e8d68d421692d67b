"""About how long measures of a pair take: what each item costs, and how fast this machine decomposes.

Constants are seconds of one core of a Xeon (Sapphire Rapids, AVX-512) on SmolLM2-135M in float32; another
machine's are taken to differ by one factor, which a small decomposition measures.
"""

from __future__ import annotations

import time
from functools import cache

from takeback.run.threads import cpu_threads

REFERENCE = 0.0105
"""Seconds that `machine_factor` measures where the constants come from."""

ITEM, MATRIX = 0.001, 0.005
"""Of each tensor, and of each matrix besides, whatever their size: what small models are made of."""

_PRODUCT = 0.17e-9
"""Of each multiplication in the products of a decomposition, with what goes on around them."""

_SIDE, _ROUNDS = 384, 3


def gram_seconds(shape: tuple[int, int]) -> float:
    """Return the time of decomposing one matrix by its Gram matrix.

    >>> round(gram_seconds((49152, 576)), 1), round(gram_seconds((576, 576)), 2)
    (1.4, 0.02)
    """
    return MATRIX / 10 + _PRODUCT / 2 * shape[0] * shape[1] * min(shape) + _PRODUCT / 4 * min(shape) ** 3


def sketch_seconds(shape: tuple[int, int], directions: int) -> float:
    """Return the time of a sketch of so many directions, refined twice: six products with the matrix."""
    return 6 * _PRODUCT / 2 * shape[0] * shape[1] * directions


@cache
def machine_factor(device: str = "cpu") -> float:
    """Measure how many times longer decompositions take here, by one thread, than in the constants."""
    import torch

    drawn = torch.randn(_SIDE, _SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix, times = drawn.to(device), list[float]()
    with cpu_threads(1):
        for _ in range(1 + _ROUNDS):
            began = time.perf_counter()
            torch.linalg.eigh(matrix.T @ matrix)[0].cpu()
            times.append(time.perf_counter() - began)
    return min(times[1:]) / REFERENCE
