"""The command that sets runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from takeback.cli.options import Json, Out, show


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, such as runs/mlp runs/agent.")],
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Set finished runs side by side on the same measures, with intervals over training runs."""
    from takeback.study.comparison import compare as run

    show(run(runs), out, as_json)
