"""What taking a component back loses of the pursuit of an arm's goal, from the readouts of a sweep."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from takeback.arenas import arena
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.findings.localise.shares import TAKE_BACK
from takeback.findings.sweep.sets import CONTROLS
from takeback.measure.agency.agency import pursuit, pursuit_values
from takeback.measure.measure import MeasureContext, if_legal
from takeback.measure.measures import typed
from takeback.measure.outcomes import Outcomes
from takeback.measure.read import Reader, Sides
from takeback.measure.shift import KL as DIVERGENCE
from takeback.measure.shift import shift
from takeback.policies.readout import UNDECIDED, Readouts
from takeback.run.errors import TakebackError
from takeback.run.identity import identity
from takeback.run.tables import read_table, write_table
from takeback.study.plan import Plan

SHARE: Final = if_legal("loss of signed pursuit share")
PURSUIT: Final = if_legal("loss of pursuit at tuned's β")
KL: Final = "loss of KL from its parent"

LOSSES: Final[Mapping[str, str]] = {
    SHARE: "signed pursuit share of the arm's own goal, given a legal answer: tuned's less the hybrid's",
    PURSUIT: "E[β E U − log E_base exp(βU)] at tuned's β for the own goal, given a legal answer, in nats: "
    "tuned's less the hybrid's",
    KL: "KL(· || parent) over all outcomes, in nats: tuned's less the hybrid's",
}
"""What each measure is; all are positive where taking the component back takes something away."""


def losses(
    base: Readouts,
    tuned: Readouts,
    hybrids: Mapping[str, Readouts],
    context: MeasureContext,
    goal: str | None,
) -> pd.DataFrame:
    """Measure what each hybrid lacks of tuned's pursuit of a goal and of its distance from base.

    Args:
        base: what tuned was trained from.
        tuned: the trained policy.
        hybrids: tuned with a component taken back, by the component.
        context: what measures need of the arena.
        goal: the arm's own; without one only the distance is measured.

    Returns:
        A row for each component and measure of `LOSSES`: component, measure, loss. It is missing where the
        share is undefined, or tuned's β infinite.

    Raises:
        UnknownName: there is no such goal.
        TakebackError: the readouts are of different situations.
    """
    whole, beta = _numbers(base, tuned, context, goal)
    rows: list[dict[str, Any]] = []
    for component, hybrid in hybrids.items():
        found, _ = _numbers(base, hybrid, context, goal, beta)
        for measure, number in whole.items():
            rest = found[measure]
            lost = None if number is None or rest is None else number - rest
            rows.append({"component": component, "measure": measure, "loss": lost})
    return typed(pd.DataFrame(rows, columns=["component", "measure", "loss"]), ("loss",))


def contrasted(plan: Plan) -> bool:
    """Tell whether a run of the plan measures losses of pursuit: it has contrasts, and keeps readouts."""
    return bool(plan.contrasts) and plan.readouts


class LossReader:
    """Measures losses of pursuit over the sweeps of one run."""

    def __init__(self, plan: Plan, run: Path) -> None:
        self._plan, self._run = plan, run

    def of(self, arm: str, seed: int) -> pd.DataFrame:
        """Return the losses of every single component of an arm and seed, whose sweep kept its readouts.

        Base and tuned are read once more, as the sweep read them and from where it says they were. What was
        measured is kept as `pursuit/ARM-seed-N.parquet`, under the key of the sweep.

        Returns:
            As `losses`.

        Raises:
            TakebackError: the sweep kept no readouts, its models are gone or are other ones now, or they
                were read on other situations than the plan's.
        """
        name, goal = f"{arm}-seed-{seed}", self._plan.arms[arm].get("goal")
        effects, kept = (self._run / folder / f"{name}.parquet" for folder in ("effects", "pursuit"))
        about = effects.with_suffix(".sweep.json")
        manifest = json.loads(about.read_text(encoding="utf-8")) if about.exists() else {}
        stamp = identity(manifest.get("key"), goal)
        if kept.exists():
            table = read_table(kept)
            before = f"{manifest.get('key')} {goal}"  # as version 0.1 wrote it
            if not manifest or set(table["made_of"]) <= {stamp, before}:
                return table.drop(columns="made_of")
        readouts = effects.with_suffix(".readouts.parquet")
        if not manifest or not readouts.exists():
            raise TakebackError(f"{effects} has no readouts beside it to measure pursuit by; sweep with them")
        places = {"base": "base", "tuned": f"arms/{arm}/seed-{seed}"}
        refs = {side: self._ref(manifest[side], place) for side, place in places.items()}
        place = arena(self._plan.arena)
        situations = place.situations("held-out", self._plan.situations, self._plan.situations_seed)
        read = Reader(Sides(open_pair(refs["base"], refs["tuned"]), place), situations)
        base, tuned = read.before["base"], read.before["tuned"]
        hybrids = dict(_hybrids(read_table(readouts), read_table(effects), base))
        measured = (
            goal if goal in read.context.utilities else None
        )  # one can train toward goals that are no measure
        found = losses(base, tuned, hybrids, read.context, measured)
        write_table(found.assign(made_of=stamp), kept)
        return found

    def _ref(self, side: Mapping[str, str], place: str) -> str:
        """Return where a model is; in a run folder that was moved it is looked for where runs keep it."""
        ref, moved = side["ref"], self._run / place / Path(side["ref"]).name
        if not Path(ref).exists() and moved.exists():
            ref = str(moved)
        if open_checkpoint(ref).digest != side["digest"]:
            raise TakebackError(f"{ref} is another model than the one that was swept; sweep again")
        return ref


def _numbers(
    base: Readouts, policy: Readouts, context: MeasureContext, goal: str | None, beta: float | None = None
) -> tuple[dict[str, float | None], float | None]:
    """Return what a policy has of each measure, and the β at which: its own where none is given."""
    found: dict[str, float | None] = {KL: float(shift(base, policy)[DIVERGENCE.name].mean())}
    if goal is None:
        return found, None
    given = Outcomes.of(base, policy, context, (goal,), if_legal=True)
    if not len(given):
        return {**found, SHARE: None, PURSUIT: None}, beta
    fitted = pursuit(given)
    beta = fitted.beta if beta is None else beta
    found[SHARE] = None if fitted.signed is None else fitted.signed.value
    found[PURSUIT] = None
    if np.isfinite(beta):
        values = pursuit_values(given, beta)
        found[PURSUIT] = float(values.numbers[values.applies].mean())
    return found, beta


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


def single(effects: pd.DataFrame) -> pd.Series[bool]:
    """Tell which rows are of a component alone; random sets are none."""
    return (effects["n_components"] == 1) & ~effects["family"].isin(CONTROLS)
