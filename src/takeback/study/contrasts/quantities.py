"""One number for each training run, component and measure, out of all tables of a run's record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from takeback.findings.localise.shares import GRAFT, TAKE_BACK
from takeback.findings.sweep.sets import CONTROLS
from takeback.measure.measures import typed
from takeback.measure.standard import utility
from takeback.run.errors import TakebackError
from takeback.run.tables import read_table
from takeback.study.comparison.measures import MEASURES, ROUNDING, Runs, arms_of
from takeback.study.kept_losses import LossReader
from takeback.study.pursuit import single

WEIGHTS: Final = "weights"
BEHAVIOUR: Final = "behaviour"
SOURCES: Final = (WEIGHTS, TAKE_BACK, GRAFT, BEHAVIOUR)
"""Where a number is from: a diff, a takeback, a graft, or the whole model's behaviour."""

OWN: Final = "utility of the arm's own goal"
"""The effect on the utility of whatever goal an arm has."""

_MOVED: Final = ("relative", "share")
WHOLE: Final = {
    "utility gained": BEHAVIOUR,
    "legal mass gained": BEHAVIOUR,
    "KL": BEHAVIOUR,
    "half of ‖Δ‖²": WEIGHTS,
    "‖Δ‖² at the outputs": WEIGHTS,
    "pursuit share": BEHAVIOUR,
    "optimisation power": BEHAVIOUR,
    "MEG": BEHAVIOUR,
}
"""What `takeback compare` compares whole models on, and where each number is from."""

_KEYS = ["arm", "seed", "source", "component", "measure", "value"]

Report = Callable[[int, int], None]
"""Told how many training runs are read of how many."""


@dataclass(frozen=True, eq=False)
class Quantities:
    """What a record holds as numbers of training runs.

    Attributes:
        table: arm, seed, source, component (its name, or empty for the whole model), measure, value.
        random_sets: root mean square effect of random sets, of the fewest components that there are:
            source, measure, value; empty where none were swept.
        missing: in words, what of the plan is not there.
    """

    table: pd.DataFrame
    random_sets: pd.DataFrame
    missing: tuple[str, ...]


def quantities(run: Path, report: Report | None = None) -> Quantities:
    """Read a run, finished or not, into one tidy table.

    - `weights`: of each component `relative` (‖Δ‖/‖W‖) and `share` (of ‖Δ‖²), and, where circuits were
      measured into the folder, the invariant `change CIRCUIT`.
    - `take back`, `graft`: the effect of every single component on every measure, on the utility of the arm's
      own goal, and on probes; of takebacks also the `LOSSES` of pursuit.
    - `behaviour`, without a component: what the whole arm gained, its agency toward its own goal, and its
      shift in every measure.

    Arms and seeds that have no diff, sweep or behaviour yet are left out and named. Numbers below 1e-12 are
    rounding, and 0.

    Raises:
        TakebackError: it is no run folder, or nothing of it is there yet.
    """
    arms = arms_of(run)
    plan = arms[0].plan
    reader = LossReader(plan, run)
    tables: list[pd.DataFrame] = [_of_whole(arm) for arm in arms]
    random: list[pd.DataFrame] = []
    missing: list[str] = []
    absent: dict[str, list[int]] = {}
    pairs = [(arm, seed) for arm in arms for seed in plan.seeds]
    for done, (arm, seed) in enumerate(pairs):
        if report is not None:
            report(done, len(pairs))
        path = run / "effects" / f"{arm.name(seed)}.parquet"
        tables += [t.assign(arm=arm.arm, seed=seed) for t in (*_moved(arm, seed), *_shifted(arm, seed))]
        if arm.table("diff", seed, "components") is None or not path.exists():
            absent.setdefault(arm.arm, []).append(seed)
        missing += _unmatched(arm, seed)
        if path.exists():
            effects = read_table(path)
            found = [_effects(effects, str(plan.arms[arm.arm].get("goal"))), *_probes(run, arm, seed)]
            try:
                lost = reader.of(arm.arm, seed).rename(columns={"loss": "value"})
                found.append(lost.assign(source=TAKE_BACK))
            except TakebackError as error:
                missing.append(f"pursuit of {arm.arm} seed {seed} without its components: {error}")
            tables += [t.assign(arm=arm.arm, seed=seed) for t in found]
            random.append(_random(effects))
    if absent:
        told = "; ".join(f"{arm} {', '.join(map(str, seeds))}" for arm, seeds in absent.items())
        missing.insert(0, f"seeds that are not there yet: {told}")
    whole = [table[_KEYS] for table in tables if len(table)]
    if not whole:
        raise TakebackError(f"{run} has no diff, sweep or behaviour of any arm yet; run its plan")
    table = pd.concat(whole, ignore_index=True).dropna(subset=["value"])
    values = table["value"].to_numpy(np.float64)
    table["value"] = np.where(np.abs(values) < ROUNDING, 0.0, values)
    keys = [key for key in _KEYS if key != "value"]
    unique = table.drop_duplicates(keys, ignore_index=True)
    return Quantities(unique, _pooled(random), tuple(missing))


def _moved(arm: Runs, seed: int) -> Iterator[pd.DataFrame]:
    """Give how far each component's weights and circuits moved."""
    components = arm.table("diff", seed, "components")
    if components is not None:
        columns = [name for name in _MOVED if name in components]
        yield _long(components, columns).assign(source=WEIGHTS)
    circuits = arm.table("diff", seed, "circuits")
    if circuits is not None:
        named = circuits.assign(measure="change " + circuits["circuit"], value=circuits["change"])
        yield named[["component", "measure", "value"]].assign(source=WEIGHTS)


def _long(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    return table.melt("component", columns, "measure", "value")


def _shifted(arm: Runs, seed: int) -> Iterator[pd.DataFrame]:
    """Give what changed in each measure of the whole model."""
    shifts = arm.table("behaviour", seed, "shifts")
    if shifts is not None:
        rows = shifts[["measure", "effect"]].rename(columns={"effect": "value"})
        yield rows.assign(source=BEHAVIOUR, component="")


def _unmatched(arm: Runs, seed: int) -> Iterator[str]:
    """Say that a run is not as far from its parent as the plan wants all to be."""
    shifts = arm.table("behaviour", seed, "shifts")
    if shifts is not None and "matched" in shifts and (~shifts["matched"].dropna().astype(bool)).any():
        yield f"{arm.arm} seed {seed} is measured at {shifts['kl'].iloc[0]:.2g} nats, not at the plan's KL"


def _of_whole(arm: Runs) -> pd.DataFrame:
    """Give what `takeback compare` compares whole models on."""
    rows = [
        {"arm": arm.arm, "seed": seed, "source": source, "measure": name, "value": value}
        for name, source in WHOLE.items()
        if "goal" in arm.plan.arms[arm.arm]
        for seed, value in MEASURES[name][1](arm).items()
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "source", "measure", "value"]).assign(component="")


def _effects(effects: pd.DataFrame, goal: str) -> pd.DataFrame:
    """Return the effects of single components, those on the own goal's utility once more under its name."""
    rows = effects[single(effects)]
    own = rows[rows["measure"] == utility(goal).name].assign(measure=OWN)
    both = pd.concat([rows, own], ignore_index=True)
    found = pd.DataFrame({"component": both["components"], "measure": both["measure"]})
    return found.assign(value=both["effect"], source=both["direction"])


def _probes(run: Path, arm: Runs, seed: int) -> Iterator[pd.DataFrame]:
    """Give the effects of single components on probes, where there are any."""
    path = run / "probes" / f"{arm.name(seed)}.parquet"
    if path.exists():
        rows = read_table(path)
        rows = rows[~rows["components"].str.contains(" ") & (rows["components"] != "")]
        found = pd.DataFrame({"component": rows["components"], "measure": rows["measure"]})
        yield found.assign(value=rows["effect"], source=rows["direction"])


def _random(effects: pd.DataFrame) -> pd.DataFrame:
    """Return the squares of what the smallest random sets do."""
    rows = effects[effects["family"].isin(CONTROLS)]
    rows = rows[rows["n_components"] == rows["n_components"].min()]
    squares = rows["effect"].astype("Float64") ** 2
    return pd.DataFrame({"source": rows["direction"], "measure": rows["measure"], "value": squares})


def _pooled(random: list[pd.DataFrame]) -> pd.DataFrame:
    some = [table for table in random if len(table)]
    if not some:
        return typed(pd.DataFrame(columns=["source", "measure", "value"]), ("value",))
    means = pd.concat(some).groupby(["source", "measure"], as_index=False)["value"].mean()
    return means.assign(value=means["value"] ** 0.5)
