"""The diff of a pair: how far every tensor, component and layer moved."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.anatomy import Anatomy
from takeback.checkpoint.flat import Flat
from takeback.checkpoint.pair import Difference, Pair
from takeback.component import NEW_ROWS, Component, Place, text_map
from takeback.draw.heatmap import Cell, Ends, heat_map, limit_of
from takeback.draw.numbers import ABSENT, number, percent
from takeback.draw.result import Result
from takeback.run.errors import unknown_name
from takeback.run.jobs import Workers
from takeback.run.parts import collect
from takeback.run.tables import SCHEMA, records
from takeback.weights.entries.moments import TOLERANCES, Moments, columns_of
from takeback.weights.entries.segments import Segments
from takeback.weights.entries.stream import Pass, tensor_moments, way_of_reading

COLUMNS: Mapping[str, str] = columns_of(TOLERANCES)
"""What each measure in a table means; other tolerances give other columns in the place of theirs."""

SHADES = "░▒▓█"

MAGNITUDES = ("parameters", "delta_norm", "base_norm", "max_abs", "mean_abs")
"""Measures that are no fractions."""


@dataclass(frozen=True, eq=False, repr=False)
class Diff(Result):
    """Holds how far every part of a model moved, at each level as sums of the same moments.

    `tensors`, `components`, `layers` and `total` are tables with the measures of `COLUMNS`. `keys` says of
    each tensor how it is stored on either side and how it was read; `atoms` has the moments of each stretch
    of a tensor that one component owns, `segments` says of which.
    """

    name = "diff"
    base: str
    tuned: str
    resolution: str
    differences: tuple[Difference, ...]
    keys: pd.DataFrame
    segments: Segments
    atoms: Moments

    @property
    def columns(self) -> Mapping[str, str]:
        """What each measure in the tables means: `COLUMNS`, unless other tolerances were asked for."""
        return columns_of(self.atoms.tolerances)

    @cached_property
    def whole(self) -> Moments:
        """The moments of all entries that both sides have together, as one part."""
        return self.by_component.only(~self.new).total()

    @cached_property
    def new(self) -> NDArray[np.bool_]:
        """Which components are rows of the larger of two vocabularies: they are compared with nothing."""
        return np.isin(self.segments.parts.kinds, NEW_ROWS)

    @cached_property
    def by_tensor(self) -> Moments:
        """The moments of each tensor, in the order of `tensors`, of the rows that both sides have."""
        there = ~self.new[self.segments.component]
        return self.atoms.only(there).grouped(self.segments.tensor[there], len(self.keys))

    @cached_property
    def by_component(self) -> Moments:
        """The moments of each component, in the order of `components`."""
        return self.atoms.grouped(self.segments.component, len(self.segments.parts))

    @cached_property
    def tensors(self) -> pd.DataFrame:
        """A row for each tensor, with its element type on either side and how it was read."""
        return self._table(self.keys, self.by_tensor)

    @cached_property
    def components(self) -> pd.DataFrame:
        """A row for each component; layer and index are missing where it has none."""
        return self._table(self.segments.parts.table(), self.by_component, self.new)

    @cached_property
    def layers(self) -> pd.DataFrame:
        """A row for each layer, and one for each component outside the layers."""
        place, parts = self.segments.parts.by_layer()
        keys = parts.table().rename(columns={"component": "name"})[["name", "layer"]]
        new = np.isin(parts.kinds, NEW_ROWS)
        return self._table(keys, self.by_component.grouped(place, len(parts)), new)

    @cached_property
    def total(self) -> pd.DataFrame:
        """One row for the whole model."""
        return self._table(pd.DataFrame({"name": ["all"]}), self.whole)

    def summed(self, key: Callable[[Component], Hashable]) -> pd.DataFrame:
        """Return the measures of all components together that have the same key, a row for each key.

        Rows that only one side has are in no group.
        """
        parts = self.segments.parts.components()
        keys = [key(component) for component, new in zip(parts, self.new, strict=True) if not new]
        places = {name: place for place, name in enumerate(dict.fromkeys(keys))}
        group = np.array([places[name] for name in keys], np.intp)
        found = self.by_component.only(~self.new).grouped(group, len(places)).measures(self.whole)
        return found.set_axis(pd.Index(list(places), dtype=object), axis=0)

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """The tables by the names of their files."""
        return {name: getattr(self, name) for name in ("total", "layers", "components", "tensors")}

    def to_json(self) -> str:
        """Return all tables as strict JSON; a missing measure is null."""
        found = {
            "takeback_schema": SCHEMA,
            "base": self.base,
            "tuned": self.tuned,
            "resolution": self.resolution,
            "tolerances": self.atoms.tolerances,
            "differences": [
                {"kind": one.kind, "place": one.place, "base": one.base, "tuned": one.tuned}
                for one in self.differences
            ],
            "columns": dict(self.columns),
            **{name: records(table) for name, table in self.tables.items()},
        }
        return json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False)

    def values(self, measure: str) -> dict[Component, float | None]:
        """Return one measure of everything that a map shows; an MLP cut into neurons is shown as one.

        Raises:
            UnknownName: there is no such measure.
        """
        if measure not in self.columns:
            raise unknown_name("measure", measure, self.columns)
        place, parts = self.segments.parts.without_neurons()
        new = np.isin(parts.kinds, NEW_ROWS)
        shown = self.by_component.grouped(place, len(parts)).measures(self.whole, new)[measure]
        values = [None if pd.isna(value) else value for value in shown]
        return dict(zip(parts.components(), values, strict=True))

    def picture(self, measure: str = "relative") -> str:
        """Draw one measure as text, layers × heads, in five shades up to the largest value.

        Raises:
            UnknownName: there is no such measure.
        """
        values = self.values(measure)
        most, cells = limit_of(values.values()), dict[Place, str]()
        for part, value in values.items():
            place = part.layer, part.kind
            cells[place] = cells.get(place, "") + _shade(value, most)
        legend = f"{self.columns[measure]}: · none, {' '.join(SHADES)} in quarters up to {most:.3g}"
        return "\n".join([*text_map(cells), legend])

    def svg(self, measure: str = "relative") -> str:
        """Draw one measure as SVG, layers × heads.

        Raises:
            UnknownName: there is no such measure.
        """
        values, write = self.values(measure), number if measure in MAGNITUDES else percent
        most = limit_of(values.values())
        cells = {
            part: Cell(value, f"{part}: {four_digits(value)}", write(value)) for part, value in values.items()
        }
        return heat_map(cells, Ends(most, write(most)), label=self.columns[measure])

    def _table(
        self, keys: pd.DataFrame, moments: Moments, new: NDArray[np.bool_] | None = None
    ) -> pd.DataFrame:
        return pd.concat([keys, moments.measures(self.whole, new)], axis=1)


def diff(
    pair: Pair,
    resolution: str = "heads",
    *,
    tolerances: Sequence[float] = TOLERANCES,
    out: str | Path | None = None,
    workers: Workers = 1,
) -> Diff:
    """Measure how far every tensor, component and layer moved, in one pass over both files by all cores.

    Args:
        pair: The two checkpoints; types that differ are compared after an exact upcast.
        resolution: "heads" or "neurons".
        tolerances: Entries that moved by more than each of these are counted in a column of their own.
        out: A folder that keeps finished parts, so that a killed pass goes on; see `takeback.run.parts`.
        workers: Local processes that share the tensors.

    Raises:
        TakebackError: a tensor holds a value that is not finite, or a file cannot be read any more.
    """
    work = Pass(pair, resolution, tuple(tolerances))
    columns_of(work.tolerances)
    atoms = Moments.of_table(collect(work, out, workers), work.tolerances)
    keys = pd.DataFrame([_key(name, pair.base.flat(name), pair.tuned.flat(name)) for name in work.items()])
    segments = Segments.of(pair.anatomy(resolution), work.items())
    sides = pair.base.ref, pair.tuned.ref
    return Diff(str(pair), *sides, resolution, pair.differences(), keys, segments, atoms)


def diff_of(
    anatomy: Anatomy, sides: Callable[[str], tuple[Flat, Flat]], called: tuple[str, str], title: str
) -> Diff:
    """Measure how far tensors moved that are given one at a time by name, in files or in memory.

    Args:
        anatomy: Which entries belong to which component, with the tensors' names.
        sides: Gives a tensor's entries in base and in tuned.
        called: What base and tuned are called.
        title: What the result is called.

    Raises:
        TakebackError: a tensor holds a value that is not finite.
    """
    moments: list[pd.DataFrame] = []
    keys: list[dict[str, str]] = []
    for name in anatomy.cuts:
        both = sides(name)
        moments.append(tensor_moments(anatomy, name, both).to_table())
        keys.append(_key(name, *both))
    atoms = Moments.of_table(pd.concat(moments, ignore_index=True), TOLERANCES)
    segments = Segments.of(anatomy, list(anatomy.cuts))
    return Diff(title, *called, anatomy.resolution, (), pd.DataFrame(keys), segments, atoms)


def _key(name: str, before: Flat, after: Flat) -> dict[str, str]:
    return {
        "tensor": name,
        "dtype_base": before.element,
        "dtype_tuned": after.element,
        "read": way_of_reading(before, after),
    }


def four_digits(value: float | None) -> str:
    """Write a number as exactly as a tooltip does."""
    return ABSENT if value is None else f"{value:.4g}"


def _shade(value: float | None, most: float) -> str:
    if value is None:
        return "?"
    if not value or not most:
        return "·"
    return SHADES[min(len(SHADES) - 1, int(abs(value) / most * len(SHADES)))]
