"""Commands on choosing what to work on: trees of problems."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Choose what to work on: trees of problems, and what evidence they rest on.",
    no_args_is_help=True,
)


@app.callback()
def plan() -> None:
    """Choose what to work on: trees of problems, and what evidence they rest on."""
