"""Commands on whole runs: setting them side by side, and contrasting the arms of one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from takeback.cli.options import Measures, OutOptions, WrittenRun, argument, option


def compare(
    runs: Annotated[list[Path], argument("RUNS", "Run folders, such as runs/mlp runs/agent.")],
    output: OutOptions,
    measures: Measures = None,
) -> None:
    """Set finished runs side by side on the same measures, with intervals over training runs."""
    from takeback.study.comparison import compare as run

    output.show(run(runs, measures or ()))


def contrasts(
    run: WrittenRun,
    output: OutOptions,
    plan: Annotated[
        str | None,
        option("--plan", "PLAN", "Take contrasts and arms of the rule from this plan instead."),
    ] = None,
) -> None:
    """Contrast the arms of a run over its training runs, and say which components carry the gain.

    The run need not be finished. Without --out, tables and page go into its folder.
    """
    from takeback.run.progress import Display
    from takeback.study import load_plan
    from takeback.study.contrasts import contrasts as run_contrasts

    with Display([run.name]) as display:
        told = display.reporter(run.name)
        asked = load_plan(plan) if plan else None
        found = run_contrasts(run, asked, lambda done, total: told("reading training runs", done, total))
    replace(output, out=output.out or run).show(found)
