"""The diff of a pair: how far every tensor, component and layer moved."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from takeback.checkpoint.pair import Difference, Pair
from takeback.component import Component
from takeback.diff.moments import Lines, Moments, line_moments, total
from takeback.errors import TakebackError
from takeback.files import atomic_folder
from takeback.tables import SCHEMA, records, write_table

COLUMNS: Mapping[str, str] = {
    "parameters": "number of entries",
    "delta_norm": "‖Δ‖, Frobenius norm of the change",
    "base_norm": "‖W‖, Frobenius norm in base",
    "relative": "‖Δ‖ / ‖W‖, missing where W is zero",
    "changed_bitwise": "fraction of entries whose stored value differs (0 and -0 are equal)",
    "changed_bf16": "fraction of entries that differ after both sides are rounded to bfloat16",
    "changed_1e5": "fraction of entries with |Δ| > 1e-5, the tolerance of arXiv 2505.11711",
    "max_abs": "largest |Δ|",
    "share": "share of the whole model's ‖Δ‖², missing where nothing changed",
    "cosine": "cosine of W and W + Δ, missing where one is zero",
}
"""What each measure in a table means."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Diff:
    """Holds how far every part of a model moved, at each level as sums of the same moments.

    `tensors`, `components`, `layers` and `total` are tables with the measures of `COLUMNS`.
    """

    base: str
    tuned: str
    resolution: str
    differences: tuple[Difference, ...]
    dtypes: Mapping[str, tuple[str, str]] = field(repr=False)
    by_tensor: Mapping[str, Moments] = field(repr=False)
    by_component: Mapping[Component, Moments] = field(repr=False)

    @cached_property
    def whole(self) -> Moments:
        """The moments of all entries together."""
        return total(self.by_tensor.values())

    @cached_property
    def tensors(self) -> pd.DataFrame:
        """A row for each tensor, with its element type on either side."""
        keys = [
            {"tensor": name, "dtype_base": self.dtypes[name][0], "dtype_tuned": self.dtypes[name][1]}
            for name in self.by_tensor
        ]
        return self._table(keys, self.by_tensor.values())

    @cached_property
    def components(self) -> pd.DataFrame:
        """A row for each component; layer and index are missing where it has none."""
        keys = [
            {"component": str(part), "kind": part.kind, "layer": part.layer, "index": part.index}
            for part in self.by_component
        ]
        return self._table(keys, self.by_component.values())

    @cached_property
    def layers(self) -> pd.DataFrame:
        """A row for each layer, and one for each component outside the layers."""
        named = self.summed(lambda part: str(part) if part.layer is None else f"L{part.layer}")
        keys = [{"name": name, "layer": int(name[1:]) if name[1:].isdecimal() else None} for name in named]
        return self._table(keys, named.values())

    @cached_property
    def total(self) -> pd.DataFrame:
        """One row for the whole model."""
        return self._table([{"name": "all"}], [self.whole])

    def summed(self, key: Callable[[Component], Key]) -> dict[Key, Moments]:
        """Add the moments of all components that have the same key, in canonical order."""
        groups: dict[Key, list[Moments]] = {}
        for component, moments in self.by_component.items():
            groups.setdefault(key(component), []).append(moments)
        return {name: total(parts) for name, parts in groups.items()}

    def to_json(self) -> str:
        """Return all tables as strict JSON; a missing measure is null."""
        tables = {name: records(getattr(self, name)) for name in ("layers", "components", "tensors")}
        found = {
            "takeback_schema": SCHEMA,
            "base": self.base,
            "tuned": self.tuned,
            "resolution": self.resolution,
            "differences": [
                {"kind": one.kind, "place": one.place, "base": one.base, "tuned": one.tuned}
                for one in self.differences
            ],
            "columns": dict(COLUMNS),
            "total": records(self.total)[0],
            **tables,
        }
        return json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False)

    def write(self, folder: str | Path) -> None:
        """Write `tensors.parquet`, `components.parquet`, `layers.parquet` and `total.parquet` into a folder.

        A new folder appears whole; in one that exists each table is replaced whole.

        Raises:
            TakebackError: the disk refuses; files that were there stay as they were.
        """
        folder = Path(folder)
        new = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
        with atomic_folder(folder) if new else nullcontext(folder) as place:
            for name in ("tensors", "components", "layers", "total"):
                write_table(getattr(self, name), place / f"{name}.parquet")

    def print(self) -> None:
        """Print the totals, the components that changed most, and a map of layers × heads."""
        from takeback.diff.show import print_diff

        print_diff(self)

    def picture(self, measure: str = "relative") -> str:
        """Draw one measure as text, layers × heads, in five shades up to the largest value.

        Raises:
            UnknownName: there is no such measure.
        """
        from takeback.diff.show import as_text

        return as_text(self, measure)

    def svg(self, measure: str = "relative") -> str:
        """Draw one measure as SVG, layers × heads.

        Raises:
            UnknownName: there is no such measure.
        """
        from takeback.diff.show import as_svg

        return as_svg(self, measure)

    def _repr_html_(self) -> str:
        from takeback.diff.show import as_html

        return as_html(self)

    def _table(self, keys: list[dict[str, Any]], moments: Iterable[Moments]) -> pd.DataFrame:
        rows = [{**key, **measures(part, self.whole)} for key, part in zip(keys, moments, strict=True)]
        table = pd.DataFrame(rows)
        kinds = {name: "Float64" for name in COLUMNS if name != "parameters"}
        kinds |= {name: "Int64" for name in ("layer", "index") if name in table}
        table = table.astype({**kinds, "parameters": "int64"})
        return table


def measures(part: Moments, whole: Moments) -> dict[str, float | None]:
    """Return the measures of `COLUMNS` for a part of a model, None where one is missing."""
    found = {name: getattr(part, name) for name in COLUMNS if name != "share"}
    return {name: part.share(whole) if name == "share" else found[name] for name in COLUMNS}


def diff(pair: Pair, resolution: str = "heads") -> Diff:
    """Measure how far every tensor, component and layer moved, reading one tensor of each side at a time.

    `resolution` is "heads" or "neurons". Types that differ are compared after an exact upcast.

    Raises:
        TakebackError: a tensor holds a value that is not finite, or a file cannot be read any more.
    """
    anatomy = pair.anatomy(resolution)
    by_tensor: dict[str, Moments] = {}
    parts: dict[Component, list[Moments]] = {component: [] for component in anatomy.universe}
    for name, shape in pair.tuned.shapes.items():
        owners = anatomy.of_tensor(name)
        axis = owners[0][1].axis or 0
        lines = _lines(pair, name, axis)
        atoms: list[Moments] = []
        for component, region in owners:
            stop = region.stop if region.stop is not None else (shape[axis] if shape else 1)
            atoms.append(lines.stretch(region.start, stop))
            parts[component].append(atoms[-1])
        by_tensor[name] = total(atoms)
    sides = (pair.base.dtypes, pair.tuned.dtypes)
    kinds = {name: (_word(sides[0][name]), _word(sides[1][name])) for name in by_tensor}
    by_component = {component: total(found) for component, found in parts.items()}
    return Diff(pair.base.ref, pair.tuned.ref, resolution, pair.differences(), kinds, by_tensor, by_component)


def _lines(pair: Pair, name: str, axis: int) -> Lines:
    try:
        return line_moments(pair.base.read(name), pair.tuned.read(name), axis)
    except TakebackError as error:
        raise TakebackError(f"tensor {name} cannot be compared: {error}") from error


def _word(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")
