"""Sums over the entries of two tensors, by loops that numba compiled; nothing else here may know of those.

An array's type says how its entries are stored: uint16 holds the bits of bfloat16, int16 those of float16,
float32 and float64 are themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from takeback.run.machine_code import machine_code

SUMS = (
    "base_square",
    "tuned_square",
    "product",
    "delta_square",
    "delta_sum",
    "max_abs",
    "differing",
    "differing_bf16",
    "sign_flips",
    "off_cast",
)
"""What each row of sums holds, before the counts beyond each limit; `max_abs` is the one that is no sum."""

CHUNK = 128
"""Entries whose sums are taken in the type of the arithmetic before they are added up in float64."""

PIECE = 2048
"""Entries worked on at once, so that they stay in the first cache; a multiple of `CHUNK`."""

AHEAD = 1024
"""How far ahead of what is worked on entries are asked for: further than a processor does by itself."""

LINE = 64
"""Bytes that come from memory at once."""

TILE = 512
"""Columns worked on at once where each has sums of its own."""

ROWS = 8
"""Rows of a tile whose sums are taken in the type of the arithmetic before they are added up in float64."""

LEAST_EXPONENT = -1074
"""The binary exponent of the smallest float64."""

STEP_SHAPE = (2 + 1023 - LEAST_EXPONENT + 1, 18)
"""Rows of steps: zero, each exponent, and what is not finite; columns: 0, 1, 2, 3 to 4, 5 to 8, … steps."""

_LOOPS = "takeback.weights.entries.loops"


@dataclass(frozen=True)
class SumSettings:
    """How sums are taken: in the type of `one`, with the |Δ| beyond each of `limits` counted.

    `rounding` says whether the counts after rounding to bfloat16 may differ from those before, `halving`
    whether tuned is float16 and base is not: only then entries that are not base's, rounded to float16, are
    counted as `off_cast`.
    """

    one: np.float32 | np.float64
    limits: NDArray[Any]
    rounding: bool
    halving: bool = False

    @property
    def kinds(self) -> int:
        """How many sums there are of each stretch or column."""
        return len(SUMS) + len(self.limits)


@dataclass(frozen=True)
class Matrix:
    """Two tensors seen as `lines` of `stride` entries, and what lies between `edges` in each line.

    `edges` is (2, stretches): the first entry of each stretch in a line and the one behind its last.
    """

    base: NDArray[Any]
    tuned: NDArray[Any]
    lines: int
    stride: int
    edges: NDArray[np.int64]


def stretch_sums(matrix: Matrix, how: SumSettings) -> NDArray[np.float64]:
    """Return the sums over each stretch, (stretches, kinds)."""
    edges, real = matrix.edges, how.limits.dtype
    out = np.zeros((edges.shape[1], how.kinds))
    widest = int((edges[1] - edges[0]).max())
    scratch = np.empty(PIECE, real), np.empty(PIECE, matrix.base.dtype), np.empty(PIECE, matrix.tuned.dtype)
    _called("stretch_sums", matrix, how, widest, (*scratch, out))
    return out


def column_sums(matrix: Matrix, how: SumSettings) -> NDArray[np.float64]:
    """Return the sums over each column from the first edge to the last, (kinds, columns)."""
    width, real = int(matrix.edges[1, -1] - matrix.edges[0, 0]), how.limits.dtype
    out = np.zeros((how.kinds, width))
    _called("column_sums", matrix, how, width, (np.zeros(how.kinds * TILE, real), np.empty(TILE, real), out))
    return out


def step_counts(base: NDArray[Any], tuned: NDArray[Any], counts: NDArray[np.int64]) -> None:
    """Add to `counts`, of `STEP_SHAPE`, how many entries of each size moved how many steps of bfloat16."""
    base, tuned = map(np.ascontiguousarray, (base, tuned))
    assert counts.shape == STEP_SHAPE
    told = [_typed(base), _typed(tuned), ("int64", int(base.size)), _typed(counts)]
    code = machine_code(_LOOPS, "step_counts", *(kind for kind, _ in told))
    code(*(value for _, value in told))


def _called(
    name: str, matrix: Matrix, how: SumSettings, extent: int, scratch: tuple[NDArray[Any], ...]
) -> None:
    """Call a loop with arrays as their addresses; it reads and writes nothing beyond what is told here."""
    base, tuned, edges = map(np.ascontiguousarray, (matrix.base, matrix.tuned, matrix.edges))
    whole, real, stretches = "int64", str(how.limits.dtype), edges.shape[1]
    first = [_typed(base), _typed(tuned), (whole, matrix.lines), (whole, matrix.stride), _typed(edges)]
    numbers = [(whole, how.kinds), (whole, int(how.rounding) + 2 * int(how.halving)), (whole, extent)]
    settings = [(whole, stretches), (real, float(how.one)), _typed(how.limits), *numbers]
    types, values = zip(*first, *settings, *map(_typed, scratch), strict=True)
    machine_code(_LOOPS, name, *types)(*values)


def _typed(array: NDArray[Any]) -> tuple[str, int]:
    return f"*{array.dtype}", array.ctypes.data
