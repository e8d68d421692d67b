"""The command line: thin wrappers around the public calls, one function a command."""

from __future__ import annotations

import io
import os
import sys
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from takeback.anatomy.own import own_families
from takeback.checkpoint.forms.form import PICKLE
from takeback.cli import (
    agency,
    behaviour,
    checkin,
    compare,
    conjecture,
    course,
    doctor,
    family,
    lab,
    localise,
    pack,
    plan,
    repair,
    runs,
    study,
    sweep,
    weights,
)
from takeback.cli.command import command_of
from takeback.cli.options import option
from takeback.run.errors import TakebackError, show_warnings_in_lines

ALLOW_PICKLE = "--allow-pickle"


class _Anywhere(TyperGroup):
    """Lets `--families FILE` and `--allow-pickle` stand before the command or behind it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move them to the front."""
        moved: list[str] = []
        left: list[str] = []
        words = iter(args)
        for word in words:
            if word == "--":
                left += [word, *words]
            elif word == "--families":
                moved += [word, *islice(words, 1)]
            else:
                (moved if word == ALLOW_PICKLE or word.startswith("--families=") else left).append(word)
        return super().parse_args(ctx, [*moved, *left])


app = typer.Typer(
    name="takeback",
    cls=_Anywhere,
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
    family.family,
    runs.train,
    behaviour.behaviour,
    sweep.sweep,
    localise.localise,
    localise.attribute,
    localise.explain,
    agency.agency,
    agency.retarget,
    agency.probes,
    repair.repair,
    course.course,
    runs.demo,
    runs.report,
    lab.lab,
    compare.compare,
    compare.contrasts,
    doctor.doctor,
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
    context: typer.Context,
    version: Annotated[
        bool, option("--version", None, "Print the version.", is_eager=True, callback=_print_version)
    ] = False,
    families: Annotated[
        list[Path] | None,
        option("--families", "FILE", "Your own blocks of model families, with any command; repeatable."),
    ] = None,
    allow_pickle: Annotated[
        bool,
        option(ALLOW_PICKLE, None, "Read pickled checkpoints too, tensors alone; with any command."),
    ] = False,
) -> None:
    """See what a fine-tune changed inside a model, and take it back."""
    if families:
        context.with_resource(own_families(families))
    if allow_pickle:
        os.environ[PICKLE] = "1"  # workers inherit it


def main() -> None:
    """Run the command line; a user's mistake ends with one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # ‖Δ‖ on another code page
    show_warnings_in_lines()
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
