"""The shape of a change over a whole model: a row for each matrix and for each component's part of it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from takeback.checkpoint.pair import Pair
from takeback.draw.result import Result, as_table
from takeback.run.jobs import Workers
from takeback.run.parts import collect
from takeback.run.threads import cpu_threads
from takeback.weights.spectra.matrices import WeightMatrix, has_matrices, matrices_of, sides_of
from takeback.weights.spectra.shape import MEASURES, Options, change_shape
from takeback.weights.work import PairWork

KEYS: Mapping[str, str] = {
    "tensor": "the tensor's name",
    "matrix": "the name without its layer, which matrices of a kind share",
    "role": "whole, or part: what one component owns of a whole matrix",
    "component": "the owner, missing where several components share a whole matrix",
    "kind": "the kind of component, missing where several kinds share it",
    "layer": "the layer, missing outside the layers",
    "index": "the component's index",
    "slice": "the place of a matrix in a stack of them (an expert), missing elsewhere",
    "axis": "the axis along which a part is cut: 0 for rows as stored, 1 for columns",
    "first": "the part's first row or column",
    "rows": "number of rows as stored",
    "columns": "number of columns as stored",
    "method": "exact: all singular values; sketch: the leading ones, and bounds",
}
"""What tells one row from another, and how it was measured."""

COLUMNS: Mapping[str, str] = {**KEYS, **MEASURES}
"""What each column of the table means; `MEASURES` says which can be missing."""

_INTEGERS = ("layer", "index", "slice", "axis", "first", "rows", "columns", "full_rank", "leading_rank")
_WORDS = ("tensor", "matrix", "role", "component", "kind", "method")


_SMALL = 1024
"""Rows or columns up to which a second thread costs more than it brings."""


@dataclass(frozen=True, eq=False)
class SpectraWork(PairWork):
    """Is the work of measuring the shape of every matrix's change, tensor by tensor."""

    name = "spectra"
    entry_seconds = 5e-9
    options: Options = field(default_factory=Options)

    def items(self) -> Sequence[str]:
        """Return the tensors that hold matrices."""
        return [name for name, shape in self.pair.tuned.shapes.items() if has_matrices(shape)]

    def seconds(self, item: str) -> float:
        """Return about how long one tensor takes."""
        matrices = matrices_of(self.pair.anatomy("heads"), item)
        return super().seconds(item) + sum(self.options.seconds(matrix.shape) for matrix in matrices)

    def rows(self, item: str) -> pd.DataFrame:
        """Return the rows of one tensor: its matrices, then the components' parts.

        Raises:
            TakebackError: the tensor holds a value that is not finite, or a file cannot be read any more.
        """
        matrices = matrices_of(self.pair.anatomy("heads"), item)
        return _plain([{**_keys(matrix), **self._measures(matrix)} for matrix in matrices])

    def _measures(self, matrix: WeightMatrix) -> dict[str, Any]:
        place = f"{matrix.region.tensor} {matrix.region.start}"
        rng = np.random.default_rng([self.options.seed, zlib.crc32(place.encode())])
        with cpu_threads(1 if matrix.full_rank <= _SMALL else None):
            base, tuned = (side.to(self.options.device) for side in sides_of(self.pair, matrix))
            found = change_shape(base, tuned, self.options, rng)
        return {"method": "exact" if matrix.full_rank <= self.options.largest else "sketch", **found}


@dataclass(frozen=True, eq=False, repr=False)
class Spectra(Result):
    """Holds the shape of a change: a row of `COLUMNS` for each whole matrix and each component's part."""

    name = "spectra"
    options: Options
    table: pd.DataFrame = field(metadata=as_table("spectra", COLUMNS))

    @property
    def whole(self) -> pd.DataFrame:
        """The rows of whole matrices that changed."""
        return self._changed("whole")

    @property
    def parts(self) -> pd.DataFrame:
        """The rows of components' parts that changed."""
        return self._changed("part")

    def _changed(self, role: str) -> pd.DataFrame:
        rows = self.table[(self.table["role"] == role) & (self.table["delta_norm"] > 0)]
        return rows.reset_index(drop=True)


def spectra(
    pair: Pair,
    options: Options | None = None,
    out: str | Path | None = None,
    workers: Workers = 1,
    threads: int | None = None,
) -> Spectra:
    """Measure the shape of the change of every matrix and of every component's part of one.

    With `out` it goes on from the parts kept there, and `workers` processes share the work (see `collect`).
    Memory holds a few float64 copies of the largest matrix.

    Raises:
        TakebackError: a tensor holds a value that is not finite, a file cannot be read any more, several
            workers without `out`, or parts of another comparison in `out`.
    """
    options = options or Options()
    table = collect(SpectraWork(pair, options), out, workers, threads)
    return Spectra(str(pair), options, _typed(table))


def _keys(matrix: WeightMatrix) -> dict[str, Any]:
    owner, region = matrix.owner, matrix.region
    part = matrix.role == "part"
    return {
        "tensor": region.tensor,
        "matrix": matrix.label,
        "role": matrix.role,
        "component": None if owner is None else str(owner),
        "kind": matrix.kind,
        "layer": matrix.layer,
        "index": None if owner is None else owner.index,
        "slice": matrix.slice,
        "axis": region.axis if part else None,
        "first": region.start if part else None,
        "rows": matrix.shape[0],
        "columns": matrix.shape[1],
    }


def _plain(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as text and floats, NaN where a value is missing; `_typed` comes once, at the end."""
    words = pd.DataFrame({name: [row[name] for row in rows] for name in _WORDS}, dtype=object)
    numbers = [name for name in COLUMNS if name not in _WORDS]
    values = np.array([[row[name] for name in numbers] for row in rows], np.float64)
    return words.join(pd.DataFrame(values, columns=numbers))[list(COLUMNS)]


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table in types that tell a missing value from a number."""
    kinds = dict.fromkeys(COLUMNS, "Float64") | dict.fromkeys(_INTEGERS, "Int64")
    return table.astype(kinds | dict.fromkeys(_WORDS, "string"))
