"""Counts and sums over the entries of a weight change; they add, so every level of a diff sums the same."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.run.errors import TakebackError

TOLERANCES = (1e-5, 1e-3)
"""Absolute tolerances beyond which entries are counted; the first is that of arXiv 2505.11711."""

_COUNTS = ("parameters", "differing", "differing_bf16", "sign_flips", "off_cast")
_SUMS = ("base_square", "tuned_square", "product", "delta_square", "delta_sum")


def column_of(tolerance: float) -> str:
    """Return the column of the fraction of entries that moved by more than a tolerance.

    >>> [column_of(tolerance) for tolerance in (1e-5, 0.001, 2.5e-4)]
    ['changed_1e5', 'changed_1e3', 'changed_2.5e4']

    Raises:
        TakebackError: it is not between 0 and 1.
    """
    if not 0 < tolerance < 1:
        raise TakebackError(f"a tolerance is between 0 and 1, such as 1e-5, not {tolerance}")
    digits = Decimal(repr(tolerance)).normalize()
    fraction = digits.scaleb(-digits.adjusted())
    return f"changed_{fraction:f}e{-digits.adjusted()}"


def columns_of(tolerances: tuple[float, ...]) -> dict[str, str]:
    """Return the columns of a table of measures, each with what it means."""
    source = ", the tolerance of arXiv 2505.11711"
    beyond = {
        column_of(one): f"fraction of entries with |Δ| > {one:g}{source if one == TOLERANCES[0] else ''}"
        for one in tolerances
    }
    return {
        "parameters": "number of entries",
        "delta_norm": "‖Δ‖, Frobenius norm of the change",
        "base_norm": "‖W‖, Frobenius norm in base",
        "relative": "‖Δ‖ / ‖W‖, missing where W is zero",
        "changed_bitwise": "fraction of entries whose stored value differs (0 and -0 are equal)",
        "changed_bf16": "fraction of entries that differ after both sides are rounded to bfloat16",
        **beyond,
        "sign_flips": "fraction of entries that are on the other side of zero",
        "max_abs": "largest |Δ|",
        "mean_abs": "mean |Δ|",
        "share": "share of the whole model's ‖Δ‖², missing where nothing changed",
        "cosine": "cosine of W and W + Δ, missing where one is zero",
    }


@dataclass(frozen=True, eq=False)
class Moments:
    """Counts and sums over the entries W of base and W + Δ of tuned, of many disjoint parts at once.

    Every array has an entry for each part; `beyond` is (parts, tolerances). `off_cast` counts the entries
    that are not base's, rounded to the type in which tuned is stored.
    """

    tolerances: tuple[float, ...]
    parameters: NDArray[np.int64]
    differing: NDArray[np.int64]
    differing_bf16: NDArray[np.int64]
    sign_flips: NDArray[np.int64]
    off_cast: NDArray[np.int64]
    beyond: NDArray[np.int64]
    base_square: NDArray[np.float64]
    tuned_square: NDArray[np.float64]
    product: NDArray[np.float64]
    delta_square: NDArray[np.float64]
    delta_sum: NDArray[np.float64]
    max_abs: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.parameters)

    @classmethod
    def of_table(cls, table: pd.DataFrame, tolerances: tuple[float, ...]) -> Moments:
        """Read what `to_table` wrote."""
        single = {name: table[name].to_numpy() for name in (*_SUMS, "max_abs")}
        counts = {name: table[name].to_numpy(np.int64) for name in _COUNTS}
        beyond = table.iloc[:, table.shape[1] - len(tolerances) :].to_numpy(np.int64)
        return cls(tolerances, beyond=beyond, **single, **counts)

    def to_table(self) -> pd.DataFrame:
        """Return a table with a row for each part; counts are floats, exact below 2^53."""
        single = [getattr(self, name) for name in (*_COUNTS, *_SUMS, "max_abs")]
        values = np.column_stack([*single, self.beyond]).astype(np.float64)
        return pd.DataFrame(values, columns=_stored(self.tolerances))

    def grouped(self, group: NDArray[np.intp], count: int) -> Moments:
        """Add the parts of each of `count` groups; `group` says which each part belongs to."""

        def added(values: NDArray[Any]) -> NDArray[Any]:
            return np.bincount(group, values, count).astype(values.dtype)  # counts are exact below 2^53

        peaks = np.zeros(count)
        np.maximum.at(peaks, group, self.max_abs)
        single = {name: added(getattr(self, name)) for name in (*_COUNTS, *_SUMS)}
        beyond = [added(self.beyond[:, place]) for place in range(len(self.tolerances))]
        stacked = np.stack(beyond, 1) if beyond else np.zeros((count, 0), np.int64)
        return Moments(self.tolerances, beyond=stacked, max_abs=peaks, **single)

    def only(self, kept: NDArray[np.bool_]) -> Moments:
        """Return some of the parts."""
        return self if kept.all() else Moments.of_table(self.to_table()[kept], self.tolerances)

    def total(self) -> Moments:
        """Add all parts."""
        return self.grouped(np.zeros(len(self), np.intp), 1)

    def measures(self, whole: Moments, new: NDArray[np.bool_] | None = None) -> pd.DataFrame:
        """Return a row of measures for each part of a `whole` of one part; see `columns_of`.

        Of parts that are `new`, which one side has not, only what needs no comparison is told.
        """
        norms = np.sqrt(self.base_square * self.tuned_square)
        found = {
            "delta_norm": np.sqrt(self.delta_square),
            "base_norm": np.sqrt(self.base_square),
            "relative": _ratio(np.sqrt(self.delta_square), np.sqrt(self.base_square)),
            "changed_bitwise": _ratio(self.differing, self.parameters),
            "changed_bf16": _ratio(self.differing_bf16, self.parameters),
            "sign_flips": _ratio(self.sign_flips, self.parameters),
            "max_abs": self.max_abs,
            "mean_abs": _ratio(self.delta_sum, self.parameters),
            "share": _ratio(self.delta_square, np.broadcast_to(whole.delta_square, len(self))),
            "cosine": np.clip(_ratio(self.product, norms), -1, 1),
        }
        for place, one in enumerate(self.tolerances):
            found[column_of(one)] = _ratio(self.beyond[:, place], self.parameters)
        if new is not None:
            compared = found.keys() - {"delta_norm", "max_abs", "mean_abs"}
            found |= {name: np.where(new, np.nan, found[name]) for name in compared}
        arrays = {name: pd.array(values, "Float64") for name, values in found.items()}
        table = pd.DataFrame({"parameters": self.parameters, **arrays})
        return table[list(columns_of(self.tolerances))]


@cache
def _stored(tolerances: tuple[float, ...]) -> pd.Index:
    """Return the columns of a table of moments."""
    beyond = [column_of(one).replace("changed", "beyond") for one in tolerances]
    return pd.Index([*_COUNTS, *_SUMS, "max_abs", *beyond])


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Divide, with NaN where there is nothing to divide by; `pd.array` makes that missing."""
    found = np.full(len(part), np.nan)
    return np.divide(part, whole, out=found, where=np.asarray(whole) != 0)
