"""The command line: thin wrappers around the public calls, one function a command."""

from __future__ import annotations

import io
import os
import sys
import warnings
from typing import Annotated, Any

import typer

from takeback.checkpoint.forms.form import PICKLE
from takeback.cli import (
    agency,
    behaviour,
    checkin,
    compare,
    conjecture,
    course,
    localise,
    plan,
    runs,
    study,
    weights,
)
from takeback.cli.options import command_of, option
from takeback.run.errors import TakebackError, TakebackWarning

ALLOW_PICKLE = "--allow-pickle"

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
    allow_pickle: Annotated[
        bool,
        option(ALLOW_PICKLE, None, "Read pickled checkpoints too, tensors alone; may stand anywhere."),
    ] = False,
) -> None:
    """See what a fine-tune changed inside a model, and take it back."""
    if allow_pickle:
        os.environ[PICKLE] = "1"  # workers inherit it


def _show_warning(message: Warning | str, category: type[Warning], *where: Any) -> None:
    """Print a warning of this package in a line, and others as Python does."""
    if issubclass(category, TakebackWarning):
        typer.echo(f"takeback: warning: {message}", err=True)
    else:
        typer.echo(warnings.formatwarning(message, category, *where[:2]), err=True, nl=False)


def main() -> None:
    """Run the command line; a user's mistake ends with one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # ‖Δ‖ on a console of another code page
    warnings.showwarning = _show_warning
    try:
        arguments = sys.argv[1:]
        if ALLOW_PICKLE in arguments:
            arguments = [ALLOW_PICKLE, *(one for one in arguments if one != ALLOW_PICKLE)]
        app(arguments)
    except TakebackError as error:
        typer.echo(f"takeback: {error}", err=True)
        sys.exit(2)
