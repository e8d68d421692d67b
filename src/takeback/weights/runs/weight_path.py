"""Along a run: how each component moves over training, and how linear its path is, beside a random walk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from takeback.draw.result import Result, as_table
from takeback.run.identity import identity
from takeback.run.jobs import Workers
from takeback.run.parts import collect
from takeback.weights.runs.fine_tunes import FineTunes, Label, Ref, open_fine_tunes
from takeback.weights.runs.folders import Run, find_runs, parent_of
from takeback.weights.runs.gram import Matrix, distances, gram, random_walk, ratio, with_start
from takeback.weights.runs.path import PATH_MEASURES, STEP_MEASURES, path_measures, step_measures

_NULL = "{} of a random walk with snapshots at the same steps, in many dimensions"

COLUMNS: Mapping[str, str] = {
    "movement": "‖Δ_t‖ with Δ_t = θ_t − θ_0",
    "relative": "‖Δ_t‖ / ‖θ_0‖",
    "move": "‖θ_t − θ_s‖ since the snapshot s before",
    "length": "length of the path so far, Σ move",
    **STEP_MEASURES,
    **{f"{name}_null": _NULL.format(name) for name in STEP_MEASURES},
}
"""What each measure of a snapshot means."""

PATH_COLUMNS: Mapping[str, str] = {
    "snapshots": "number of snapshots after the start",
    "movement": "‖Δ_T‖",
    "relative": "‖Δ_T‖ / ‖θ_0‖",
    "length": "length of the path, Σ_t ‖θ_{t+1} − θ_t‖",
    "share": "share of the whole model's ‖Δ_T‖²",
    **PATH_MEASURES,
    **{f"{name}_null": _NULL.format(name) for name in PATH_MEASURES},
}
"""What each measure of a whole path means."""

_KEYS = ["run", "arm", "seed", "level", "scope", "layer"]


@dataclass(frozen=True, eq=False, repr=False)
class WeightPath(Result):
    """Holds how the components of a model moved over one or several training runs from one base.

    `table` has a row for each run, component, layer and the whole (`level` and `scope`), and snapshot, with
    the measures of `COLUMNS`; `paths` has one for each whole path, with those of `PATH_COLUMNS`.
    """

    name = "course"
    base: str
    table: pd.DataFrame = field(metadata=as_table("course", COLUMNS))
    paths: pd.DataFrame = field(metadata=as_table("paths", PATH_COLUMNS))

    @property
    def columns(self) -> Mapping[str, str]:
        """What each measure means."""
        return {**PATH_COLUMNS, **COLUMNS}


@dataclass(frozen=True, eq=False)
class PathWork:
    """Sums ⟨Δ_s, Δ_t⟩ over the entries of each component, for the snapshots of each run.

    `fine_tunes` holds all snapshots, run after run; run number r has the steps `steps[r]`.
    """

    fine_tunes: FineTunes
    steps: tuple[tuple[int, ...], ...]
    name = "course"

    @property
    def identity(self) -> str:
        """The snapshots and their steps."""
        return identity(self.fine_tunes.identity, self.steps)

    def items(self) -> Sequence[str]:
        """Return the tensors."""
        return list(self.fine_tunes.base.shapes)

    def rows(self, item: str) -> pd.DataFrame:
        """Return the inner products in one tensor: a row per component, run, and two snapshots s ≤ t."""
        products: dict[str, Matrix] = {}
        squares: dict[str, float] = {}
        owners = self.fine_tunes.anatomy.of_tensor(item)
        for block in self.fine_tunes.blocks(item):
            for component, region in owners:
                piece = block.cut(region)
                if piece is not None:
                    name = str(component)
                    products[name] = products.get(name, 0.0) + gram(piece.deltas)
                    squares[name] = squares.get(name, 0.0) + float(np.sum(piece.weights**2))
        tables = [
            self._frame(run, steps, products[name], squares[name]).assign(
                component=name, layer=owners[0][0].layer
            )
            for name in products
            for run, steps in enumerate(self.steps)
        ]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def _frame(self, run: int, steps: tuple[int, ...], products: Matrix, square: float) -> pd.DataFrame:
        first = sum(map(len, self.steps[:run]))
        s, t = np.triu_indices(len(steps))
        dots = products[first + s, first + t]
        return pd.DataFrame({"run": run, "s": s, "t": t, "dot": dots, "base_square": square})


def weight_path(
    folder: str | Path, base: Ref | None = None, out: str | Path | None = None, workers: Workers = 1
) -> WeightPath:
    """Measure how each component moved along a training run, from its snapshots.

    Args:
        folder: a run (`…/arms/ARM/seed-N`) with `step-*` folders and `final`, or an arm with several seeds.
        base: what the run started from, if not the parent that its recipe names.
        out: a folder that keeps finished parts, so that a killed run goes on.
        workers: local processes that share the work; several need `out`.

    Raises:
        PairMismatch: a snapshot has not the base's architecture and shapes.
        TakebackError: the folder is no run, has too few snapshots, or started from other weights.
    """
    runs = find_runs(folder)
    start = parent_of(runs, base)
    snapshots: dict[Label, Ref] = {
        Label(f"{run.label.name} {step}"): one for run in runs for step, one in run.opened(start).items()
    }
    steps = tuple(tuple(step for step, _ in run.snapshots) for run in runs)
    work = PathWork(open_fine_tunes(start, snapshots), steps)
    tables = _tables(collect(work, out, workers), runs, steps)
    return WeightPath(f"The course of {folder}", start.ref, *tables)


def _tables(
    sums: pd.DataFrame, runs: Sequence[Run], steps: Sequence[tuple[int, ...]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Turn inner products into measures, scope by scope and run by run."""
    levels = _levels(sums)
    nulls = [(step_measures(walk, times), path_measures(walk, times)) for walk, times in _walks(steps)]
    tables: list[pd.DataFrame] = []
    paths: list[dict[str, object]] = []
    for keys, rows in levels.groupby(["run", "level", "scope"], sort=False):
        run, level, scope = int(str(keys[0])), str(keys[1]), str(keys[2])
        products = _matrix(rows)
        weights = float(rows["base_square"].iloc[0])
        label = runs[run].label
        who = {
            "run": label.name,
            "arm": label.arm,
            "seed": label.seed,
            "level": level,
            "scope": scope,
            "layer": rows["layer"].iloc[0],
        }
        at, whole = _measured(products, steps[run], weights)
        null_at, null_whole = nulls[run]
        table = pd.DataFrame({"step": steps[run], **at, **{f"{name}_null": v for name, v in null_at.items()}})
        tables.append(table.assign(**who))
        paths.append({**who, **whole, **{f"{name}_null": v for name, v in null_whole.items()}})
    table, summary = pd.concat(tables, ignore_index=True), _with_shares(pd.DataFrame(paths))
    return (
        _typed(table[[*_KEYS, "step", *COLUMNS]], COLUMNS),
        _typed(summary[[*_KEYS, *PATH_COLUMNS]], PATH_COLUMNS),
    )


def _walks(steps: Sequence[tuple[int, ...]]) -> list[tuple[Matrix, tuple[int, ...]]]:
    return [(random_walk(times), times) for times in steps]


def _measured(
    products: Matrix, steps: Sequence[int], weights: float
) -> tuple[dict[str, Matrix], dict[str, float]]:
    """Return `COLUMNS` and `PATH_COLUMNS` of one path, but for its nulls and its share."""
    movement = np.sqrt(np.diag(products))
    relative = ratio(movement, np.asarray(np.sqrt(weights)))
    moves = distances(with_start(products))
    at = {"movement": movement, "relative": relative, "move": moves, "length": np.cumsum(moves)}
    last = {name: float(at[name][-1]) for name in ("movement", "relative", "length")}
    whole = {"snapshots": len(steps), **last, **path_measures(products, steps)}
    return at | step_measures(products, steps), whole


def _levels(sums: pd.DataFrame) -> pd.DataFrame:
    """Add the inner products of components, of layers and of everything, over tensors."""
    inside = sums[sums["layer"].notna()]
    named = [
        sums.assign(level="component", scope=sums["component"]),
        inside.assign(level="layer", scope="L" + inside["layer"].astype("str")),
        sums.assign(level="all", scope="all", layer=pd.array([None] * len(sums), "Int64")),
    ]
    keys = ["level", "scope", "layer", "run", "s", "t"]
    grouped = [
        rows.groupby(keys, sort=False, dropna=False, as_index=False)[["dot", "base_square"]].sum()
        for rows in named
    ]
    return pd.concat(grouped, ignore_index=True)


def _matrix(rows: pd.DataFrame) -> Matrix:
    size = int(rows["t"].max()) + 1
    products = np.zeros((size, size))
    s, t = rows["s"].to_numpy(), rows["t"].to_numpy()
    products[s, t] = products[t, s] = rows["dot"].to_numpy()
    return products


def _with_shares(paths: pd.DataFrame) -> pd.DataFrame:
    whole = paths[paths["level"] == "all"].set_index("run")["movement"].astype(float) ** 2
    square = paths["movement"].astype(float) ** 2
    return paths.assign(share=ratio(_floats(square), _floats(paths["run"].map(whole))))


def _typed(table: pd.DataFrame, measures: Mapping[str, str]) -> pd.DataFrame:
    """Give measures a type in which one can be missing."""
    columns = {name: _floats(table[name]) for name in measures}
    missing = {
        name: pd.arrays.FloatingArray(np.nan_to_num(values), np.isnan(values))
        for name, values in columns.items()
    }
    typed = table.assign(**missing).astype({"seed": "Int64", "layer": "Int64"})
    return typed.astype({"snapshots": "Int64"}) if "snapshots" in typed else typed


def _floats(values: pd.Series) -> Matrix:
    return np.asarray(values, np.float64)
