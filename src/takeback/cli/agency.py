"""Commands on agency: what turns a model to another goal, and what takebacks do to probes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from takeback.cli.options import (
    Address,
    ArenaName,
    Base,
    Count,
    Engine,
    Json,
    Out,
    Seed,
    Situations,
    Threads,
    Untie,
    print_json,
    print_table,
    question_for,
    show,
    workers_of,
)


def agency(
    model: Annotated[str, typer.Argument(help="Checkpoint, in any of the forms that other commands take.")],
    goals: Annotated[
        list[str] | None, typer.Option("--goal", help="A goal; repeatable. Default: all but random.")
    ] = None,
    horizon: Annotated[int, typer.Option(min=1, help="Moves of an episode.")] = 3,
    games: Annotated[int, typer.Option(min=1, help="Games played from each situation.")] = 2,
    arena_name: ArenaName = "endgames",
    situations: Situations = 192,
    seed: Seed = 0,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Tell how directed one policy is at goals: given what it can, over episodes, and as facts change."""
    from takeback.arenas import arena
    from takeback.measure.agency.policy_agency import Asked, policy_agency
    from takeback.policies.load import load_policy
    from takeback.run.tables import records
    from takeback.run.threads import cpu_threads

    place = arena(arena_name)
    asked = Asked(tuple(goals) if goals else None, horizon, games, seed)
    with cpu_threads(threads):
        chosen = place.situations("held-out", situations, seed)
        rows = records(policy_agency(load_policy(model, place), place, chosen, asked))
    if as_json:
        print_json(rows)
        return
    shown = ("measure", "goal", "unit", "value", "low", "high", "beta", "note")
    print_table([{name: row[name] for name in shown} for row in rows], f"{model} in {arena_name}")


def retarget(
    base: Base,
    tuned: Annotated[str, typer.Argument(metavar="TUNED", help="The model to turn to another goal.")],
    other: Annotated[
        str, typer.Argument(metavar="OTHER", help="A model of the same base that pursues that goal.")
    ],
    goal: Annotated[
        str | None, typer.Option(help="Its goal. Default: the one it has most more of than TUNED.")
    ] = None,
    share: Annotated[float, typer.Option(help="What the sets are to bring of OTHER's gain.")] = 0.9,
    lost: Annotated[float, typer.Option(min=0, help="The most legal mass that may be lost.")] = 0.01,
    controls: Annotated[int, typer.Option(min=1, help="Random sets of each make-up.")] = 19,
    out: Out = None,
    arena_name: ArenaName = "endgames",
    situations: Situations = 192,
    seed: Seed = 0,
    untie: Untie = False,
    count: Count = 1,
    engine: Engine = "local",
    address: Address = None,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Find how few components of another arm turn a model to that arm's goal."""
    from takeback.findings.localise.retarget import Retargeting
    from takeback.findings.localise.retarget import retarget as run

    workers = workers_of(count, engine, address)
    question = question_for((base, tuned), ["legal"], arena_name, (situations, seed), untie, threads)
    found = run(question, other, goal, Retargeting(share, lost, controls, seed), out, workers)
    show(found, out, as_json)


def probes(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
) -> None:
    """Add to a run what taking back each component does to probes of hidden states."""
    from takeback.study.probes import add_probes

    for path in add_probes(run):
        typer.echo(str(path))
