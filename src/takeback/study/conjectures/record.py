"""The tables of a run that rules read, each loaded when it is first asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from takeback.run.json_text import read_object
from takeback.run.reading import fields_of
from takeback.run.tables import read_table
from takeback.run.yaml_text import read_yaml

_BEHAVIOUR: Final = ("policies", "shifts", "agency", "games")
_DIFF: Final = ("components", "layers", "total")
_FILES: Final = {"contrasts": "contrasts.parquet", "carriers": "carriers.parquet"}


@dataclass(frozen=True)
class RunTables:
    """The tables of one run by the names that rules use.

    `planned` holds the arms and seeds that tables will have when the run is finished.
    """

    run: Path
    planned: Mapping[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    _loaded: dict[str, pd.DataFrame | None] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, run: str | Path) -> RunTables:
        """Return the tables of a run folder, with the arms and seeds of its plan."""
        plan = read_plan(run)
        planned = {"arm": tuple(plan.get("arms") or ()), "seed": tuple(plan.get("seeds") or ())}
        return cls(Path(run), planned if plan else {})

    def get(self, name: str) -> pd.DataFrame | None:
        """Return a table, None where the run has none of this name.

        Raises:
            TakebackError: a file of it is damaged or of another schema version.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> pd.DataFrame | None:
        if name in _BEHAVIOUR:
            return _one(self.run / "behaviour" / f"{name}.parquet")
        if name in _FILES:
            return _one(self.run / _FILES[name])
        if name == "effects":
            paths = sorted((self.run / "effects").glob("[!.]*.parquet"))
            paths = [path for path in paths if not path.name.endswith(".readouts.parquet")]
            return _joined([read_table(path) for path in paths if self._is_planned(path.stem)])
        assert name in _DIFF
        tables: list[pd.DataFrame] = []
        for path in sorted((self.run / "diff").glob(f"[!.]*-seed-*/{name}.parquet")):
            arm, _, seed = path.parent.name.rpartition("-seed-")
            if self._is_planned(path.parent.name):
                tables.append(read_table(path).assign(arm=arm, seed=int(seed)))
        return _joined(tables)

    def _is_planned(self, name: str) -> bool:
        """Return whether `ARM-seed-N` is of the plan, and not left from one that had more arms."""
        arm, _, seed = name.rpartition("-seed-")
        return not self.planned or (arm in self.planned["arm"] and seed in map(str, self.planned["seed"]))


def read_plan(run: str | Path) -> dict[str, Any]:
    """Return the plan of a run folder as plain fields, empty where there is none.

    Raises:
        TakebackError: the file can't be read.
    """
    path = Path(run) / "plan.yaml"
    if not path.exists():
        return {}
    plan = read_yaml(path, f"{run} has no {path.name}")
    return plan if isinstance(plan, dict) else {}


def unfinished(run: str | Path) -> str:
    """Return what the manifest of a run lacks of its plan, such as `rl-win/seed-3`; empty where nothing.

    Raises:
        TakebackError: the plan or the manifest can't be read.
    """
    path = Path(run) / "manifest.json"
    if not path.exists():
        return path.name
    with fields_of(path, "a manifest", "remove it and run the plan again"):
        made = {*read_object(path)["checkpoints"]}
    plan = read_plan(run)
    each = [f"{arm}/seed-{seed}" for arm in plan.get("arms") or () for seed in plan.get("seeds") or ()]
    return next((name for name in each if name not in made), "")


def _one(path: Path) -> pd.DataFrame | None:
    return read_table(path) if path.exists() else None


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame | None:
    full = [table for table in tables if len(table)]
    return pd.concat(full, ignore_index=True) if full else None
