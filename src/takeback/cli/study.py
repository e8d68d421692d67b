"""Commands on studies: run a plan, and see how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from takeback.cli.command import command_of
from takeback.cli.options import Folder, Json, Run, RunOptions, argument, option
from takeback.cli.plain import apart, print_done, print_json, print_table, span
from takeback.cli.runs import Change, RunFolder, changes_of, cores

if TYPE_CHECKING:
    from takeback.study.status import ArmStatus, StepStatus

app = typer.Typer(
    name="study",
    help="Run a plan of arms and seeds, and see how far it is.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

WIDTH = 140
"""Columns of the table where there is no terminal."""


@command_of(app)
def run(
    plan: Annotated[str, argument("PLAN", "A plan: a YAML file, or the name of one that ships.")],
    work: RunOptions,
    out: RunFolder = None,
    change: Change = None,
    as_json: Json = False,
) -> None:
    """Train, diff, read and take back every arm and seed of a plan; what is done already is skipped."""
    from takeback.report import run_plan
    from takeback.study import load_plan
    from takeback.study.claim import told_out

    chosen = load_plan(plan, **changes_of(change))
    folder = out or Path("runs") / chosen.name
    with apart(as_json):
        report = run_plan(chosen, folder, work.workers(cores()))
    left = told_out(chosen, folder)
    for name in left:
        typer.echo(f"{name} is on disk and not in the plan's tables", err=True)
    told = {"run": str(folder), "report": str(report), "not_in_tables": list(left)}
    print_done(told, f"report: {report}", as_json)


@command_of(app)
def status(
    run: Run,
    count: Annotated[
        int | None, option("--workers", "N", "Estimate for so many; by default the last run's.", min=1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell for every arm and seed which steps are done, what runs, and how long the rest takes."""
    from takeback.study.status import study_status

    found = study_status(run, count)
    if as_json:
        print_json(found.to_json())
        return
    names = list(dict.fromkeys(step.name for arm in reversed(found.arms) for step in arm.steps))
    print_table([_row(arm, names) for arm in found.arms], str(run), WIDTH)
    for line in found.warnings:
        typer.echo(line)
    done = sum(arm.done for arm in found.arms)
    if done < len(found.arms):
        left = "no estimate yet" if found.left is None else f"about {span(found.left)} left"
        typer.echo(f"{done} of {len(found.arms)} done; {left} on {found.workers} worker(s)")
    else:
        typer.echo(f"all {done} done")


@command_of(app)
def keep(
    run: Run,
    out: Folder,
    as_json: Json = False,
) -> None:
    """Write what a run's claims rest on into a folder of a few megabytes, to be kept beside a page."""
    from takeback.study.kept import keep_record

    folder = keep_record(run, out)
    size = sum(path.stat().st_size for path in folder.rglob("*"))
    line = f"{folder}: {size / 1e6:.1f} MB; `takeback contrasts {folder}` makes its contrasts again"
    print_done({"out": str(folder), "bytes": size}, line, as_json)


def _row(arm: ArmStatus, names: list[str]) -> dict[str, Any]:
    steps = {step.name: step for step in arm.steps}
    told = {name: _cell(steps[name]) if name in steps else "" for name in names}
    taken = [step.seconds for step in arm.steps if step.state == "done" and step.seconds is not None]
    left = "" if arm.done else "?" if arm.left is None else span(arm.left)
    measured = f"{arm.measured.kl:.3g}" if arm.measured else ""
    took = span(sum(taken)) if taken else ""
    return {"arm": arm.arm, "seed": arm.seed, **told, "took": took, "left": left, "KL": measured}


def _cell(step: StepStatus) -> str:
    if step.state == "missing":
        return "–"
    if step.state == "running":
        return "running"
    return "done" if step.seconds is None else span(step.seconds)
