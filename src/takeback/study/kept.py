"""A record that is small enough to be kept beside a page: what its claims rest on, and no model.

It has the layout of a run folder and few of its files, so contrasts, conjectures and project files read it
as they read a run. Its contrasts can be made once more: the numbers of training runs are in it, and what each
situation adds to those that a page shows.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pandas as pd

from takeback.findings.localise.shares import TAKE_BACK
from takeback.run.errors import TakebackError
from takeback.run.files import atomic_folder
from takeback.run.tables import write_table
from takeback.study.by_situation import ABOUT, BEHAVIOUR, OWN
from takeback.study.contrasts.contrasts import contrasts
from takeback.study.contrasts.quantities import MARK, SHOWN, WHOLE, quantities
from takeback.study.measured import Measured, read_measured
from takeback.study.plan import Plan, dump_plan, load_plan
from takeback.study.steps import ALL, every_step

COPIED: Final = (
    "manifest.json",
    "conjectures.lock.json",
    "conjectures.parquet",
    "conjecture_scores.parquet",
)
"""Files of a run that are kept as they are, where they are there."""


def keep_record(run: str | Path, out: str | Path) -> Path:
    """Write what the claims of a finished run rest on into a new folder of a few megabytes; return it.

    `contrasts`, `compare` and project files read it as the run itself. Of its numbers it has those of whole
    models and the measures of components that a page draws, and of the whole models and the own goal's
    utility what each situation adds; `measured.parquet` tells which snapshots they are of.

    Raises:
        TakebackError: it is no run, it has no contrasts, or the folder is there already.
    """
    run, out = Path(run), Path(out)
    plan = load_plan(run / "plan.yaml")
    if not plan.contrasts:
        raise TakebackError(f"the plan of {run} has no contrasts, so there is nothing to keep")
    if (run / MARK).exists():
        raise TakebackError(f"{run} is a kept record already; copy it")
    if out.exists():
        raise TakebackError(f"{out} is there already; remove it or choose another folder")
    found = quantities(run)
    with atomic_folder(out) as folder:
        for name in COPIED:
            if (run / name).exists():
                shutil.copyfile(run / name, folder / name)
        # Where the project's file is, holds on the run's machine alone.
        own = dump_plan(plan.model_copy(update={"project": None}))
        (folder / "plan.yaml").write_text(own, encoding="utf-8")
        steps = {
            of: {name: asdict(one) for name, one in told.items()} for of, told in every_step(run).items()
        }
        untold = {"missing": list(found.missing)}
        for name, value in ((ALL, steps), (MARK, untold)):
            (folder / name).write_text(json.dumps(value, indent=1), encoding="utf-8")
        write_table(_shown(found.table), folder / "quantities.parquet")
        write_table(found.random_sets, folder / "random_sets.parquet")
        write_table(_measured(plan, run), folder / "measured.parquet")
        if found.situations is not None:
            parts = found.situations.table
            write_table(parts[_is_kept(parts)], folder / "by_situation.parquet")
        for name, table in contrasts(folder).tables.items():
            write_table(table, folder / f"{name}.parquet")
    return out


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return the numbers that a page draws: of whole models, and the measures of components."""
    keys = list(zip(table["source"], table["measure"], strict=True))
    drawn = [key in SHOWN or WHOLE.get(key[1]) == key[0] for key in keys]
    return table[drawn].reset_index(drop=True)


def _is_kept(parts: pd.DataFrame) -> pd.Series[bool]:
    whole = (parts["source"] == BEHAVIOUR) & parts["measure"].isin(list(WHOLE))
    own = (parts["source"] == TAKE_BACK) & (parts["measure"] == OWN)
    return whole | own | (parts["source"] == ABOUT)


def _measured(plan: Plan, run: Path) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for arm in plan.arms:
        for seed in plan.seeds:
            if (found := read_measured(arm, seed, run)) is not None:
                rows.append({"arm": arm, "seed": seed, **_row(found)})
    return pd.DataFrame(rows)


def _row(found: Measured) -> dict[str, Any]:
    told = {"step": found.step, "kl": found.kl, "matched": found.matched, "share": found.share}
    beside = {"beside_step": None, "beside_kl": None}
    if found.beside is not None:
        beside = {"beside_step": found.beside.step, "beside_kl": found.beside.kl}
    return {**told, **beside, "at": found.at}
