"""How many steps of bfloat16 entries moved, by magnitude: what a cast to bfloat16 shows, and what it hides.

Neighbouring bfloat16 numbers near w are 2^(e − 7) apart, where e is w's binary exponent: the same Δ is many
steps of a small weight and none of a large one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.checkpoint.flat import upcast
from takeback.checkpoint.pair import Pair
from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.findings import Finding
from takeback.draw.numbers import percent
from takeback.draw.page import Figure, Section, Table
from takeback.run.errors import TakebackError
from takeback.run.identity import identity
from takeback.run.jobs import Workers
from takeback.run.parts import collect

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
_SHOWN = (1, 2, 4, 8)
"""Numbers of steps of which the share of entries that moved as many is drawn."""


@dataclass(frozen=True, eq=False)
class UlpsWork:
    """Is the work of counting the steps of every entry, tensor by tensor."""

    pair: Pair
    name = "ulps"

    @property
    def identity(self) -> str:
        """The files of both sides and the version of the table."""
        return identity(self.pair.stamp)

    def items(self) -> Sequence[str]:
        """Return the tensors."""
        return list(self.pair.tuned.shapes)

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


@dataclass(frozen=True, eq=False)
class Ulps(Finding):
    """Holds how many entries moved how many bfloat16 steps: a row of `COLUMNS` for each tensor and bin."""

    base: str
    tuned: str
    table: pd.DataFrame = field(repr=False)

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """The table by the name of its file."""
        return {"ulps": self.table}

    @property
    def columns(self) -> Mapping[str, str]:
        """What each column means."""
        return COLUMNS

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

    def section(self) -> Section:
        """Draw the share of entries that moved a step or more, by magnitude of the weight."""
        series = [
            Series(place, self._points(steps)) for place, steps in enumerate(_SHOWN) if self._points(steps)
        ]
        picture = line_plot(series, Axes("binary exponent of |w|", y_include=(0.0, 1.0)), "moved by steps")
        note = "From the highest curve down: at least 1, 2, 3 and 5 steps."
        figure = Figure.of("Fraction of entries that moved so many steps of bfloat16", picture, note)
        return Section(
            "Steps of bfloat16",
            self.sentences(),
            figures=(figure,),
            folded=(("Counts by magnitude", _cells(self.whole)),),
        )

    def sentences(self) -> tuple[str, ...]:
        """Say in plain words how many entries moved, and by how much."""
        whole = self.whole
        total, moved = int(whole["entries"].sum()), whole[whole["steps_low"] > 0]
        if not len(moved):
            return ("No entry moved by a step of bfloat16.",)
        number = int(moved["entries"].sum())
        one, many = (
            int(moved.loc[rows, "entries"].sum()) / number
            for rows in (moved["steps_high"] == 1, moved["steps_high"] > 4)
        )
        return (
            f"{percent(number / total)} of {total:,} entries differ after rounding to bfloat16; "
            f"{percent(one)} of these by a single step, {percent(many)} by more than four.",
            "A step is 2^(e − 7) at a weight of binary exponent e: a Δ of one size is many steps of a small "
            "weight and may be none of a large one.",
        )

    def print(self) -> None:
        """Print the sentences, and the shares by magnitude."""
        from rich.console import Console

        console = Console()
        console.print("[bold]Steps of bfloat16[/bold]")
        for sentence in self.sentences():
            console.print(sentence, markup=False, highlight=False)

    def _points(self, steps: int) -> tuple[Point, ...]:
        shares = {exponent: share for exponent, share in self.share(steps).items() if exponent is not None}
        return tuple(
            Point(exponent, share, title=f"2^{exponent} ≤ |w|: {percent(share)}")
            for exponent, share in sorted(shares.items())
        )


def ulps(pair: Pair, out: str | Path | None = None, workers: Workers = 1) -> Ulps:
    """Count how many bfloat16 steps every entry moved, by the magnitude of its weight in base.

    Both sides are rounded to bfloat16 first; 0 and -0 are one number. With `out`, finished parts are kept
    there and `workers` processes share the tensors.

    Raises:
        TakebackError: a tensor holds a value that is not finite, or a file cannot be read any more.
    """
    return Ulps(pair.base.ref, pair.tuned.ref, collect(UlpsWork(pair), out, workers))


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


def _cells(whole: pd.DataFrame) -> Table:
    rows = [
        (
            "0" if pd.isna(row["exponent"]) else f"2^{int(row['exponent'])}",
            str(row["steps_low"])
            if row["steps_low"] == row["steps_high"]
            else f"{row['steps_low']} to {row['steps_high']}",
            f"{row['entries']:,}",
        )
        for row in whole.to_dict("records")
    ]
    return Table(("|w| from", "steps", "entries"), tuple(rows))
