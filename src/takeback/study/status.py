"""What a study has done, what it is at, and how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from takeback.run.errors import TakebackError
from takeback.study.claim import told_out
from takeback.study.measured import BESIDE, Measured, read_measured
from takeback.study.plan import BASE, Plan, load_plan
from takeback.study.probes import probed
from takeback.study.pursuit import contrasted
from takeback.study.steps import Done, path_of, read_steps, running, workers_of

State = Literal["done", "running", "missing"]
TRAIN = "train"


@dataclass(frozen=True)
class StepStatus:
    """A step of an arm and seed: its state, the seconds it took (or has run), and those still to come.

    `seconds` is None where they are not known, as of a step that was interrupted; `left` where no such step
    has been timed.
    """

    name: str
    state: State
    seconds: float | None
    left: float | None


@dataclass(frozen=True)
class ArmStatus:
    """One arm and seed, or base as seed 0: its steps in their order, and which model is measured."""

    arm: str
    seed: int
    steps: tuple[StepStatus, ...]
    measured: Measured | None

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return all(step.state == "done" for step in self.steps)

    @property
    def left(self) -> float | None:
        """Seconds of work that are left, None where that can't be told yet."""
        return _sum([step.left for step in self.steps])


@dataclass(frozen=True)
class Status:
    """A whole study; `left` is its seconds to go on its workers, None where that can't be told yet."""

    run: Path
    plan: Plan
    arms: tuple[ArmStatus, ...]
    workers: int
    not_in_plan: tuple[str, ...]

    @property
    def left(self) -> float | None:
        """Seconds of work that are left, shared by the workers."""
        each = _sum([arm.left for arm in self.arms])
        open_ = sum(not arm.done for arm in self.arms)
        return each if each is None else each / max(1, min(self.workers, open_))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader has to know: arms that are not at the wanted KL, and what the plan does not name."""
        wanted = None if self.plan.measure_at == "last" else self.plan.measure_at.kl
        far = [
            f"{one.arm} seed {one.seed} is not matched: its nearest model has KL {one.measured.kl:.3g}, "
            f"wanted is {wanted:g}"
            for one in self.arms
            if one.measured is not None and one.measured.matched is False
        ]
        return (*far, *(f"{name} is on disk and not in the plan's tables" for name in self.not_in_plan))

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        arms = [
            {
                "arm": one.arm,
                "seed": one.seed,
                "steps": {step.name: {"state": step.state, "seconds": step.seconds} for step in one.steps},
                "left": one.left,
                "kl": one.measured and one.measured.kl,
                "matched": one.measured and one.measured.matched,
            }
            for one in self.arms
        ]
        done = sum(one.done for one in self.arms)
        whole = {"done": done, "of": len(arms), "workers": self.workers, "left": self.left}
        return {"run": str(self.run), **whole, "arms": arms, "warnings": list(self.warnings)}


def study_status(run: str | Path, workers: int | None = None) -> Status:
    """Look at a run folder, while it runs or at any time.

    The rest is estimated from what finished: of training, seconds for each step of the same method; of other
    steps the mean of that method, or of all where it has none.

    Args:
        run: the run folder.
        workers: on how many the rest is to be done; without it, on as many as the run was started last.

    Raises:
        TakebackError: there is no run.
    """
    run = Path(run)
    if not (run / "plan.yaml").exists():
        raise TakebackError(
            f"no run at {run}: it has no plan.yaml; `takeback study run PLAN -o {run}` makes one"
        )
    plan = load_plan(run / "plan.yaml")
    rows = [_Row(plan, run, BASE, 0), *(_Row(plan, run, a, s) for s in plan.seeds for a in plan.arms)]
    return Status(
        run,
        plan,
        tuple(row.status(rows) for row in rows),
        workers or workers_of(run),
        tuple(told_out(plan, run)),
    )


class _Row:
    """What is on disk of an arm and seed."""

    def __init__(self, plan: Plan, run: Path, arm: str, seed: int) -> None:
        self.arm, self.seed = arm, seed
        path = path_of(run, BASE if arm == BASE else f"{arm}-seed-{seed}")
        self.known, self.held = read_steps(path), running(path)
        recipe = plan.base_recipe() if arm == BASE else plan.recipe(arm, seed, run)
        self.method = recipe.method if recipe else BASE
        self.length = getattr(recipe, "steps", 1)
        self.measured = read_measured(arm, seed, run)
        self.names = expected(plan, arm, self.measured)

    def status(self, rows: Sequence[_Row]) -> ArmStatus:
        steps: list[StepStatus] = []
        held = self.held
        for name in self.names:
            known = self.known.get(name)
            if known is not None and known.done:
                steps.append(StepStatus(name, "done", known.seconds, 0.0))
                continue
            takes = self.estimate(name, rows)
            since = time.time() - known.began if held and known is not None else None
            left = takes if takes is None or since is None else max(0.0, takes - since)
            steps.append(StepStatus(name, "running" if held else "missing", since, left))
            held = False
        return ArmStatus(self.arm, self.seed, tuple(steps), self.measured)

    def estimate(self, name: str, rows: Sequence[_Row]) -> float | None:
        """Return how many seconds a step will take, by those of its kind that were timed."""
        timed = [(row, row.known[name].seconds) for row in rows if _is_done(row.known.get(name))]
        alike = [(row, took) for row, took in timed if row.method == self.method]
        if name == TRAIN:
            rates = [took / row.length for row, took in alike if took is not None]
            return fmean(rates) * self.length if rates else None
        taken = [took for _, took in alike if took is not None] or [
            took for _, took in timed if took is not None
        ]
        return fmean(taken) if taken else None


def expected(plan: Plan, arm: str, measured: Measured | None = None) -> list[str]:
    """Return the steps that a plan has for an arm, or for base, in their order.

    A second snapshot is measured where the plan wants a distance, unless `measured` says that there is none.
    """
    games = ["games"] if plan.plays() else []
    if arm == BASE:
        return [*([] if plan.base_recipe() is None else [TRAIN]), "curve", *games]
    localise = ["localise", "explain"] if plan.localise.get(arm) else []
    probes = ["probes"] if probed(plan) else []
    pursuit = ["pursuit", "parts"] if contrasted(plan) else []
    numbers = ["diff", "shift", "sweep", *pursuit, *probes]
    far = plan.measure_at != "last" and (measured is None or measured.beside is not None)
    beside = [f"{name} {BESIDE}" for name in numbers] if far else []
    return [TRAIN, "curve", *numbers, *games, *localise, *beside]


def _is_done(known: Done | None) -> bool:
    return known is not None and known.done


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
