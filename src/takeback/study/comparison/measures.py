"""What runs are compared on: a number for each arm and seed, read from a run's record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.arenas import Words
from takeback.checkpoint import Checkpoint, open_checkpoint
from takeback.component import Component
from takeback.findings.localise.shares import GRAFT, TAKE_BACK
from takeback.measure.agency.pursuits import BEST_OF_N, BY_RANK, SIGNED
from takeback.measure.measure import if_legal
from takeback.measure.shift import KL
from takeback.measure.standard import LEGAL, utility
from takeback.run.tables import read_table
from takeback.study.measured import BESIDE, measured_model, read_measured
from takeback.study.plan import Plan, load_plan

PER_SEED: TypeAlias = "Mapping[int, float]"
"""A number for each seed; seeds for which there is none are left out."""

SINGLES: Final = ("each head", "each mlp", "each unit", "each tensor")
"""Families of sets that hold a component each."""
WHOLE: Final = 0.5
"""Of ‖Δ‖², what the fewest components are counted to hold."""

INTERPOLATED: Final = ("behaviour", "diff")
"""The parts of a record that snapshots on both sides of a wanted distance have."""

ROUNDING: Final = 1e-12
"""What is smaller is the rounding of probabilities that add up to 1."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Runs:
    """One arm of a run: its training runs, one for each seed."""

    run: str
    folder: Path
    plan: Plan
    arm: str

    @property
    def goal(self) -> str:
        """What it is trained toward."""
        return str(self.plan.arms[self.arm]["goal"])

    @property
    def method(self) -> str:
        """How it is trained, in a word."""
        return str(self.plan.arms[self.arm]["method"])

    @property
    def by(self) -> str:
        """What drives the training: a reward, a reward by chance, or imitation."""
        return self.plan.recipe(self.arm, self.plan.seeds[0], self.folder).account(Words()).by

    def name(self, seed: int) -> str:
        """Return what its files are called."""
        return f"{self.arm}-seed-{seed}"

    def table(self, part: str, seed: int, name: str, place: str = "") -> pd.DataFrame | None:
        """Read one of a seed's tables, None where the run has it not; `place` is one of `sides`."""
        path = self.folder / place / part / self.name(seed) / f"{name}.parquet"
        return read_table(path) if path.exists() else None

    def sides(self, seed: int) -> tuple[tuple[str, float], ...]:
        """Return where numbers of a seed are, and their shares in those at the wanted distance.

        It is the run folder alone, as "", unless snapshots on both sides of the distance were measured.
        """
        found = read_measured(self.arm, seed, self.folder)
        if found is None or found.beside is None:
            return (("", 1.0),)
        return ("", found.share), (BESIDE, 1 - found.share)

    def parent(self, seed: int) -> Checkpoint:
        """Open what a seed's training started from."""
        return open_checkpoint(self.plan.recipe(self.arm, seed, self.folder).parent)

    @cached_property
    def final(self) -> Checkpoint:
        """The first seed's measured model."""
        return self.model(self.plan.seeds[0])

    def model(self, seed: int) -> Checkpoint:
        """Open the model of a seed that the run measures."""
        return open_checkpoint(measured_model(self.plan, self.arm, seed, self.folder))


def arms_of(folder: Path) -> list[Runs]:
    """Return the arms of a run.

    Raises:
        TakebackError: it is no run folder.
    """
    plan = load_plan(folder / "plan.yaml")
    return [Runs(plan.name, folder, plan, arm) for arm in plan.arms]


def shift_in(measure: str) -> Callable[[Runs], PER_SEED]:
    """Return what reads by how much a measure changed in training."""

    def read(runs: Runs) -> PER_SEED:
        return _each(runs, "behaviour", "shifts", lambda t: _number(t[t["measure"] == measure]["effect"]))

    return read


def shifted(arms: Iterable[Runs]) -> list[str]:
    """Return the measures of which runs say by how much they changed."""
    tables = (arm.table("behaviour", seed, "shifts") for arm in arms for seed in arm.plan.seeds)
    names = (name for table in tables if table is not None for name in table["measure"])
    return list(dict.fromkeys(map(str, names)))


def _agency(measure: str) -> Callable[[Runs], PER_SEED]:
    def read(runs: Runs) -> PER_SEED:
        def of(table: pd.DataFrame) -> float | None:
            return _number(table[(table["measure"] == measure) & (table["goal"] == runs.goal)]["value"])

        return _each(runs, "behaviour", "agency", of)

    return read


def _concentration(table: pd.DataFrame) -> float | None:
    shares = table["share"].to_numpy(np.float64)[~_outputs(table)]
    whole = shares.sum()
    if not np.isfinite(whole) or whole == 0:
        return None
    running = np.cumsum(np.sort(shares)[::-1]) / whole
    return float(1 + np.searchsorted(running, WHOLE)) / len(shares)


def _at_outputs(table: pd.DataFrame) -> float | None:
    return _number([float(table["share"].to_numpy(np.float64)[_outputs(table)].sum())])


def _outputs(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell which components give the outputs: those named so, else the units of the last layer."""
    components = [Component.parse(name) for name in table["component"]]
    named = [one.kind in ("OUTPUTS", "UNEMBED") for one in components]
    last = max((one.layer for one in components if one.layer is not None), default=0)
    return np.array(named if any(named) else [one.kind == "U" and one.layer == last for one in components])


def _carriers(direction: str, column: str) -> Callable[[Runs], PER_SEED]:
    def smallest(table: pd.DataFrame) -> float | None:
        rows = table[table["direction"] == direction]
        best = rows.sort_values(["n_components", "order"], kind="stable").head(1)
        if best.empty:
            return None
        return _number(best["n_components"] / best["of"] if column == "share" else best[column])

    return lambda runs: _each(runs, "localise", "carriers", smallest)


def _alike_effects(runs: Runs) -> PER_SEED:
    """Rank correlation, between seeds, of what single components do to the goal's utility."""
    rows: dict[int, Floats] = {}
    for seed in runs.plan.seeds:
        table = read_table(runs.folder / "effects" / f"{runs.name(seed)}.parquet")
        chosen = table[
            (table["measure"] == utility(runs.goal).name)
            & (table["direction"] == TAKE_BACK)
            & table["family"].isin(SINGLES)
        ]
        effects = chosen.sort_values("set")["effect"].to_numpy(np.float64)
        if len(effects) > 1 and np.ptp(effects) > 0:
            rows[seed] = np.asarray(pd.Series(effects).rank(), np.float64)
    return pseudo_values({seed: row - row.mean() for seed, row in rows.items()})


def _alike_changes(runs: Runs) -> PER_SEED:
    """Cosine, between seeds, of the changes of all weights."""
    changes: dict[int, Floats] = {}
    for seed in runs.plan.seeds:
        parent, final = runs.parent(seed), runs.model(seed)
        moved = [(final.read(name) - parent.read(name)).double().reshape(-1) for name in parent.shapes]
        changes[seed] = np.concatenate([one.numpy() for one in moved])
    return pseudo_values(changes)


MEASURES: Final[Mapping[str, tuple[str, Callable[[Runs], PER_SEED]]]] = {
    "utility gained": (
        "expected utility of the arm's goal, tuned − parent",
        lambda runs: shift_in(utility(runs.goal).name)(runs),
    ),
    "legal mass gained": ("mass of legal answers, tuned − parent", shift_in(LEGAL.name)),
    "KL": ("KL(tuned || parent), nats", shift_in(KL.name)),
    "half of ‖Δ‖²": (
        "share of the components below the outputs, the fewest that hold half of the squared change there",
        lambda runs: _each(runs, "diff", "components", _concentration),
    ),
    "‖Δ‖² at the outputs": (
        "share of the squared change in the layer that gives the outputs",
        lambda runs: _each(runs, "diff", "components", _at_outputs),
    ),
    "needed for 90%": (
        "the fewest components whose takeback loses 90% of the gain, as a share of all",
        _carriers(TAKE_BACK, "share"),
    ),
    "enough for 90%": (
        "the fewest components whose graft brings 90% of the gain, as a share of all",
        _carriers(GRAFT, "share"),
    ),
    "what these carry": (
        "share of the gain that the graft brings in situations that chose nothing",
        _carriers(GRAFT, "carried"),
    ),
    "effects between seeds": (
        "rank correlation of single components' effects, over pairs of seeds",
        _alike_effects,
    ),
    "changes between seeds": ("cosine of the changes of all weights, over pairs of seeds", _alike_changes),
    "pursuit share": (
        "signed share of the divergence that pursuit of the goal explains, if legal, held out",
        _agency(if_legal(SIGNED)),
    ),
    "pursuit share, by rank": (
        "the same with the utility's rank under base in the place of the utility",
        _agency(if_legal(BY_RANK)),
    ),
    "pursuit share, best of n": (
        "the same with the best of n draws from base in the place of the tilt by utility",
        _agency(if_legal(BEST_OF_N)),
    ),
    "optimisation power": (
        "bits of power over the parent beyond chance, if legal",
        _agency(if_legal("optimisation power over base beyond chance")),
    ),
    "MEG": ("maximum-entropy goal-directedness, nats, if legal", _agency(if_legal("MEG"))),
}
"""By name, what each measure is and how it is read; in the order they are shown."""


def pseudo_values(vectors: Mapping[int, Floats]) -> PER_SEED:
    """Return jackknife values of the mean cosine over pairs: their mean is it, their spread that over seeds.

    Of n seeds with mean cosine U, and U without seed i, the value of i is n U − (n − 1) U without i (Arvesen
    1969, "Jackknifing U-statistics", doi:10.1214/aoms/1177697287). With two seeds both have the one cosine.

    >>> pseudo_values({0: np.array([1.0, 0.0]), 1: np.array([1.0, 0.0]), 2: np.array([0.0, 1.0])})
    {0: 1.0, 1: 1.0, 2: -1.0}
    """
    seeds = list(vectors)
    cosines = {pair: _cosine(vectors[pair[0]], vectors[pair[1]]) for pair in combinations(seeds, 2)}
    if not cosines:
        return {}
    whole, n = float(np.mean(list(cosines.values()))), len(seeds)
    if n == 2:
        return dict.fromkeys(seeds, whole)
    rest = {seed: float(np.mean([c for pair, c in cosines.items() if seed not in pair])) for seed in seeds}
    return {seed: n * whole - (n - 1) * rest[seed] for seed in seeds}


def _cosine(one: Floats, other: Floats) -> float:
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def _each(runs: Runs, part: str, name: str, of: Callable[[pd.DataFrame], float | None]) -> PER_SEED:
    """Read a number of each seed, between snapshots where two of them were measured."""
    found: dict[int, float] = {}
    for seed in runs.plan.seeds:
        shares, numbers = list[float](), list[float]()
        for place, share in runs.sides(seed):
            table = runs.table(part, seed, name, place)
            if table is not None and (number := of(table)) is not None:
                shares.append(share)
                numbers.append(number)
        if numbers and (len(numbers) == len(runs.sides(seed)) or part not in INTERPOLATED):
            found[seed] = sum(x * y for x, y in zip(shares, numbers, strict=True)) / sum(shares)
    return found


def _number(values: Sequence[float] | pd.Series[float]) -> float | None:
    numbers = [float(value) for value in values if not pd.isna(value)]
    if not numbers:
        return None
    return 0.0 if abs(numbers[0]) < ROUNDING else numbers[0]
