"""Commands on runs: training, whole studies and their reports."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from takeback.cli.command import RESUMED
from takeback.cli.options import Json, RunOptions, WrittenRun, argument, option
from takeback.cli.plain import apart, print_done
from takeback.run.errors import TakebackError

Change = Annotated[
    list[str] | None, option("--set", "FIELD=VALUE", "Replace a field: --set seed=1 (repeatable).")
]
RunFolder = Annotated[
    Path | None,
    option("--out -o", "DIR", "Run folder; by default runs/ and the name of recipe or plan."),
    RESUMED,
]


def cores() -> int:
    """Return how many workers a study has unless it is told: one a core, four at most."""
    return min(4, os.cpu_count() or 1)


def train(
    recipe: Annotated[Path, argument("RECIPE", "A recipe, such as recipes/rl-win.yaml.")],
    out: RunFolder = None,
    change: Change = None,
    as_json: Json = False,
) -> None:
    """Train one arm, or pretrain a base, as a recipe says; a killed run goes on where it stopped."""
    from takeback.training import load_recipe
    from takeback.training import train as run

    with apart(as_json):
        final = run(load_recipe(recipe, **changes_of(change)), out or Path("runs") / recipe.stem)
    print_done({"final": str(final)}, f"{final}: the final model", as_json)


def demo(
    work: RunOptions,
    out: RunFolder = None,
    plan: Annotated[
        str, option("--plan", "PLAN", "A plan: the name of one that ships, or a YAML file.")
    ] = "demo",
    change: Change = None,
    as_json: Json = False,
) -> None:
    """Run a plan: train its arms, take each apart and draw the report; resumes after a kill."""
    from takeback.report import run_plan
    from takeback.study import load_plan

    folder = out or Path("runs/demo")
    with apart(as_json):
        report = run_plan(load_plan(plan, **changes_of(change)), folder, work.workers(cores()))
    _print_report(folder, report, as_json)


def report(run: WrittenRun, as_json: Json = False) -> None:
    """Draw the report of a run again from its record."""
    from takeback.report import write_report

    _print_report(run, write_report(run), as_json)


def _print_report(run: Path, report: Path, as_json: bool) -> None:
    print_done({"run": str(run), "report": str(report)}, f"report: {report}", as_json)


def changes_of(texts: list[str] | None) -> dict[str, Any]:
    """Read what --set asks for."""
    from takeback.run.yaml_text import parse_yaml

    changes: dict[str, Any] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise TakebackError(f"--set takes field=value, not {text!r}")
        changes[name] = parse_yaml(value, f"--set {name}")
    return changes
