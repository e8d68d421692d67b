"""Keep the small tables of trained arms and of commands run on them: `python keep.py RUNS READ -o RECORD`.

RUNS is the folder that `run.py` trained into, and in which both studies were run; READ holds what
`commands.py` wrote, in ARM-seed-N for each arm. A command's table has a column for the arm; `costs` are
those of one. Of the studies there is what `takeback compare` tells of them, what kinds and layers do in every
run, and what became of the conjectures.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from takeback.run.tables import read_table, write_table
from takeback.study.comparison import compare

MAIN, WITHIN = "rl-seed-0", "within"
"""The arm whose costs are kept, and where they are of commands within a limit of memory."""
LEARNED = ("step", "reward", "loss", "entropy")
KINDS = {
    "read": "task/measures.parquet",
    "agency": "task/agency.parquet",
    "effects": "task/effects.parquet",
    "repair": "repaired/repair.parquet",
    "moved": "diff/total.parquet",
    "transplants": "transplants.parquet",
    "agreement": "attribution/agreement.parquet",
}
TASK = "task"
BESIDE = ("read", "effects")
"""The tables of which there may be one for each arena."""
CHESS = "chess-"
"""How folders of arms in chess are called, which have tables of their own."""
IN_CHESS = {"chess": "task/measures.parquet", "chess_effects": "task/effects.parquet"}
STUDIES = ("smollm2", "smollm2-once")
OF_RUNS = {"effects": "effects/*-seed-?.parquet", "conjectures": "conjectures.parquet"}
SKILL = "utility right"
SHOWN = ("effect", "low", "high")
FOLDERS = ("relative_to",)
"""Columns that name folders of the machine that made them."""


def kept(runs: Path, read: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Give each table of the record by name."""
    files = [file for study in STUDIES for file in sorted((runs / study).glob("arms/*/*/log.parquet"))]
    logs = {f"{file.parts[-3]}-{file.parts[-2]}": file for file in files}
    found = {name: read_table(file) for name, file in logs.items()}
    yield (
        "learning",
        _stacked({name: log[[one for one in LEARNED if one in log]] for name, log in found.items()}),
    )
    every = [folder for folder in sorted(read.iterdir()) if folder.name != WITHIN]
    for kind, place in {**KINDS, **IN_CHESS}.items():
        folders = [one for one in every if one.name.startswith(CHESS) == (kind in IN_CHESS)]
        files = {folder.name.removeprefix(CHESS): folder / place for folder in folders}
        if kind in BESIDE:
            tables = {name: _in_arenas(read / name, file.name) for name, file in files.items()}
        else:
            tables = {name: read_table(file) for name, file in files.items() if file.exists()}
        if tables := {name: table for name, table in tables.items() if len(table)}:
            yield kind, _stacked(tables)
    for name, folder in {"costs": MAIN, "within": WITHIN}.items():
        if (costs := read / folder / "costs.parquet").exists():
            yield name, read_table(costs)
    studies = [runs / name for name in STUDIES if (runs / name / "manifest.json").exists()]
    if studies:
        yield from ((name, table) for name, table in compare(studies).tables.items() if len(table))
    of_runs = {name: _every(studies, place) for name, place in OF_RUNS.items()}
    if len(swept := of_runs["effects"]):
        some = swept[(swept["measure"] == SKILL) & ~swept["family"].str.startswith("random")]
        run = some["arm"] + "-seed-" + some["seed"].astype(str)
        yield "seeds", some[["direction", "family", "set", *SHOWN]].assign(run=run)
    if len(decided := of_runs["conjectures"]):
        yield "conjectures", decided


def _every(studies: Sequence[Path], place: str) -> pd.DataFrame:
    tables = [read_table(file) for folder in studies for file in sorted(folder.glob(place))]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _in_arenas(folder: Path, name: str) -> pd.DataFrame:
    """Return what was measured on the task and, below it, on each arena beside it."""
    files = [folder / TASK / name, *sorted(folder.glob(f"beside/*/{name}"))]
    found = [read_table(file).assign(arena=file.parent.name) for file in files if file.exists()]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _stacked(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    if not tables:
        raise SystemExit("there is no trained arm; run run.py first")
    found = pd.concat([table.assign(arm=name) for name, table in tables.items()], ignore_index=True)
    return found.drop(columns=[one for one in FOLDERS if one in found])


def main() -> None:
    """Write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", type=Path)
    parser.add_argument("read", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    for name, table in kept(given.runs, given.read):
        write_table(table, given.out / f"{name}.parquet")
        print(f"{name}: {len(table)} rows")


if __name__ == "__main__":
    main()
