"""Sums over the entries of a weight change; they add, so every level of a diff sums the same numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from takeback.errors import TakebackError

TOLERANCE = 1e-5
"""Entries that move by no more are unchanged in `changed_1e5` (Mukherjee et al. 2025, arXiv 2505.11711)."""

_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Moments:
    """Counts and sums over some entries W of base and W + Δ of tuned; two of them add, for disjoint entries.

    >>> one, other = Moments(2, 1, 1, 0, 9.0, 16.0, 25.0, 20.0, 3.0), Moments(parameters=1, base_square=9.0)
    >>> total = one + other
    >>> total.parameters, total.delta_norm, total.relative, total.changed_bitwise
    (3, 3.0, 0.6, 0.333...)
    """

    parameters: int = 0
    differing: int = 0
    differing_bf16: int = 0
    beyond_tolerance: int = 0
    delta_square: float = 0.0
    base_square: float = 0.0
    tuned_square: float = 0.0
    product: float = 0.0
    max_abs: float = 0.0

    def __add__(self, other: Moments) -> Moments:
        return total([self, other])

    @property
    def delta_norm(self) -> float:
        """‖Δ‖, the Frobenius norm of the change."""
        return math.sqrt(self.delta_square)

    @property
    def base_norm(self) -> float:
        """‖W‖, the Frobenius norm before the change."""
        return math.sqrt(self.base_square)

    @property
    def relative(self) -> float | None:
        """‖Δ‖ / ‖W‖, None where W is zero."""
        return self.delta_norm / self.base_norm if self.base_square else None

    @property
    def changed_bitwise(self) -> float | None:
        """The fraction of entries whose stored value differs, with 0 and -0 equal, over types exactly."""
        return self._fraction(self.differing)

    @property
    def changed_bf16(self) -> float | None:
        """The fraction of entries that differ after both sides are rounded to bfloat16."""
        return self._fraction(self.differing_bf16)

    @property
    def changed_1e5(self) -> float | None:
        """The fraction of entries with |Δ| > 1e-5, the tolerance of arXiv 2505.11711."""
        return self._fraction(self.beyond_tolerance)

    @property
    def cosine(self) -> float | None:
        """The cosine of the angle between W and W + Δ as vectors, None where one is zero."""
        if not (self.base_square and self.tuned_square):
            return None
        return max(-1.0, min(1.0, self.product / math.sqrt(self.base_square * self.tuned_square)))

    def share(self, whole: Moments) -> float | None:
        """Return this part of the whole's ‖Δ‖², None where nothing changed at all."""
        return self.delta_square / whole.delta_square if whole.delta_square else None

    def _fraction(self, count: int) -> float | None:
        return count / self.parameters if self.parameters else None


def total(parts: Iterable[Moments]) -> Moments:
    """Add moments of disjoint entries: counts exactly, sums with one rounding at the end."""
    parts = list(parts)
    return Moments(
        parameters=sum(part.parameters for part in parts),
        differing=sum(part.differing for part in parts),
        differing_bf16=sum(part.differing_bf16 for part in parts),
        beyond_tolerance=sum(part.beyond_tolerance for part in parts),
        delta_square=math.fsum(part.delta_square for part in parts),
        base_square=math.fsum(part.base_square for part in parts),
        tuned_square=math.fsum(part.tuned_square for part in parts),
        product=math.fsum(part.product for part in parts),
        max_abs=max((part.max_abs for part in parts), default=0.0),
    )


@dataclass(frozen=True, slots=True)
class Lines:
    """Holds the moments of each line of a tensor: of each index on one axis, over all other axes.

    `counts` is (3, lines), `sums` (4, lines), `peaks` (lines,); a line has `width` entries.
    """

    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    peaks: NDArray[np.float64]
    width: int

    def stretch(self, start: int, stop: int) -> Moments:
        """Return the moments of the lines from `start` to before `stop`."""
        if stop <= start:
            return Moments()
        differing, differing_bf16, beyond = (int(count) for count in self.counts[:, start:stop].sum(1))
        delta, base, tuned, product = (float(value) for value in self.sums[:, start:stop].sum(1))
        peak = float(self.peaks[start:stop].max())
        size = self.width * (stop - start)
        return Moments(size, differing, differing_bf16, beyond, delta, base, tuned, product, peak)


def line_moments(base: torch.Tensor, tuned: torch.Tensor, axis: int = 0) -> Lines:
    """Return the moments of each line on `axis`, in one pass over blocks of rows, with sums in float64.

    The two sides may have different floating-point types: both are upcast exactly.

    Raises:
        TakebackError: a side holds a value that is not finite.
    """
    base, tuned = (side.reshape(1) if side.ndim == 0 else side for side in (base, tuned))
    extent = base.shape[axis]
    counts, sums, peaks = np.zeros((3, extent), np.int64), np.zeros((4, extent)), np.zeros(extent)
    for rows in _blocks(tuple(base.shape)):
        before, after = (_as_lines(side[rows], axis) for side in (base, tuned))
        w, v = before.double(), after.double()
        delta = v - w
        size = delta.abs()
        here = rows if axis == 0 else slice(None)
        products = ((delta, delta), (w, w), (v, v), (w, v))
        squares = torch.stack([torch.linalg.vecdot(one, other) for one, other in products])
        if not bool(torch.isfinite(squares).all()):
            raise TakebackError(_not_finite(w, v))
        marks = (delta != 0, before.bfloat16() != after.bfloat16(), size > TOLERANCE)
        counts[:, here] += torch.stack([mark.sum(1) for mark in marks]).numpy()
        sums[:, here] += squares.numpy()
        peaks[here] = np.maximum(peaks[here], size.amax(1).numpy())
    return Lines(counts, sums, peaks, _width(base, axis))


def _width(tensor: torch.Tensor, axis: int) -> int:
    return math.prod(extent for place, extent in enumerate(tensor.shape) if place != axis)


def _as_lines(block: torch.Tensor, axis: int) -> torch.Tensor:
    """Return a block as (lines, width): the index on `axis` first, all others together."""
    return block.movedim(axis, 0).reshape(block.shape[axis], -1)


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of the first axis that hold about a block of entries each."""
    if math.prod(shape):
        rows = max(1, _BLOCK // math.prod(shape[1:]))
        yield from (slice(start, start + rows) for start in range(0, shape[0], rows))


def _not_finite(base: torch.Tensor, tuned: torch.Tensor) -> str:
    for role, side in (("base", base), ("tuned", tuned)):
        if not bool(torch.isfinite(side).all()):
            kind = "NaN" if bool(torch.isnan(side).any()) else "an infinite value"
            return f"{role} holds {kind}"
    return "values are too large for their squares to be summed"
