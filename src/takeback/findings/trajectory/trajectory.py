"""The course of training: when a policy starts to pursue its goal, and in which components that begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback import arenas
from takeback.checkpoint import Checkpoint, Pair, Placement, open_checkpoint, open_pair
from takeback.component import Component
from takeback.draw.result import Result, as_table
from takeback.findings.localise.shares import every_set
from takeback.findings.sweep.sets import NamedSet, chosen_sets
from takeback.findings.trajectory import components, onsets, policies
from takeback.findings.trajectory.onsets import Effects, by_chance, onsets_of
from takeback.findings.trajectory.policies import OUTCOMES, outcomes_of, policies_table, typed
from takeback.measure.bench import Bench
from takeback.measure.pool import with_answers
from takeback.measure.setup import Setup
from takeback.measure.standard import utility
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.jobs import Workers
from takeback.weights.runs import weight_path
from takeback.weights.runs.folders import Run, find_runs, parent_of

if TYPE_CHECKING:
    from takeback.arenas import Arena

UNITS = ("each unit",)
HEADS = ("each head", "each mlp")


@dataclass(frozen=True)
class CourseSettings:
    """How the course of a run is measured.

    Attributes:
        goal: what the pursuit is of; by default the goal that the run was trained for.
        situations: held-out situations to read every snapshot on.
        seed: of the situations, of the halves on which the pursuit is held out, and of the control's flips.
        sets: families of sets, or sets by name; by default every single component.
        threads: CPU threads of each process; results depend on the number in their last bits.
        placement: where policies run, and in which element type.
    """

    goal: str | None = None
    situations: int = 192
    seed: int = 0
    sets: tuple[str, ...] | None = None
    threads: int = 1
    placement: Placement = field(default_factory=Placement)


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
class Trajectory(Result):
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
    settings: CourseSettings
    situations: tuple[Any, ...]
    sets: tuple[NamedSet, ...]

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of the snapshots."""
        return tuple(self.pairs)[1:]

    def measure(self, kind: str) -> str:
        """Return the goal's utility over a kind of outcomes, as measures are called."""
        return utility(self.goal, OUTCOMES[kind]).name

    def bench(self, step: int, setup: Setup) -> Bench:
        """Ask about one snapshot, on a new bench: models are held by it and go with it."""
        measures = tuple(map(self.measure, outcomes_of(self.arena)))
        return Bench(self.pairs[step], self.arena, self.situations, measures, setup)


def course(
    base: str | Path | Checkpoint,
    run: str | Path,
    arena: Arena[Any] | None = None,
    settings: CourseSettings | None = None,
    out: str | Path | None = None,
    workers: Workers = 1,
) -> Trajectory:
    """Measure how weights, agency and the effects of components develop over the snapshots of a run.

    Every snapshot is a pair with base and is read on the same situations. With `out`, what is read is kept in
    that folder, so that a killed run goes on.

    Args:
        base: what the run started from.
        run: its folder (`runs/NAME/arms/ARM/seed-N`), with `step-N` folders and `final`.
        arena: where the policies act; by default where the run was trained.
        settings: the goal, situations and sets.
        out: a folder that keeps what is read.
        workers: local processes that share the work; several need `out`.

    Raises:
        UnknownName: there is no such goal, family of sets or component.
        PairMismatch: a snapshot is no pair with base.
        TakebackError: the folder holds no run with snapshots, or several; it started from another base or was
            trained in another arena; or the goal applies to none of the situations.
    """
    asked = _asked(base, run, arena, settings or CourseSettings())
    walked = weight_path(asked.run.folder, asked.pairs[0].base, out, workers).table
    set_to = asked.settings
    folder = None if out is None else Path(out)
    setup = Setup(folder, workers=workers, threads=set_to.threads, placement=set_to.placement)
    asked = _answered(asked, setup)
    found = [_at(asked, asked.bench(step, setup), step, _moved(walked, step)) for step in asked.pairs]
    whole = walked[walked["level"] == "all"]
    relative = dict(zip(whole["step"].tolist(), whole["relative"].tolist(), strict=True))
    table = policies_table(pd.DataFrame([row for one in found for row in one.rows]), {0: 0.0, **relative})
    effects, chance = _together(asked, tuple(table["outcomes"].unique()), found[1:])
    return Trajectory(
        f"{asked.run.label.name} from {asked.pairs[0].base.ref}",
        asked.goal,
        table,
        effects,
        onsets_of(table, effects),
        chance,
    )


def _asked(
    base: str | Path | Checkpoint, run: str | Path, arena: Arena[Any] | None, settings: CourseSettings
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
        raise TakebackError(f"{one.folder} names no goal; name one (--goal)")
    if goal not in place.goals:
        raise unknown_name("goal", goal, place.goals)
    pairs = {step: open_pair(start, snapshot) for step, snapshot in one.opened(start).items()}
    first = next(iter(pairs.values()))
    situations = tuple(place.situations("held-out", settings.situations, settings.seed))
    anatomy = first.anatomy()
    families = UNITS if first.base.settings is None else HEADS
    sets = every_set(anatomy, families) if settings.sets is None else chosen_sets(anatomy, settings.sets)
    if not sets:
        raise TakebackError('name at least one set to take back, such as "each unit"')
    both = {0: open_pair(first.base, first.base), **pairs}
    return _Asked(one, both, place, goal, settings, situations, tuple(sets))


def _answered(asked: _Asked, setup: Setup) -> _Asked:
    """Let base and the end of the run answer, where any text is one: all snapshots are read on these."""
    last = list(asked.pairs.values())[-1]
    sides = {"base": last.base, "tuned": last.tuned}
    place, known = with_answers(asked.arena, asked.situations, sides, setup)
    return replace(asked, arena=place, situations=tuple(known))


def _arena(run: Run, given: Arena[Any] | None) -> Arena[Any]:
    if given is None:
        if run.arena is None:
            raise TakebackError(f"{run.folder} names no arena; name one (--arena)")
        return arenas.arena(run.arena)
    if run.arena is not None and arenas.arena(run.arena).name != given.name:
        raise TakebackError(
            f"{run.folder} was trained in arena {run.arena}, not in {given.name}; its goal is of that arena"
        )
    return given


@dataclass(frozen=True, eq=False)
class _Snapshot:
    """What one snapshot does: rows of policies and, but for base, effects of sets by kind of outcomes."""

    rows: list[dict[str, Any]]
    clusters: NDArray[np.int64]
    effects: Mapping[str, components.Floats]
    components: pd.DataFrame


def _at(asked: _Asked, bench: Bench, step: int, moved: Mapping[Component, float]) -> _Snapshot:
    """Read a snapshot and take every set back from it."""
    rows = policies.rows_of(bench, step, asked.goal, asked.settings.seed)
    if not step:
        return _Snapshot(rows, bench.clusters, {}, pd.DataFrame())
    answers = bench.answer([bench.nothing, bench.anatomy.universe, *(one.components for one in asked.sets)])
    effects: dict[str, components.Floats] = {}
    tables: list[pd.DataFrame] = []
    for kind in outcomes_of(asked.arena):
        measure = asked.measure(kind)
        effects[kind] = components.effects(answers, asked.sets, measure)
        table = components.component_rows(answers, asked.sets, effects[kind], measure, moved)
        tables.append(table.assign(step=step, outcomes=kind))
    return _Snapshot(rows, bench.clusters, effects, pd.concat(tables))


def _together(
    asked: _Asked, kinds: Sequence[str], found: Sequence[_Snapshot]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table of effects at all snapshots, and what chance would tell."""
    clusters, seed = found[0].clusters, asked.settings.seed
    chance = [
        by_chance(Effects(asked.steps, np.stack([one.effects[kind] for one in found]), clusters), seed)
        for kind in kinds
    ]
    whole = pd.concat([one.components[one.components["outcomes"].isin(kinds)] for one in found])
    return (
        typed(whole, components.COLUMNS, components.WORDS, components.INTEGERS),
        pd.concat(
            [table.assign(outcomes=kind) for kind, table in zip(kinds, chance, strict=True)],
            ignore_index=True,
        )[list(onsets.CHANCE_COLUMNS)],
    )


def _moved(walked: pd.DataFrame, step: int) -> dict[Component, float]:
    """Return ‖Δ‖² of every component at a step."""
    rows = walked[(walked["level"] == "component") & (walked["step"] == step)]
    norms = rows["movement"].to_numpy(np.float64)
    return dict(zip(map(Component.parse, rows["scope"]), (norms**2).tolist(), strict=True))
