"""Commands on conjectures: adding one before a run, listing them, resolving them after it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from takeback.cli.command import WRITTEN, command_of
from takeback.cli.options import Json, Run, WrittenRun, argument, option
from takeback.cli.plain import print_done, print_json, print_table
from takeback.run.errors import TakebackError

app = typer.Typer(
    help="Write down what is expected of a run before it starts, and see what came of it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@command_of(app)
def add(
    where: Annotated[Path, argument("RUN_OR_PLAN", "A plan's YAML file, or the folder of a run."), WRITTEN],
    sentence: Annotated[str, option("--sentence", "TEXT", "What is expected, in words.")],
    rule: Annotated[str, option("--rule", "RULE", "What decides it, such as 'count(games) > 3'.")],
    probability: Annotated[
        float, option("--probability", "P", "That the rule is true: above 0 and below 1.")
    ],
    author: Annotated[str, option("--author", "NAME", "Who expects it.")],
    name: Annotated[str, option("--name", "NAME", "Without one, the sentence's first words.")] = "",
    as_json: Json = False,
) -> None:
    """Add a conjecture to a plan, or to a run that has not started."""
    from takeback.study.conjectures.add import add as write
    from takeback.study.conjectures.conjecture import check_conjectures

    fields = {"name": name, "sentence": sentence, "rule": rule, "probability": probability, "author": author}
    (one,) = check_conjectures([fields], "conjecture")
    file = write(one, where)
    print_done({"file": str(file), "name": one.name}, f"{file}: {one.name} added", as_json)


@command_of(app, "list")
def list_conjectures(run: Run, as_json: Json = False) -> None:
    """List a run's conjectures as they were locked, and what became of each since; before it, as they are."""
    from takeback.study.conjectures.lock import is_locked, read_lock, standings

    lock = read_lock(run) if is_locked(run) else None
    rows = [_told(one) for one in standings(run)]
    time, sha256 = (None, None) if lock is None else (lock.time, lock.sha256)
    if as_json:
        print_json({"time": time, "sha256": sha256, "conjectures": rows})
        return
    title = f"{run}: not locked" if lock is None else f"{run}: locked at {time}, SHA-256 {sha256}"
    if not rows:
        typer.echo(f"{title}; no conjectures")
        return
    print_table(
        [{k: row[k] for k in ("name", "probability", "author", "edit", "sentence")} for row in rows], title
    )


@command_of(app)
def resolve(run: WrittenRun, as_json: Json = False) -> None:
    """Decide a finished run's conjectures by its tables, score their authors, and write what came out."""
    from takeback.study.conjectures.resolve import resolve_at_end

    found = resolve_at_end(run)
    if found is None:
        raise TakebackError(f"{run} has no conjectures; write them before a run starts (conjecture add)")
    if as_json:
        typer.echo(found.to_json())
    else:
        found.print()
    if found.broken:
        raise TakebackError(f"rules that can't be decided: {'; '.join(found.broken)}")


def _told(standing: Any) -> dict[str, Any]:
    return {**standing.conjecture.model_dump(mode="json"), "edit": standing.edit, "now": standing.now}
