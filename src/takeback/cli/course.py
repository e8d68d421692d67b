"""The command on the course of training: when a goal's pursuit begins, and in which components."""

from __future__ import annotations

from typing import Annotated

import typer

from takeback.cli.options import (
    Address,
    Base,
    Count,
    Engine,
    Json,
    Out,
    Seed,
    Situations,
    Threads,
    show,
    workers_of,
)


def course(
    base: Base,
    run: Annotated[
        str,
        typer.Argument(help="Folder of a training run with snapshots: runs/NAME/arms/ARM/seed-N."),
    ],
    goal: Annotated[
        str | None, typer.Option(help="What is pursued; by default the goal of the run's recipe.")
    ] = None,
    out: Out = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            help='A family ("each layer") or a set by name ("L0.H*"); repeatable. Default: every component.'
        ),
    ] = None,
    arena_name: Annotated[
        str | None, typer.Option("--arena", help="Where the policies act; by default where the run trained.")
    ] = None,
    situations: Situations = 192,
    seed: Seed = 0,
    count: Count = 1,
    engine: Engine = "local",
    address: Address = None,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Follow a run over its snapshots: when it starts to pursue its goal, and in which components."""
    from takeback.arenas import arena
    from takeback.draw.result import Results
    from takeback.findings.trajectory import CourseSettings
    from takeback.findings.trajectory import course as follow

    settings = CourseSettings(goal, situations, seed, tuple(sets) if sets else None, threads)
    place = None if arena_name is None else arena(arena_name)
    workers = workers_of(count, engine, address)
    found = follow(base, run, place, settings, out, workers)
    show(Results(f"{base} → {run}", (), {"course": found}, "course"), out, as_json)
