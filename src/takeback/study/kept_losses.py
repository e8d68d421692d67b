"""Losses of pursuit of a run on disk: as it kept them, else from the readouts beside its effects.

Runs of plans without contrasts, and those of versions before there were stores, kept no losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from takeback.arenas import arena
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.findings.localise.shares import TAKE_BACK
from takeback.measure.bench import Bench
from takeback.policies.readout import UNDECIDED, Readouts
from takeback.run.errors import TakebackError
from takeback.run.json_text import read_object
from takeback.run.reading import fields_of
from takeback.run.tables import read_table
from takeback.study.plan import Plan
from takeback.study.pursuit import keep_losses, single, stamp


class LossReader:
    """Gives losses of pursuit over the sweeps of one run."""

    def __init__(self, plan: Plan, run: Path) -> None:
        self._plan, self._run = plan, run

    def of(self, arm: str, seed: int, place: str = "") -> pd.DataFrame:
        """Return the losses of every single component of an arm and seed, whose sweep kept its readouts.

        `place` is where in the run these tables are: its own folder, or that of the snapshots beside.

        Base and tuned are read once more, as the sweep read them and from where it says they were. What was
        measured is kept as `pursuit/ARM-seed-N.parquet`, under the key of the sweep.

        Returns:
            As `losses`.

        Raises:
            TakebackError: the sweep kept no readouts, its models are gone or are other ones now, or they
                were read on other situations than the plan's.
        """
        name, goal = f"{arm}-seed-{seed}", self._plan.arms[arm].get("goal")
        effects, kept = (self._run / place / of / f"{name}.parquet" for of in ("effects", "pursuit"))
        about = effects.with_suffix(".sweep.json")
        with fields_of(about, "a sweep's manifest"):
            manifest = read_object(about) if about.exists() else {}
        made_of = stamp(manifest.get("key"), goal)
        if kept.exists():
            table = read_table(kept)
            before = f"{manifest.get('key')} {goal}"  # as version 0.1 wrote it
            if not manifest or set(table["made_of"]) <= {made_of, before}:
                return table.drop(columns="made_of")
        readouts = effects.with_suffix(".readouts.parquet")
        if not manifest or not readouts.exists():
            raise TakebackError(f"{effects} has no readouts beside it to measure pursuit by; sweep with them")
        folders = {"base": "base", "tuned": f"arms/{arm}/seed-{seed}"}
        with fields_of(about, "a sweep's manifest"):
            refs = {side: self._ref(manifest[side], folder) for side, folder in folders.items()}
        asked = arena(self._plan.arena)
        situations = asked.situations("held-out", self._plan.situations, self._plan.situations_seed)
        bench = Bench(open_pair(refs["base"], refs["tuned"]), asked, situations)
        hybrids = dict(_hybrids(read_table(readouts), read_table(effects), bench.ends["base"]))
        return keep_losses(bench, hybrids, goal, (manifest["key"], kept))

    def _ref(self, side: Mapping[str, str], place: str) -> str:
        """Return where a model is; in a run folder that was moved it is looked for where runs keep it."""
        ref, moved = side["ref"], self._run / place / Path(side["ref"]).name
        if not Path(ref).exists() and moved.exists():
            ref = str(moved)
        if open_checkpoint(ref).digest != side["digest"]:
            raise TakebackError(f"{ref} is another model than the one that was swept; sweep again")
        return ref


def _hybrids(readouts: pd.DataFrame, effects: pd.DataFrame, base: Readouts) -> Iterator[tuple[str, Readouts]]:
    """Give each single component with the readouts of tuned without it."""
    frame = base.to_frame()
    names = dict(zip(effects["set"], effects["components"], strict=True))
    singles = set(effects.loc[single(effects), "set"])
    rows = readouts[(readouts["direction"] == TAKE_BACK) & readouts["set"].isin(singles)]
    for (_, name), table in rows.groupby(["family", "set"], sort=False):
        keys = ("situation", "kind", "outcome")
        if len(table) != len(frame) or any((table[key].array != frame[key].array).any() for key in keys):
            raise TakebackError(f"readouts of {name} are not of the plan's situations; sweep again")
        p, kind = table["probability"].to_numpy(np.float64), table["kind"].to_numpy()
        yield (
            str(names[name]),
            replace(
                base,
                probabilities=p[kind == "legal"],
                masses=p[kind == "illegal"].reshape(base.masses.shape),
                undecided=p[kind == UNDECIDED],
            ),
        )
