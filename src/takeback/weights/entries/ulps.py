"""How many steps of bfloat16 entries moved, by magnitude: what a cast to bfloat16 shows, and what it hides.

Neighbouring bfloat16 numbers near w are 2^(e − 7) apart, where e is w's binary exponent: the same Δ is many
steps of a small weight and none of a large one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.checkpoint.flat import upcast
from takeback.checkpoint.pair import Pair
from takeback.draw.result import Result, as_table
from takeback.run.errors import TakebackError
from takeback.run.jobs import Workers
from takeback.run.parts import collect
from takeback.weights.work import PairWork

COLUMNS: Mapping[str, str] = {
    "tensor": "the tensor's name",
    "exponent": "binary exponent e of base's weight, 2^e ≤ |w| < 2^(e+1); missing for w = 0",
    "steps_low": "least number of bfloat16 steps that these entries moved, 0 for those that did not",
    "steps_high": "largest number of steps",
    "entries": "number of entries",
}
"""What each column of the table means."""

_BLOCK = 1 << 20
_ZERO = np.iinfo(np.int16).min


@dataclass(frozen=True, eq=False)
class UlpsWork(PairWork):
    """Is the work of counting the steps of every entry, tensor by tensor."""

    name = "ulps"

    def rows(self, item: str) -> pd.DataFrame:
        """Return one tensor's counts.

        Raises:
            TakebackError: it holds a value that is not finite, or a file cannot be read any more.
        """
        counts: dict[tuple[int, int], int] = {}
        for base, tuned in self._blocks(item):
            if not (np.isfinite(base).all() and np.isfinite(tuned).all()):
                raise TakebackError(f"tensor {item} holds a value that is not finite")
            keys = np.stack([exponents(base), step_bins(steps_between(base, tuned))])
            found, numbers = np.unique(keys, axis=1, return_counts=True)
            for exponent, step_bin, number in zip(*found.tolist(), numbers.tolist(), strict=True):
                key = exponent, step_bin
                counts[key] = counts.get(key, 0) + number
        return _table(item, counts)

    def _blocks(self, item: str) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        sides = (self.pair.base.flat(item), self.pair.tuned.flat(item))
        size = int(np.prod(self.pair.tuned.shapes[item], dtype=np.int64))
        for start in range(0, size, _BLOCK):
            stop = min(start + _BLOCK, size)
            base, tuned = (upcast(side.block(start, stop), side.element) for side in sides)
            yield base, tuned


@dataclass(frozen=True, eq=False, repr=False)
class Ulps(Result):
    """Holds how many entries moved how many bfloat16 steps: a row of `COLUMNS` for each tensor and bin."""

    name = "ulps"
    table: pd.DataFrame = field(metadata=as_table("ulps", COLUMNS))

    @cached_property
    def whole(self) -> pd.DataFrame:
        """The counts over all tensors: a row for each exponent and bin of steps."""
        keys = ["exponent", "steps_low", "steps_high"]
        return self.table.groupby(keys, dropna=False)[["entries"]].sum().reset_index()

    def share(self, steps: int) -> dict[int | None, float]:
        """Return by exponent (None for w = 0) the fraction of entries that moved `steps` steps or more.

        Args:
            steps: The lower end of a bin: 1, or a power of two plus one; 2 and 4 count as 2 and 3 do.
        """
        whole = self.whole
        moved = whole["entries"].where(whole["steps_high"] >= steps, 0)
        sums = whole.assign(moved=moved).groupby("exponent", dropna=False)[["moved", "entries"]].sum()
        return {
            None if pd.isna(exponent) else int(exponent): float(row["moved"] / row["entries"])
            for exponent, row in zip(sums.index.tolist(), sums.to_dict("records"), strict=True)
        }


def ulps(pair: Pair, out: str | Path | None = None, workers: Workers = 1) -> Ulps:
    """Count how many bfloat16 steps every entry moved, by the magnitude of its weight in base.

    Both sides are rounded to bfloat16 first; 0 and -0 are one number. With `out`, finished parts are kept
    there and `workers` processes share the tensors.

    Raises:
        TakebackError: a tensor holds a value that is not finite, or a file cannot be read any more.
    """
    return Ulps(str(pair), collect(UlpsWork(pair), out, workers))


def steps_between(base: NDArray[np.float64], tuned: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many representable bfloat16 numbers apart two arrays are after rounding to it.

    >>> steps_between(np.array([1.0, 1.0, -0.0]), np.array([1.0078125, 0.99609375, 0.0])).tolist()
    [1, 1, 0]
    """
    before, after = (_place(values) for values in (base, tuned))
    return np.abs(after - before)


def exponents(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the binary exponent of each weight, the least int16 for zero.

    >>> exponents(np.array([1.0, 0.75, -2.0])).tolist()
    [0, -1, 1]
    """
    return np.where(weights == 0, _ZERO, np.frexp(weights)[1].astype(np.int64) - 1)


def step_bins(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bin of each number of steps: 0, 1, 2, 3 to 4, 5 to 8, … are bins 0, 1, 2, 3, 4 and on.

    >>> step_bins(np.array([0, 1, 2, 3, 4, 5, 8, 9])).tolist()
    [0, 1, 2, 3, 3, 4, 4, 5]
    """
    return np.where(steps == 0, 0, np.frexp(np.maximum(steps - 1, 0).astype(np.float64))[1] + 1)


def _place(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return each value's place among the bfloat16 numbers in order; 0 is that of zero."""
    import torch

    rounded = torch.from_numpy(values.copy()).to(torch.bfloat16)
    bits = rounded.view(torch.int16).numpy().astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFF), bits)


def _table(tensor: str, counts: Mapping[tuple[int, int], int]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for (exponent, step_bin), number in sorted(counts.items()):
        high = 2 ** (step_bin - 1) if step_bin else 0
        rows.append(
            {
                "tensor": tensor,
                "exponent": None if exponent == _ZERO else exponent,
                "steps_low": high if step_bin < 3 else high // 2 + 1,
                "steps_high": high,
                "entries": number,
            }
        )
    types = {"tensor": "str", "exponent": "Int64", "steps_low": "int64", "steps_high": "int64"}
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({**types, "entries": "int64"})
