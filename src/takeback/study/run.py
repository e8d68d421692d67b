"""Run a plan: every arm and seed is trained, diffed, read and taken back; the record is what is left.

Each step writes its result whole and is skipped when the result is there, so that a killed run goes on.
"""

from __future__ import annotations

import time
from pathlib import Path

from takeback.arenas import arena
from takeback.checkpoint import open_checkpoint
from takeback.errors import TakebackError, unknown_name
from takeback.files import claim, only_one
from takeback.jobs import Job, run_jobs
from takeback.localise import PARTS
from takeback.study.arm import run_arm, run_base
from takeback.study.contrasts.reach import announce
from takeback.study.plan import BASE, Plan, dump_plan
from takeback.study.record import merge_behaviour, write_manifest
from takeback.sweep.sets import chosen_sets
from takeback.training import train


def run_plan(plan: Plan, out: str | Path, workers: int = 1) -> Path:
    """Run a plan into the folder `out` and return the path of its report.

    Raises:
        TakebackError: `out` holds another plan's run, another process works on it, or a step fails.
    """
    out = Path(out)
    with only_one(out):
        return _run(plan, out, workers)


def _run(plan: Plan, out: Path, workers: int) -> Path:
    from takeback.report import write_report

    _check(plan)
    _claim(plan, out)
    announce(plan)
    started = time.time()
    if (recipe := plan.base_recipe()) is not None:
        train(recipe, out / BASE)
    chosen_sets(open_checkpoint(plan.base_in(out)).anatomy(), plan.sets)
    jobs = [Job(BASE, run_base, (plan, out), plan.threads)]
    for arms in plan.waves():
        pairs = [(arm, seed) for seed in plan.seeds for arm in arms]
        jobs += [Job(f"{a} seed {seed}", run_arm, (plan, a, seed, out), plan.threads) for a, seed in pairs]
        run_jobs(jobs, workers)
        jobs = []
    merge_behaviour(out)
    write_manifest(plan, out, started, time.time() - started)
    return write_report(out)


def _check(plan: Plan) -> None:
    """Raise for what would otherwise come to light after hours of training."""
    place = arena(plan.arena)
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
        place.applies(plan.recipe(arm, plan.seeds[0]).goal, [])


def _claim(plan: Plan, out: Path) -> None:
    text = dump_plan(plan)
    if isinstance(plan.base, str):
        text += f"# content hash of the base: {open_checkpoint(plan.base).digest}\n"
    path = out / "plan.yaml"
    if not claim(path, text):
        raise TakebackError(
            f"{out} holds a run of another plan or base ({path}); choose another folder or remove it"
        )
