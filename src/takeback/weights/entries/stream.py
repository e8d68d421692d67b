"""One pass over a pair of tensors, by blocks and by all cores, that sums every part at once.

Where the blocks are depends on the tensor alone, and their sums are added in order: the result has the same
bits for any number of threads, workers or shards.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.anatomy import Anatomy
from takeback.anatomy.anatomy import Cut
from takeback.checkpoint.flat import Flat, upcast
from takeback.run.errors import TakebackError
from takeback.run.threads import threads_in_use
from takeback.weights.entries.kernel import ROWS, SUMS, Matrix, SumSettings, column_sums, stretch_sums
from takeback.weights.entries.moments import TOLERANCES, Moments
from takeback.weights.work import PairWork

BLOCK, HELD_BLOCK = 1 << 21, 1 << 17
"""Entries of a block that is the file itself, and of one that takes memory."""

SMALL = 1 << 18
"""Tensors with fewer entries are summed in float64 throughout, which costs nothing there."""

NARROW = 16
"""Stretches of fewer entries, one in each line, are summed by column."""

_SIXTEEN_BITS = ("bfloat16", "float16")
READ_AS_STORED = (*_SIXTEEN_BITS, "float32", "float64")
_PEAK = SUMS.index("max_abs")
_SAFE = 2.0**-100
"""Below this mean square the squares of 16-bit numbers may have lost digits in float32."""


Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Pass(PairWork):
    """The work of a diff: for each tensor of a pair, the moments of each stretch that a component owns."""

    name = "diff"
    with_new_rows = True
    entry_seconds = 1.2e-9
    resolution: str
    tolerances: tuple[float, ...]

    def rows(self, item: str) -> pd.DataFrame:
        """Return the moments of the stretches of one tensor, in the order of its cuts.

        Raises:
            TakebackError: it holds a value that is not finite, or a file cannot be read any more.
        """
        sides = self.pair.base.flat(item), self.pair.tuned.flat(item)
        return tensor_moments(self.pair.anatomy(self.resolution), item, sides, self.tolerances).to_table()


def tensor_moments(
    anatomy: Anatomy, name: str, sides: tuple[Flat, Flat], tolerances: tuple[float, ...] = TOLERANCES
) -> Moments:
    """Return the moments of each stretch of one tensor that a component owns, in the order of its cuts.

    Raises:
        TakebackError: a side holds a value that is not finite, or a file cannot be read any more.
    """
    try:
        return stretch_moments(*sides, Stretches.of(anatomy.shapes[name], anatomy.cuts[name]), tolerances)
    except TakebackError as error:
        raise TakebackError(f"tensor {name} cannot be compared: {error}") from error


@dataclass(frozen=True)
class Stretches:
    """Says where the stretches of a tensor lie: seen as `lines` of `stride` entries each has them all.

    `edges` is (2, stretches), the first entry of each in a line and the one behind its last, in order.
    """

    lines: int
    stride: int
    edges: NDArray[np.int64]

    @classmethod
    def of(cls, shape: tuple[int, ...], cuts: Sequence[Cut]) -> Stretches:
        """Return where the cuts of a tensor, all on one axis, are in it."""
        axis = cuts[0].axis
        if axis is None:
            return cls(1, math.prod(shape), np.array([[0], [math.prod(shape)]]))
        inner = math.prod(shape[axis + 1 :])
        starts = np.concatenate([cut.start + cut.width * np.arange(cut.count) for cut in cuts])
        widths = np.concatenate([np.full(cut.count, cut.width) for cut in cuts])
        edges = np.stack([starts, starts + widths]) * inner
        return cls(math.prod(shape[:axis]), shape[axis] * inner, edges)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The number of entries of each stretch, in all lines."""
        return (self.edges[1] - self.edges[0]) * self.lines

    @property
    def narrow(self) -> bool:
        """Whether its stretches are so narrow that it is summed by column."""
        return self.lines > 1 and self.stride < NARROW * self.edges.shape[1]

    def blocks(self, size: int) -> Iterator[_Block]:
        """Yield blocks of about `size` entries: from where to where, and which stretches lie how in it."""
        if self.lines > 1:
            least = 8 * ROWS if self.narrow and size == BLOCK else 1
            many = max(least, size // self.stride)
            for line in range(0, self.lines, many):
                stop = min(line + many, self.lines)
                whole = Stretches(stop - line, self.stride, self.edges)
                yield line * self.stride, stop * self.stride, whole, slice(None)
            return
        for start in range(0, self.stride, size):
            stop = min(start + size, self.stride)
            first = int(np.searchsorted(self.edges[1], start, "right"))
            last = int(np.searchsorted(self.edges[0], stop, "left"))
            inside = np.clip(self.edges[:, first:last], start, stop) - start
            yield start, stop, Stretches(1, stop - start, inside), slice(first, last)


_Block = tuple[int, int, Stretches, slice]


def stretch_moments(
    base: Flat, tuned: Flat, stretches: Stretches, tolerances: tuple[float, ...] = TOLERANCES
) -> Moments:
    """Return the moments of each stretch, by as many threads as this process may use.

    W and W + Δ of two 16-bit types are exact in float32, and Δ is rounded to it once; sums of up to 128
    products are taken in float32 and added up in float64, which is right to 2e-7 for some hundred entries and
    to 3e-8 for many. For other types, and for small tensors, all of it is in float64. |Δ| as it is rounded is
    compared with a tolerance exactly.

    Raises:
        TakebackError: a side holds a value that is not finite, or a file cannot be read any more.
    """
    sums = np.zeros((stretches.edges.shape[1], len(SUMS) + len(tolerances)))
    blocks = stretches.blocks(BLOCK if base.mapped and tuned.mapped else HELD_BLOCK)

    def measured(block: _Block) -> tuple[slice, NDArray[np.float64]]:
        start, stop, inside, which = block
        sides = (base.block(start, stop), tuned.block(start, stop))
        return which, _block_sums(sides, (base.element, tuned.element), inside, tolerances)

    for which, part in _in_order(measured, blocks, threads_in_use()):
        _add(part, sums, which)
    if tuned.element != "float16" or base.element == "float16":
        uncast = "differing_bf16" if tuned.element == "bfloat16" else "differing"
        sums[:, SUMS.index("off_cast")] = sums[:, SUMS.index(uncast)]
    return _moments(sums, stretches.sizes, tolerances)


def way_of_reading(base: Flat, tuned: Flat) -> str:
    """Return how a tensor is read: "as stored", or by blocks that are "merged" or "upcast" one at a time."""
    if any(side.element not in READ_AS_STORED for side in (base, tuned)):
        return "upcast"
    return "as stored" if base.mapped and tuned.mapped else "merged"


def _in_order(call: Callable[[_Block], Value], blocks: Iterator[_Block], threads: int) -> Iterator[Value]:
    """Yield what a call gives for each block, in their order, a few blocks ahead at most."""
    if threads == 1:
        yield from map(call, blocks)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Value]] = deque()
        for block in blocks:
            waiting.append(pool.submit(call, block))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _block_sums(
    sides: tuple[NDArray[Any], NDArray[Any]],
    elements: tuple[str, str],
    inside: Stretches,
    tolerances: tuple[float, ...],
) -> NDArray[np.float64]:
    """Return the sums of each stretch of a block; what float32 can't hold is done again in float64."""
    short = all(element in _SIXTEEN_BITS for element in elements)
    if sides[0].size >= SMALL and all(element in READ_AS_STORED for element in elements):
        real = np.float32 if short else np.float64
        sums = _sums(sides, inside, _arithmetic(real, tolerances, elements))
        if _trustworthy(sums, inside, short):
            return sums
    how = _arithmetic(np.float64, tolerances, elements)
    sums = np.zeros((inside.edges.shape[1], how.kinds))
    for start, stop, within, which in inside.blocks(HELD_BLOCK):
        wide = [upcast(side[start:stop], element) for side, element in zip(sides, elements, strict=True)]
        part = _sums((wide[0], wide[1]), within, how)
        if not np.isfinite(part).all():
            raise TakebackError(_not_finite(*wide))
        _add(part, sums, which)
    return sums


def _add(part: NDArray[np.float64], sums: NDArray[np.float64], which: slice) -> None:
    peaks = np.maximum(sums[which, _PEAK], part[:, _PEAK])
    sums[which] += part
    sums[which, _PEAK] = peaks


@cache
def _arithmetic(
    real: type[np.float32] | type[np.float64], tolerances: tuple[float, ...], elements: tuple[str, str]
) -> SumSettings:
    limits = np.array([_at_most(tolerance, real) for tolerance in tolerances], real)
    halving = elements[1] == "float16" != elements[0]
    return SumSettings(real(1), limits, elements != ("bfloat16", "bfloat16"), halving)


def _sums(
    sides: tuple[NDArray[Any], NDArray[Any]], inside: Stretches, how: SumSettings
) -> NDArray[np.float64]:
    edges = inside.edges
    matrix = Matrix(*sides, inside.lines, inside.stride, edges)
    if inside.narrow:
        columns, first = column_sums(matrix, how), edges[0] - edges[0, 0]
        with np.errstate(invalid="ignore"):  # a sum that overflowed is made again, or told
            sums = np.add.reduceat(columns, first, 1).T
        sums[:, _PEAK] = np.maximum.reduceat(columns[_PEAK], first)
    else:
        sums = stretch_sums(matrix, how)
    if not how.rounding:
        sums[:, SUMS.index("differing_bf16")] = sums[:, SUMS.index("differing")]
    return sums


def _at_most(tolerance: float, real: type[np.float32] | type[np.float64]) -> Any:
    """Return the largest number of a type that is no larger: what exceeds the one exceeds the other."""
    nearest = real(tolerance)
    return nearest if float(nearest) <= tolerance else np.nextafter(nearest, real(0))


def _trustworthy(sums: NDArray[np.float64], inside: Stretches, short: bool) -> bool:
    """Return whether nothing overflowed and, if `short`, no square was too small for float32."""
    if not np.isfinite(sums).all():
        return False
    if not short:
        return True
    base, tuned, delta, moved = (
        sums[:, SUMS.index(name)] for name in ("base_square", "tuned_square", "delta_square", "delta_sum")
    )
    floor = _SAFE * inside.sizes
    return bool(((base >= floor) & (tuned >= floor) & ((delta >= floor) | (moved == 0))).all())


def _moments(sums: NDArray[np.float64], sizes: NDArray[np.int64], tolerances: tuple[float, ...]) -> Moments:
    found = {name: sums[:, place] for place, name in enumerate(SUMS)}
    return Moments(
        tolerances,
        parameters=sizes,
        differing=found["differing"].astype(np.int64),
        differing_bf16=found["differing_bf16"].astype(np.int64),
        sign_flips=found["sign_flips"].astype(np.int64),
        off_cast=found["off_cast"].astype(np.int64),
        beyond=sums[:, len(SUMS) :].astype(np.int64),
        base_square=found["base_square"],
        tuned_square=found["tuned_square"],
        product=found["product"],
        delta_square=found["delta_square"],
        delta_sum=found["delta_sum"],
        max_abs=found["max_abs"],
    )


def _not_finite(*sides: NDArray[np.float64]) -> str:
    for role, side in zip(("base", "tuned"), sides, strict=True):
        if not np.isfinite(side).all():
            return f"{role} holds {'NaN' if np.isnan(side).any() else 'an infinite value'}"
    return "values are too large for their squares to be summed"
