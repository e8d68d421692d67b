"""Run a plan: every arm and seed is trained, diffed, read and taken back; the record is what is left.

Each step writes its result whole and is skipped when the result is there, so that a killed run goes on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from takeback.arenas import LEGAL, arena, goal_of
from takeback.checkpoint import open_checkpoint
from takeback.findings.localise import PARTS
from takeback.findings.sweep.sets import chosen_sets
from takeback.measure.measures import find_measures
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.files import only_one
from takeback.run.jobs import Job, Workers, run_jobs
from takeback.study.arm import make_base, run_arm, run_base
from takeback.study.claim import claim_plan
from takeback.study.conjectures import lock, resolve_at_end
from takeback.study.plan import BASE, Plan
from takeback.study.record import merge_behaviour, write_manifest
from takeback.study.steps import note_workers

BARS = 12
"""Jobs that have a bar each on a terminal; more have one together."""


def run_plan(
    plan: Plan, out: str | Path, workers: Workers = 1, finish: Callable[[Path], Path] = Path
) -> Path:
    """Run a plan into the folder `out` and return what `finish` makes of the finished run: unless told, it.

    Where a run is there already, what is done is kept: a plan with more arms or seeds does only what is new.

    Raises:
        TakebackError: `out` holds the run of a plan that this one does not go on with, another process works
            on it, or a step fails.
    """
    out = Path(out)
    with only_one(out):
        _run(plan, out, workers)
        return finish(out)


def _run(plan: Plan, out: Path, workers: Workers) -> None:
    from takeback.study.contrasts import announce, write_contrasts

    _check(plan)
    claim_plan(plan, out)
    announce(plan)
    lock(plan.conjectures, out)
    note_workers(out, workers)
    started = time.time()
    make_base(plan, out)
    chosen_sets(open_checkpoint(plan.base_in(out)).anatomy(), plan.sets)
    jobs = _jobs(plan, out)
    run_jobs(jobs, workers, plan.name if len(jobs) > BARS and sys.stderr.isatty() else None)
    merge_behaviour(plan, out)
    write_manifest(plan, out, started, time.time() - started)
    write_contrasts(out)
    resolve_at_end(out)


def _jobs(plan: Plan, out: Path) -> list[Job]:
    """Return a job for base and for each arm and seed; those that start from another wait for its seed."""
    jobs = [Job(BASE, run_base, (plan, out), plan.threads)]
    for seed in plan.seeds:
        for arm in chain(*plan.waves()):
            after = tuple(f"{other} seed {seed}" for other in plan.needs(arm))
            jobs.append(Job(f"{arm} seed {seed}", run_arm, (plan, arm, seed, out), plan.threads, after))
    return jobs


def _check(plan: Plan) -> None:
    """Raise for what would otherwise come to light after hours of training."""
    if plan.project is not None and not Path(plan.project).is_file():
        raise TakebackError(f"no project at {plan.project}; `takeback plan check FILE --new NAME` writes one")
    place = arena(plan.arena)
    find_measures(plan.measures, place)
    if isinstance(plan.base, str):
        chosen_sets(open_checkpoint(plan.base).anatomy(), plan.sets)
    place.situations("held-out", plan.situations, plan.situations_seed)
    for arm, parts in plan.localise.items():
        if arm not in plan.arms:
            raise unknown_name("arm to localise", arm, plan.arms)
        for part in parts:
            if part not in PARTS:
                raise unknown_name("part", part, PARTS)
    for arm in plan.arms:
        goal = plan.recipe(arm, plan.seeds[0]).goal
        goal_of(place, goal)
        if goal not in (*place.goals, LEGAL):
            raise unknown_name(f"goal of arm {arm} that runs measure", goal, (*place.goals, LEGAL))
