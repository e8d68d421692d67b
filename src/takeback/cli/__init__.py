"""The command line: thin wrappers around the public calls, one function a command."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from takeback.cli import (
    agency,
    behaviour,
    checkin,
    compare,
    conjecture,
    course,
    localise,
    pack,
    plan,
    runs,
    study,
    weights,
)
from takeback.cli.options import command_of, option
from takeback.run.errors import TakebackError

app = typer.Typer(
    name="takeback",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
for command in (
    weights.components,
    weights.diff,
    weights.hybrid,
    weights.align,
    pack.pack,
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
    compare.contrasts,
):
    command_of(app)(command)
app.add_typer(conjecture.app, name="conjecture")
app.add_typer(study.app)
app.add_typer(plan.app, name="plan")
for command in (checkin.check, checkin.predict, checkin.resolve, checkin.hat):
    command_of(plan.app)(command)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("takeback"))
        raise typer.Exit


@app.callback()
def takeback(
    version: Annotated[
        bool, option("--version", None, "Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """See what a fine-tune changed inside a model, and take it back."""


def main() -> None:
    """Run the command line; a user's mistake ends with one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # ‖Δ‖ on another code page
    try:
        app()
    except TakebackError as error:
        typer.echo(f"takeback: {' '.join(str(error).splitlines())}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        typer.echo(f"takeback: {str(error.filename)[:200]}: {error.strerror}", err=True)
        sys.exit(2)
