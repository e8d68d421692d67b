"""The command line: thin wrappers around the public calls, one function a command."""

from __future__ import annotations

import io
import sys

import typer

from takeback.cli import (
    agency,
    behaviour,
    checkin,
    compare,
    conjecture,
    contrasts,
    course,
    localise,
    plan,
    runs,
    study,
    weights,
)
from takeback.run.errors import TakebackError

app = typer.Typer(
    name="takeback",
    help="See what a fine-tune changed inside a model, and take it back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (
    weights.components,
    weights.diff,
    weights.hybrid,
    weights.align,
    runs.train,
    behaviour.behaviour,
    behaviour.sweep,
    localise.localise,
    localise.attribute,
    localise.explain,
    agency.agency,
    agency.retarget,
    agency.probes,
    course.course,
    runs.demo,
    runs.report,
    compare.compare,
    contrasts.contrasts,
):
    app.command()(command)
app.add_typer(conjecture.app, name="conjecture")
app.add_typer(study.app)
app.add_typer(plan.app, name="plan")
for command in (checkin.check, checkin.predict, checkin.resolve, checkin.hat):
    plan.app.command()(command)


def main() -> None:
    """Run the command line; a user's mistake ends with one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # ‖Δ‖ on a console of another code page
    try:
        app()
    except TakebackError as error:
        typer.echo(f"takeback: {error}", err=True)
        sys.exit(2)
