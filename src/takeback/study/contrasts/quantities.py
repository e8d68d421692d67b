"""One number for each training run, component and measure, out of all tables of a run's record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.findings.localise.shares import GRAFT, TAKE_BACK
from takeback.findings.sweep.sets import CONTROLS
from takeback.measure.measures import typed
from takeback.measure.standard import utility
from takeback.run.errors import TakebackError
from takeback.run.json_text import read_object
from takeback.run.reading import fields_of
from takeback.run.tables import read_table
from takeback.study.by_situation import (
    ABOUT,
    BEHAVIOUR,
    DIRECTED,
    DISTANCE,
    FOLDER,
    GAINED,
    LEGAL_GAINED,
    ON_SCALES,
    OWN,
    POWER,
    between,
)
from takeback.study.comparison.measures import MEASURES, ROUNDING, Runs, arms_of
from takeback.study.kept_losses import LossReader
from takeback.study.pursuit import KL, PURSUIT, SHARE, single

WEIGHTS: Final = "weights"
SOURCES: Final = (WEIGHTS, TAKE_BACK, GRAFT, BEHAVIOUR)
"""Where a number is from: a diff, a takeback, a graft, or the whole model's behaviour."""

_MOVED: Final = ("relative", "share")
WHOLE: Final = {
    GAINED: BEHAVIOUR,
    LEGAL_GAINED: BEHAVIOUR,
    DISTANCE: BEHAVIOUR,
    "half of ‖Δ‖²": WEIGHTS,
    "‖Δ‖² at the outputs": WEIGHTS,
    **dict.fromkeys(ON_SCALES.values(), BEHAVIOUR),
    POWER: BEHAVIOUR,
    DIRECTED: BEHAVIOUR,
}
"""What `takeback compare` compares whole models on, and where each number is from."""

SHOWN: Final = (
    (TAKE_BACK, SHARE),
    (TAKE_BACK, PURSUIT),
    (TAKE_BACK, KL),
    (TAKE_BACK, OWN),
    (TAKE_BACK, "legal"),
    (WEIGHTS, "relative"),
    (WEIGHTS, "share"),
)
"""The measures of components that are drawn; all are in the table."""

MARK: Final = "kept.json"
"""In a kept record, what could not be told; its quantities are a table of their own."""

_KEYS = ["arm", "seed", "source", "component", "measure", "value"]

Report = Callable[[int, int], None]
"""Told how many training runs are read of how many."""


@dataclass(frozen=True, eq=False)
class Situations:
    """What each situation adds to some numbers of training runs.

    Attributes:
        values: shape (arms, seeds, components, situations); their mean over situations is the number, and of
            one that is no mean (a share, a ratio) they are its linear part, by the delta method.
        clusters: which situations belong together, one label each; None where each stands alone.
    """

    values: NDArray[np.float64]
    clusters: NDArray[np.int64] | None = None


class Contributions:
    """What each situation adds to the numbers of training runs.

    Args:
        table: arm, seed and the columns of `by_situation.between`.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        about = table["source"] == ABOUT
        self._clusters = None if not about.any() else table.loc[about, "parts"].iloc[0].astype(np.int64)
        self._wide = {
            (str(source), str(measure)): rows.pivot(
                index=["arm", "seed"], columns="component", values="parts"
            )
            for (source, measure), rows in table[~about].groupby(["source", "measure"], sort=False)
        }

    def of(
        self, key: tuple[str, str], arms: Sequence[str], seeds: Sequence[int], components: Sequence[str]
    ) -> Situations | None:
        """Return what situations add to the numbers of a source and measure; None where that is not known."""
        wide = self._wide.get(key)
        runs = [(arm, seed) for arm in arms for seed in seeds]
        if wide is None or not {*runs} <= {*wide.index} or not {*components} <= {*wide.columns}:
            return None
        rows = wide.loc[runs].loc[:, list(components)]
        if rows.isna().to_numpy().any():
            return None
        each = np.array(rows.to_numpy().tolist(), np.float64)
        return Situations(each.reshape(len(arms), len(seeds), *each.shape[1:]), self._clusters)


@dataclass(frozen=True, eq=False)
class Quantities:
    """What a record holds as numbers of training runs.

    Attributes:
        table: arm, seed, source, component (its name, or empty for the whole model), measure, value.
        random_sets: root mean square effect of random sets, of the fewest components that there are:
            source, measure, value; empty where none were swept.
        missing: in words, what of the plan is not there.
        situations: what each situation adds to these numbers, where that was kept.
    """

    table: pd.DataFrame
    random_sets: pd.DataFrame
    missing: tuple[str, ...]
    situations: Contributions | None = None


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
    if (run / MARK).exists():
        return _kept(run)
    arms = arms_of(run)
    plan = arms[0].plan
    reader = LossReader(plan, run)
    found = _RunsRead([_of_whole(arm) for arm in arms])
    pairs = [(arm, seed) for arm in arms for seed in plan.seeds]
    for done, (arm, seed) in enumerate(pairs):
        if report is not None:
            report(done, len(pairs))
        found.add(run, arm, seed, reader)
    whole = [table[_KEYS] for table in found.tables if len(table)]
    if not whole:
        raise TakebackError(f"{run} has no diff, sweep or behaviour of any arm yet; run its plan")
    table = pd.concat(whole, ignore_index=True).dropna(subset=["value"])
    values = table["value"].to_numpy(np.float64)
    table["value"] = np.where(np.abs(values) < ROUNDING, 0.0, values)
    keys = [key for key in _KEYS if key != "value"]
    unique = table.drop_duplicates(keys, ignore_index=True)
    situations = Contributions(pd.concat(found.parts, ignore_index=True)) if found.parts else None
    return Quantities(unique, _pooled(found.random), found.words, situations)


def _kept(record: Path) -> Quantities:
    with fields_of(record / MARK, "a kept record", "keep it again"):
        told = read_object(record / MARK)
        words = tuple(map(str, told["missing"]))
    table, random = (read_table(record / f"{name}.parquet") for name in ("quantities", "random_sets"))
    parts = record / "by_situation.parquet"
    return Quantities(table, random, words, Contributions(read_table(parts)) if parts.exists() else None)


@dataclass
class _RunsRead:
    """What is read of training runs, one after the other."""

    tables: list[pd.DataFrame]
    parts: list[pd.DataFrame] = field(default_factory=list)
    random: list[pd.DataFrame] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    absent: dict[str, dict[int, None]] = field(default_factory=dict)

    @property
    def words(self) -> tuple[str, ...]:
        """What is missing."""
        if not self.absent:
            return tuple(self.missing)
        told = "; ".join(f"{arm} {', '.join(map(str, seeds))}" for arm, seeds in self.absent.items())
        return f"seeds that are not there yet: {told}", *self.missing

    def add(self, run: Path, arm: Runs, seed: int, reader: LossReader) -> None:
        """Read one training run, at one snapshot or between two."""
        self.missing += _unmatched(arm, seed)
        of, sides = arm.sides(seed), list[pd.DataFrame]()
        for place, share in of:
            tables = self._side(run, (arm, seed, place), reader)
            sides += [one.assign(share=share) for one in tables if len(one)]
        if sides:
            table = _between(pd.concat(sides, ignore_index=True))
            self.tables.append(table.assign(arm=arm.arm, seed=seed))
        kept = [(run / place / FOLDER / f"{arm.name(seed)}.parquet", share) for place, share in of]
        if (parts := between(kept)) is not None:
            self.parts.append(parts.assign(arm=arm.arm, seed=seed))

    def _side(self, run: Path, of: tuple[Runs, int, str], reader: LossReader) -> list[pd.DataFrame]:
        arm, seed, place = of
        found = [*_moved(*of), *_shifted(*of)]
        path = run / place / "effects" / f"{arm.name(seed)}.parquet"
        if arm.table("diff", seed, "components", place) is None or not path.exists():
            self.absent.setdefault(arm.arm, {})[seed] = None
        if not path.exists():
            return found
        effects, probed = read_table(path), _probes(run / place, arm, seed)
        self.random.append(_random(effects))
        try:
            lost = reader.of(arm.arm, seed, place).rename(columns={"loss": "value"})
            found.append(lost.assign(source=TAKE_BACK))
        except TakebackError as error:
            self.missing.append(f"pursuit of {arm.arm} seed {seed} without its components: {error}")
        return [*found, _effects(effects, str(arm.plan.arms[arm.arm].get("goal"))), *probed]


def _between(table: pd.DataFrame) -> pd.DataFrame:
    """Weigh the numbers of the snapshots by their shares; what only one of them has has no number between."""
    keys = ["source", "component", "measure"]
    table = table.drop_duplicates([*keys, "share"])
    weighed = table.assign(value=table["value"].astype("Float64") * table["share"])
    found = weighed.groupby(keys, sort=False, as_index=False).agg(
        value=("value", lambda one: one.sum(skipna=False)), share=("share", "sum")
    )
    return found[found["share"] > 1 - 1e-9].drop(columns="share")


def _moved(arm: Runs, seed: int, place: str) -> Iterator[pd.DataFrame]:
    """Give how far each component's weights and circuits moved."""
    components = arm.table("diff", seed, "components", place)
    if components is not None:
        columns = [name for name in _MOVED if name in components]
        yield _long(components, columns).assign(source=WEIGHTS)
    circuits = arm.table("diff", seed, "circuits", place)
    if circuits is not None:
        named = circuits.assign(measure="change " + circuits["circuit"], value=circuits["change"])
        yield named[["component", "measure", "value"]].assign(source=WEIGHTS)


def _long(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    return table.melt("component", columns, "measure", "value")


def _shifted(arm: Runs, seed: int, place: str) -> Iterator[pd.DataFrame]:
    """Give what changed in each measure of the whole model."""
    shifts = arm.table("behaviour", seed, "shifts", place)
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
