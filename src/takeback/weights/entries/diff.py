"""The diff of a pair: how far every tensor, component and layer moved."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from takeback.checkpoint.pair import Difference, Pair
from takeback.component import Component
from takeback.draw.findings import Finding
from takeback.draw.page import Section
from takeback.run.jobs import Workers
from takeback.run.parts import collect
from takeback.run.tables import SCHEMA, records, write_tables
from takeback.weights.entries.moments import TOLERANCES, Moments, columns_of
from takeback.weights.entries.stream import Pass, way_of_reading
from takeback.weights.entries.tally import Tally

COLUMNS: Mapping[str, str] = columns_of(TOLERANCES)
"""What each measure in a table means; other tolerances give other columns in the place of theirs."""


@dataclass(frozen=True, eq=False)
class Diff(Finding):
    """Holds how far every part of a model moved, at each level as sums of the same moments.

    `tensors`, `components`, `layers` and `total` are tables with the measures of `COLUMNS`. `keys` says of
    each tensor how it is stored on either side and how it was read; `atoms` has the moments of each stretch
    of a tensor that one component owns, `tally` says of which.
    """

    base: str
    tuned: str
    resolution: str
    differences: tuple[Difference, ...]
    keys: pd.DataFrame = field(repr=False)
    tally: Tally = field(repr=False)
    atoms: Moments = field(repr=False)

    @property
    def columns(self) -> Mapping[str, str]:
        """What each measure in the tables means: `COLUMNS`, unless other tolerances were asked for."""
        return columns_of(self.atoms.tolerances)

    @cached_property
    def whole(self) -> Moments:
        """The moments of all entries together, as one part."""
        return self.by_component.total()

    @cached_property
    def by_tensor(self) -> Moments:
        """The moments of each tensor, in the order of `tensors`."""
        return self.atoms.grouped(self.tally.tensor, len(self.keys))

    @cached_property
    def by_component(self) -> Moments:
        """The moments of each component, in the order of `components`."""
        return self.atoms.grouped(self.tally.component, len(self.tally.parts))

    @cached_property
    def tensors(self) -> pd.DataFrame:
        """A row for each tensor, with its element type on either side and how it was read."""
        return self._table(self.keys, self.by_tensor)

    @cached_property
    def components(self) -> pd.DataFrame:
        """A row for each component; layer and index are missing where it has none."""
        return self._table(self.tally.parts.table(), self.by_component)

    @cached_property
    def layers(self) -> pd.DataFrame:
        """A row for each layer, and one for each component outside the layers."""
        place, parts = self.tally.parts.by_layer()
        keys = parts.table().rename(columns={"component": "name"})[["name", "layer"]]
        return self._table(keys, self.by_component.grouped(place, len(parts)))

    @cached_property
    def total(self) -> pd.DataFrame:
        """One row for the whole model."""
        return self._table(pd.DataFrame({"name": ["all"]}), self.whole)

    def summed(self, key: Callable[[Component], Hashable]) -> pd.DataFrame:
        """Return the measures of all components together that have the same key, a row for each key."""
        keys = [key(component) for component in self.tally.parts.components()]
        places = {name: place for place, name in enumerate(dict.fromkeys(keys))}
        group = np.array([places[name] for name in keys], np.intp)
        found = self.by_component.grouped(group, len(places)).measures(self.whole)
        return found.set_axis(pd.Index(list(places), dtype=object), axis=0)

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """The tables by the names of their files."""
        return {name: getattr(self, name) for name in ("total", "layers", "components", "tensors")}

    def write(self, folder: str | Path) -> None:
        """Write `tensors.parquet`, `components.parquet`, `layers.parquet` and `total.parquet` into a folder.

        A new folder appears whole; in one that exists each table is replaced whole.

        Raises:
            TakebackError: the disk refuses; files that were there stay as they were.
        """
        write_tables(self.tables, folder)

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

    def section(self) -> Section:
        """Show it on a page: the totals, maps of ‖Δ‖/‖W‖ and of the share of ‖Δ‖², all components folded."""
        from takeback.weights.entries.show import as_section

        return as_section(self)

    def print(self) -> None:
        """Print the totals, the components that changed most, and a map of layers × heads."""
        from takeback.weights.entries.show import print_diff

        print_diff(self)

    def picture(self, measure: str = "relative") -> str:
        """Draw one measure as text, layers × heads, in five shades up to the largest value.

        Raises:
            UnknownName: there is no such measure.
        """
        from takeback.weights.entries.show import as_text

        return as_text(self, measure)

    def svg(self, measure: str = "relative") -> str:
        """Draw one measure as SVG, layers × heads.

        Raises:
            UnknownName: there is no such measure.
        """
        from takeback.weights.entries.show import as_svg

        return as_svg(self, measure)

    def _table(self, keys: pd.DataFrame, moments: Moments) -> pd.DataFrame:
        return pd.concat([keys, moments.measures(self.whole)], axis=1)


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
    keys = pd.DataFrame([_key(pair, name) for name in work.items()])
    tally = Tally.of(pair.anatomy(resolution), work.items())
    return Diff(pair.base.ref, pair.tuned.ref, resolution, pair.differences(), keys, tally, atoms)


def _key(pair: Pair, name: str) -> dict[str, str]:
    sides = [pair.base.flat(name), pair.tuned.flat(name)]
    before, after = sides
    return {
        "tensor": name,
        "dtype_base": before.element,
        "dtype_tuned": after.element,
        "read": way_of_reading(*sides),
    }
