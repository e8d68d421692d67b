"""Commands on a project: checking in on it, predicting what people will say, putting on somebody's hat."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from takeback.cli.command import WRITTEN
from takeback.cli.options import Json, OutOptions, argument, option
from takeback.cli.plain import print_done, print_json
from takeback.run.errors import TakebackError, unknown_name

if TYPE_CHECKING:
    from takeback.planning.checkin import Hat

Day = Annotated[
    datetime | None, option("--date", "DATE", "The day it is; by default today.", formats=["%Y-%m-%d"])
]
OUTCOMES = {"true": True, "false": False}


def check(
    project: Annotated[Path, argument("PROJECT", "A project's file.")],
    heuristics: Annotated[
        Path | None, option("--heuristics", "FILE", "YAML with other questions than those that ship.")
    ] = None,
    run: Annotated[
        list[Path] | None, option("--run", "RUN", "A run besides those the file names; repeatable.")
    ] = None,
    new: Annotated[str, option("--new", "NAME", "Write a file to fill in instead.")] = "",
    day: Day = None,
    as_json: Json = False,
) -> None:
    """Show what a project leaves unanswered, what has no evidence, what is due, and how answers changed."""
    from takeback.planning.checkin import check as look
    from takeback.planning.checkin import new_project, read_project

    if new:
        written = new_project(project, new, _day(day), heuristics).write()
        line = f"{written}: write answers under dates, such as ### {_day(day)}"
        return print_done({"new": str(written)}, line, as_json)
    found = look(read_project(project, heuristics), _day(day), run or ())
    if as_json:
        print_json(found.plain())
    else:
        found.print()


def predict(
    file: Annotated[Path, argument("FILE", "YAML that predictions are added to; made if need be.")],
    statement: Annotated[
        str, option("--statement", "TEXT", "What you predict, so that it will be plainly true or false.")
    ],
    probability: Annotated[
        float, option("--probability", "P", "That it turns out true: above 0 and below 1.")
    ],
    about: Annotated[str, option("--about", "WHOM", "Whose words, or which project.")],
    by: Annotated[str, option("--by", "NAME", "Who predicts it.")],
    kind: Annotated[
        str,
        option("--kind", "KIND", "feedback: what a person will say; project: what will become of a project."),
    ] = "feedback",
    name: Annotated[str, option("--name", "NAME", "Without one, the statement's first words.")] = "",
    day: Day = None,
    as_json: Json = False,
) -> None:
    """Write down what somebody will say, or what will become of a project, before it is known."""
    from pydantic import ValidationError

    from takeback.planning.predictions import Predicted
    from takeback.planning.predictions import predict as write
    from takeback.planning.predictions.event import KINDS

    if kind not in KINDS:
        raise unknown_name("kind", kind, KINDS)
    fields = {"statement": statement, "probability": probability, "about": about, "by": by}
    try:
        told = Predicted.model_validate({**fields, "predicted": _day(day), "kind": kind, "name": name})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise TakebackError(f"prediction: {wrong}") from None
    made = write(told, file)
    line = f"{file}: {made.name} written down, seal {made.seal}"
    print_done({"file": str(file), "name": made.name, "seal": made.seal}, line, as_json)


def resolve(
    file: Annotated[Path, argument("FILE", "A file of predictions.")],
    output: OutOptions,
    name: Annotated[str, argument("NAME", "Which; without one, all are shown with their scores.")] = "",
    outcome: Annotated[str, option("--outcome", "OUTCOME", "true or false.")] = "",
    because: Annotated[str, option("--because", "TEXT", "What happened; a link where there is one.")] = "",
    day: Day = None,
) -> None:
    """Settle a prediction, once, and show what became of all and how well their authors foresee."""
    from takeback.planning.predictions import read_predictions
    from takeback.planning.predictions import resolve as settle

    if bool(name) != bool(outcome):
        raise TakebackError("to settle a prediction give its name and --outcome true or false")
    if name:
        if outcome not in OUTCOMES:
            raise unknown_name("outcome", outcome, OUTCOMES)
        settle(file, name, OUTCOMES[outcome], _day(day), because)
    output.show(read_predictions(file))


def hat(
    profile: Annotated[Path, argument("PROFILE", "The questions that a person tends to ask.")],
    target: Annotated[Path, argument("TARGET", "A project's file, or a tree."), WRITTEN],
    answers: Annotated[
        Path | None,
        option("--answers", "FILE", "YAML with answers by question or number; without it you are asked."),
    ] = None,
    by: Annotated[str, option("--by", "NAME", "Who puts the hat on.")] = "",
    under: Annotated[
        str,
        option(
            "--under",
            "PROBLEM",
            "Of a tree: the problem, by id or words, that answers go under; else the first.",
        ),
    ] = "",
    day: Day = None,
    as_json: Json = False,
) -> None:
    """Walk through somebody's questions; answers become notes of a project or problems in a tree."""
    from takeback.planning.checkin import add_hat, read_answers, read_hat
    from takeback.planning.checkin.hats import walk

    if as_json and answers is None:
        raise TakebackError("with --json nobody is asked; give --answers FILE")
    worn = read_hat(profile)
    told = read_answers(answers, worn) if answers is not None else walk(worn, _prompt(worn))
    number = add_hat(target, worn, told, _day(day), by, under)
    of = len(worn.questions)
    line = f"{target}: {number} of {of} questions answered with the hat of {worn.name}"
    print_done({"file": str(target), "answered": number, "of": of, "hat": worn.name}, line, as_json)


def interactive() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin.isatty()


def _prompt(worn: Hat) -> Callable[[str], str]:
    if not interactive():
        raise TakebackError(
            "nobody is here to ask; give --answers FILE with YAML, a question or its number each"
        )
    typer.echo(f"The hat of {worn.name}. An empty answer passes a question over.")
    return lambda question: str(typer.prompt(question, default="", show_default=False))


def _day(day: datetime | None) -> date:
    return datetime.now().astimezone().date() if day is None else day.date()
