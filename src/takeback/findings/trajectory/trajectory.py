"""The course of training: when a policy starts to pursue its goal, and in which components that begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from takeback import arenas
from takeback.checkpoint import Checkpoint, Pair, open_checkpoint, open_pair
from takeback.component import Component
from takeback.draw.result import Result, as_table
from takeback.findings.localise.shares import every_set
from takeback.findings.sweep.sets import NamedSet, chosen_sets
from takeback.findings.trajectory import components, onsets, policies
from takeback.findings.trajectory.onsets import Effects, by_chance, onsets_of
from takeback.findings.trajectory.policies import OUTCOMES, Policies, policies_table, typed
from takeback.measure.question import Answers, Question, answer
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.jobs import Workers
from takeback.run.parts import collect
from takeback.weights.runs import weight_path
from takeback.weights.runs.folders import Run, find_runs, parent_of

if TYPE_CHECKING:
    from takeback.arenas import Arena

UNITS = ("each unit",)
HEADS = ("each head", "each mlp")


@dataclass(frozen=True)
class Settings:
    """How the course of a run is measured.

    Attributes:
        goal: what the pursuit is of; by default the goal that the run was trained for.
        situations: held-out situations to read every snapshot on.
        seed: of the situations, of the halves on which the pursuit is held out, and of the control's flips.
        sets: families of sets, or sets by name; by default every single component.
        threads: CPU threads of each process; results depend on the number in their last bits.
    """

    goal: str | None = None
    situations: int = 192
    seed: int = 0
    sets: tuple[str, ...] | None = None
    threads: int = 1


MEANINGS: Mapping[str, str] = {
    **onsets.CHANCE_COLUMNS,
    **onsets.ONSET_COLUMNS,
    **components.COLUMNS,
    **policies.COLUMNS,
    "told": "of a set: whether its interval leaves out 0, all sets of the snapshot together; in the "
    "control: how many sets are told to work for the goal",
}
"""What each column means."""


@dataclass(frozen=True, eq=False, repr=False)
class Course(Result):
    """Holds how a policy and its components develop over the snapshots of one run.

    Attributes:
        title: the run and its base.
        goal: what utility and pursuit are of.
        table: a row for each snapshot (base is step 0) and kind of outcomes, with `policies.COLUMNS`.
        components: a row for each snapshot, kind of outcomes and set, with `components.COLUMNS`.
        onsets: a row for each kind of outcomes and what has an onset, with `onsets.ONSET_COLUMNS`.
        chance: a row for each snapshot and kind of outcomes, with `onsets.CHANCE_COLUMNS`.
    """

    name = "course"
    goal: str
    table: pd.DataFrame = field(metadata=as_table("course", MEANINGS))
    components: pd.DataFrame = field(metadata=as_table("components"))
    onsets: pd.DataFrame = field(metadata=as_table("onsets"))
    chance: pd.DataFrame = field(metadata=as_table("chance"))

    @property
    def outcomes(self) -> str:
        """The kind of outcomes that is shown first: given a legal answer, where not every answer is legal."""
        return str(self.table["outcomes"].iloc[-1])


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is asked of the snapshots of one run: pairs with base by step, base itself first."""

    run: Run
    pairs: Mapping[int, Pair]
    arena: Arena[Any]
    goal: str
    settings: Settings
    situations: tuple[Any, ...]
    sets: tuple[NamedSet, ...]

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of the snapshots."""
        return tuple(self.pairs)[1:]

    def measure(self, kind: str) -> str:
        """Return the goal's utility over a kind of outcomes, as measures are called."""
        return f"utility {self.goal}{OUTCOMES[kind]}"

    def question(self, step: int, kinds: Sequence[str] = tuple(OUTCOMES)) -> Question:
        """Ask about one snapshot, in a new question: models are held by it and go with it."""
        measures = tuple(map(self.measure, kinds))
        return Question(self.pairs[step], self.arena, self.situations, measures, self.settings.threads)


def course(
    base: str | Path | Checkpoint,
    run: str | Path,
    arena: Arena[Any] | None = None,
    settings: Settings | None = None,
    out: str | Path | None = None,
    workers: Workers = 1,
) -> Course:
    """Measure how weights, agency and the effects of components develop over the snapshots of a run.

    Every snapshot is a pair with base and is read on the same situations. With `out`, finished parts are
    kept in that folder, so that a killed run goes on; `Results.write` to the same folder removes them.

    Args:
        base: what the run started from.
        run: its folder (`runs/NAME/arms/ARM/seed-N`), with `step-N` folders and `final`.
        arena: where the policies act; by default where the run was trained.
        settings: the goal, situations and sets.
        out: a folder that keeps finished parts.
        workers: local processes that share the work; several need `out`.

    Raises:
        UnknownName: there is no such goal, family of sets or component.
        PairMismatch: a snapshot is no pair with base.
        TakebackError: the folder holds no run with snapshots, or several; it started from another base or was
            trained in another arena; or the goal applies to none of the situations.
    """
    asked = _asked(base, run, arena, settings or Settings())
    walked = weight_path(asked.run.folder, asked.pairs[0].base, out, workers).table
    questions = {step: asked.question(step) for step in asked.pairs}
    work = Policies(questions, asked.goal, asked.settings.seed)
    rows = collect(work, out, workers, asked.settings.threads)
    whole = walked[walked["level"] == "all"]
    relative = dict(zip(whole["step"].tolist(), whole["relative"].tolist(), strict=True))
    table = policies_table(rows, {0: 0.0, **relative})
    kinds = tuple(table["outcomes"].unique())
    effects, chance = _taken_back(asked, kinds, walked, out, workers)
    return Course(
        f"{asked.run.label.name} from {asked.pairs[0].base.ref}",
        asked.goal,
        table,
        effects,
        onsets_of(table, effects),
        chance,
    )


def _asked(
    base: str | Path | Checkpoint, run: str | Path, arena: Arena[Any] | None, settings: Settings
) -> _Asked:
    """Find the run and what it was trained for, and choose situations and sets."""
    one, *others = find_runs(run)
    if others:
        names = ", ".join(seed.folder.name for seed in (one, *others))
        raise TakebackError(f"{run} holds several runs, and a course is of one; name one of {names}")
    start = parent_of((one,), base if isinstance(base, Checkpoint) else open_checkpoint(base))
    place = _arena(one, arena)
    goal = settings.goal or one.goal
    if goal is None:
        raise TakebackError(f"the recipe in {one.folder} names no goal; name one (--goal)")
    if goal not in place.goals:
        raise unknown_name("goal", goal, place.goals)
    pairs = {step: open_pair(start, folder) for step, folder in one.snapshots}
    first = next(iter(pairs.values()))
    situations = tuple(place.situations("held-out", settings.situations, settings.seed))
    anatomy = first.anatomy()
    families = UNITS if first.base.settings is None else HEADS
    sets = every_set(anatomy, families) if settings.sets is None else chosen_sets(anatomy, settings.sets)
    if not sets:
        raise TakebackError('name at least one set to take back, such as "each unit"')
    both = {0: open_pair(start, start), **pairs}
    return _Asked(one, both, place, goal, settings, situations, tuple(sets))


def _arena(run: Run, given: Arena[Any] | None) -> Arena[Any]:
    if given is None:
        if run.arena is None:
            raise TakebackError(f"the recipe in {run.folder} names no arena; name one (--arena)")
        return arenas.arena(run.arena)
    if run.arena is not None and arenas.arena(run.arena).name != given.name:
        raise TakebackError(
            f"{run.folder} was trained in arena {run.arena}, not in {given.name}; its goal is of that arena"
        )
    return given


def _taken_back(
    asked: _Asked, kinds: Sequence[str], walked: pd.DataFrame, out: str | Path | None, workers: Workers
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take every set back from every snapshot: the table of effects, and what chance would tell."""
    tables: list[pd.DataFrame] = []
    numbers: dict[str, list[components.Floats]] = {kind: [] for kind in kinds}
    for step in asked.steps:
        answers = _answered(asked, step, kinds, out, workers)
        moved = _moved(walked, step)
        for kind in kinds:
            measure = asked.measure(kind)
            done = components.effects(answers, asked.sets, measure)
            rows = components.component_rows(answers, asked.sets, done, measure, moved)
            tables.append(rows.assign(step=step, outcomes=kind))
            numbers[kind].append(done)
    clusters, seed = asked.question(0).clusters, asked.settings.seed
    chance = [
        by_chance(Effects(asked.steps, np.stack(numbers[kind]), clusters), seed).assign(outcomes=kind)
        for kind in kinds
    ]
    return (
        typed(pd.concat(tables), components.COLUMNS, components.WORDS, components.INTEGERS),
        pd.concat(chance, ignore_index=True)[list(onsets.CHANCE_COLUMNS)],
    )


def _answered(
    asked: _Asked, step: int, kinds: Sequence[str], out: str | Path | None, workers: Workers
) -> Answers:
    question = asked.question(step, kinds)
    wanted = [question.nothing, question.anatomy.universe, *(one.components for one in asked.sets)]
    return answer(question, wanted, f"takebacks-{step}", out, workers)


def _moved(walked: pd.DataFrame, step: int) -> dict[Component, float]:
    """Return ‖Δ‖² of every component at a step."""
    rows = walked[(walked["level"] == "component") & (walked["step"] == step)]
    norms = rows["movement"].to_numpy(np.float64)
    return dict(zip(map(Component.parse, rows["scope"]), (norms**2).tolist(), strict=True))
