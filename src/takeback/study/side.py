"""A snapshot of one arm and seed as it is measured: what moved in it, how it behaves, what takebacks do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from takeback.arenas import Board, arena
from takeback.checkpoint import Pair, open_pair
from takeback.findings.sweep import Sweep, squared_norms, sweep
from takeback.measure.agency.agency import agency
from takeback.measure.alone import HeldOut
from takeback.measure.bench import Bench
from takeback.measure.effects import Change, effects, most_changed
from takeback.measure.setup import Setup
from takeback.measure.sides import Load
from takeback.measure.store import FOLDER
from takeback.policies.load import load_policy
from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file
from takeback.run.identity import identity
from takeback.run.progress import Report
from takeback.run.tables import write_table, write_tables
from takeback.study import by_situation
from takeback.study.measured import BESIDE, Snapshot, read_measured
from takeback.study.plan import Plan, final_of
from takeback.study.probes import probed, table_of, write_probes
from takeback.study.pursuit import contrasted, write_losses
from takeback.study.steps import Step, Steps
from takeback.weights import Diff, diff

POLICIES = "policies"
"""Where a run keeps what policies do that are read alone, of all arms and seeds."""

EXAMPLES = 10
"""Situations drawn as boards for each arm: those that changed most."""
MOVES_SHOWN = 5


@dataclass(frozen=True)
class MeasuredSide:
    """A snapshot of an arm and seed, and where its tables go.

    Attributes:
        plan: what is measured.
        who: the arm and its seed.
        run: the run folder.
        snapshot: the model.
        alone: gives what reads policies alone, once.
        place: the folder of the run that holds its tables: the run itself, or `beside`.
    """

    plan: Plan
    who: tuple[str, int]
    run: Path
    snapshot: Snapshot
    alone: Callable[[], HeldOut]
    place: str = ""

    @property
    def name(self) -> str:
        """What its tables are called."""
        return f"{self.who[0]}-seed-{self.who[1]}"

    @property
    def out(self) -> Path:
        """The folder that holds its tables, each in the folder of its kind."""
        return self.run / self.place

    @property
    def model(self) -> str:
        """Its checkpoint."""
        return str(final_of(self.run, *self.who).with_name(self.snapshot.folder))

    @property
    def behaviour(self) -> Path:
        """The folder of what it does."""
        return self.out / "behaviour" / self.name

    @property
    def swept(self) -> Path:
        """The table of its sweep."""
        return self.out / "effects" / f"{self.name}.parquet"

    @cached_property
    def pair(self) -> Pair:
        """What it was trained from, and it."""
        return open_pair(self.plan.recipe(*self.who, self.run).parent, self.model)

    @cached_property
    def moved(self) -> Diff:
        """How far each component moved."""
        return diff(self.pair)

    @cached_property
    def bench(self) -> Bench:
        """The bench on which all of it is measured; the policies it holds are those that are read alone."""
        alone = self.alone()
        setup = replace(alone.setup, name=_store(self.name, self.place), load=alone.load)
        return Bench(self.pair, alone.arena, alone.situations, self.plan.measures, setup)

    @cached_property
    def sweep(self) -> Sweep:
        """What is taken back and grafted."""
        plan = self.plan
        norms = squared_norms(self.moved)
        return Sweep(self.bench, norms, plan.sets, plan.controls, self.who[1], plan.readouts)

    def inputs(self, common: list[Any]) -> str:
        """Return the identity of all that its numbers depend on, with what all of the run's depend on."""
        return identity(common, self.pair)

    def measure(self, common: list[Any], steps: Steps, report: Report) -> None:
        """Measure it, unless that is done: weights, shifts and agency, takebacks, and their parts."""
        inputs = self.inputs(common)
        differ = self.out / "diff" / self.name
        report("comparing weights", 0, 1)
        total = (differ / "total.parquet", differ / "components.parquet")
        done = self._step("diff", inputs, total, (differ,))
        steps.do(done, lambda: write_tables(self.moved.tables, differ))
        chosen = read_measured(*self.who, self.run)
        assert chosen is not None
        at = {"step": self.snapshot.step, "kl": self.snapshot.kl, "matched": chosen.matched}
        labels = {"arm": self.who[0], "seed": self.who[1], **at}
        files = tuple(self.behaviour / file for file in ("shifts.parquet", "agency.parquet", "examples.json"))
        steps.do(self._step("shift", [inputs, labels], files), lambda: self._shift(labels, report))
        self._take_back(inputs, steps, report)

    def _take_back(self, inputs: str, steps: Steps, report: Report) -> None:
        plan, name, (arm, seed) = self.plan, self.name, self.who
        goal = plan.arms[arm].get("goal")
        files = tuple(self.swept.with_suffix(end) for end in (".parquet", ".sweep.json", ".readouts.parquet"))
        kept = (self.run / FOLDER / _store(name, self.place), *self.swept.parent.glob(f".{name}-*.parts"))
        steps.do(
            self._step("sweep", inputs, files[: 3 if plan.readouts else 2], (*files, *kept)),
            lambda: sweep(self.sweep, self.swept, {"arm": arm, "seed": seed}, partial(report, "taking back")),
        )
        if contrasted(plan):
            losses, parts = (self.out / of / f"{name}.parquet" for of in ("pursuit", by_situation.FOLDER))
            steps.do(self._step("pursuit", inputs, (losses,)), lambda: write_losses(self.sweep, goal, losses))
            step = self._step("parts", inputs, (parts,))
            steps.do(step, lambda: by_situation.write_parts(self.alone(), self.sweep, goal, parts))
        if probed(plan):
            step = self._step("probes", inputs, (table_of(self.out, arm, seed),))
            steps.do(step, lambda: write_probes(self.bench, plan, self.who, self.out, report))

    def _step(
        self, name: str, inputs: Any, results: tuple[Path, ...], stale: tuple[Path, ...] | None = None
    ) -> Step:
        return Step(f"{name} {self.place}".strip(), inputs, results, stale)

    def _shift(self, labels: dict[str, Any], report: Report) -> None:
        """Measure what changed from what it started from, and keep the situations that changed most."""
        report("comparing with its parent", 0, 1)
        alone, parent = self.alone(), self.plan.parent(self.who[0])
        before, after = (alone.read(one) for one in (self.pair.base.ref, self.model))
        context = alone.context(after)
        tables = {
            "shifts": effects(before, after, alone.arena, relative_to=parent, context=context),
            "agency": agency(before, after, context).assign(relative_to=parent),
        }
        for name, table in tables.items():
            told = table.assign(**labels).astype({"matched": "boolean"})
            write_table(told, self.behaviour / f"{name}.parquet")
        places = dict(zip(before.situations, alone.situations, strict=True))
        most = most_changed(before, after, EXAMPLES)
        found = [_example(alone, change, places[change.situation]) for change in most]
        with atomic_file(self.behaviour / "examples.json") as draft:
            draft.write_text(json.dumps(found, indent=1), encoding="utf-8")


def read_alone(plan: Plan, sides: Mapping[str, str], out: Path, load: Load = load_policy) -> HeldOut:
    """Return what reads policies alone; in an open arena, on what these sides answer."""
    setup = Setup(out, POLICIES, threads=plan.threads, load=load)
    drawn = plan.situations, plan.situations_seed
    return HeldOut.draw(arena(plan.arena), sides["base"], drawn, setup, plan.measures, sides)


def side_of(plan: Plan, who: tuple[str, int], run: Path, load: Load = load_policy) -> MeasuredSide:
    """Return the snapshot of an arm and seed that a run measured.

    Raises:
        TakebackError: it was not measured yet.
    """
    if (chosen := read_measured(*who, run)) is None:
        raise TakebackError(f"{run} has not measured {who[0]}, seed {who[1]}, yet; run the plan, it goes on")
    sides = {"base": str(plan.recipe(*who, run).parent), "tuned": str(final_of(run, *who))}
    return MeasuredSide(plan, who, run, chosen, cache(partial(read_alone, plan, sides, run, load)))


def stores(run: Path, arm: str, seed: int) -> tuple[Path, ...]:
    """Return the folders that keep what hybrids of an arm and seed's snapshots do."""
    name = f"{arm}-seed-{seed}"
    return tuple(run / FOLDER / _store(name, place) for place in ("", BESIDE))


def _store(name: str, place: str) -> str:
    return f"{name}-{place}" if place else name


def _example(alone: HeldOut, change: Change, situation: Any) -> dict[str, Any]:
    return {
        "situation": change.situation,
        "board": alone.arena.board(situation) if isinstance(alone.arena, Board) else {},
        "distance": change.distance,
        "before": change.arrows("before", MOVES_SHOWN),
        "after": change.arrows("after", MOVES_SHOWN),
        "illegal_before": 1 - sum(change.before.legal.values()),
        "illegal_after": 1 - sum(change.after.legal.values()),
    }
