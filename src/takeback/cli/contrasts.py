"""The command that contrasts the arms of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from takeback.cli.options import Json, show


def contrasts(
    run: Annotated[Path, typer.Argument(help="A run folder, such as runs/core; it need not be finished.")],
    plan: Annotated[
        str | None, typer.Option(help="Take contrasts and the rule of agency from this plan instead.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where tables and page go; by default the run folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Contrast the arms of a run over its training runs, and say which components carry agency."""
    from takeback.run.progress import Display
    from takeback.study import load_plan
    from takeback.study.contrasts import contrasts as run_contrasts

    with Display([run.name]) as display:
        told = display.reporter(run.name)
        asked = load_plan(plan) if plan else None
        found = run_contrasts(run, asked, lambda done, total: told("reading training runs", done, total))
    show(found, out or run, as_json)
