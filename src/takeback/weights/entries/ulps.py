"""How many steps of bfloat16 entries moved, by magnitude: what a cast to bfloat16 shows, and what it hides.

Neighbouring bfloat16 numbers near w are 2^(e − 7) apart, where e is w's binary exponent: the same Δ is many
steps of a small weight and none of a large one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.checkpoint.flat import Flat, upcast
from takeback.checkpoint.pair import Pair
from takeback.draw.result import Result, as_table
from takeback.run.errors import TakebackError
from takeback.run.jobs import Workers
from takeback.run.parts import collect
from takeback.weights.entries.kernel import LEAST_EXPONENT, STEP_SHAPE, step_counts
from takeback.weights.entries.stream import READ_AS_STORED
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


@dataclass(frozen=True, eq=False)
class UlpsWork(PairWork):
    """Is the work of counting the steps of every entry, tensor by tensor."""

    name = "ulps"
    entry_seconds = 4.5e-9

    def rows(self, item: str) -> pd.DataFrame:
        """Return one tensor's counts.

        Raises:
            TakebackError: it holds a value that is not finite, or a file cannot be read any more.
        """
        sides = self.pair.base.flat(item), self.pair.tuned.flat(item)
        size = math.prod(self.pair.tuned.shapes[item])
        counts = np.zeros(STEP_SHAPE, np.int64)
        for start in range(0, size, _BLOCK):
            stop = min(start + _BLOCK, size)
            step_counts(_stored(sides[0], start, stop), _stored(sides[1], start, stop), counts)
        if counts[-1].any():
            raise TakebackError(f"tensor {item} holds a value that is not finite")
        return _table(item, counts[:-1])


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


def _stored(side: Flat, start: int, stop: int) -> NDArray[Any]:
    """Return entries as the loop reads them."""
    block = side.block(start, stop)
    return block if side.element in READ_AS_STORED else upcast(block, side.element)


def _table(tensor: str, counts: NDArray[np.int64]) -> pd.DataFrame:
    """Return the rows of the counts, from zero and the least exponent on."""
    rows, bins = np.nonzero(counts)
    high = np.where(bins, 2 ** np.maximum(bins - 1, 0), 0)
    exponents = pd.Series(rows + (LEAST_EXPONENT - 1), dtype="Int64").mask(rows == 0)
    found = {
        "tensor": pd.Series(tensor, index=range(len(rows)), dtype="str"),
        "exponent": exponents,
        "steps_low": np.where(bins < 3, high, high // 2 + 1),
        "steps_high": high,
        "entries": counts[rows, bins],
    }
    return pd.DataFrame(found)[list(COLUMNS)]
