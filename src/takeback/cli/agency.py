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
    show,
    workers_of,
)


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
    from takeback.arenas import arena
    from takeback.checkpoint import open_pair
    from takeback.findings import Findings
    from takeback.localise import question_of
    from takeback.localise.retarget import Retargeting
    from takeback.localise.retarget import retarget as run

    workers = workers_of(count, engine, address)
    pair = open_pair(base, tuned, untie=untie)
    question = question_of(pair, arena(arena_name), ["legal"], situations, seed, threads)
    found = run(question, other, goal, Retargeting(share, lost, controls, seed), out, workers)
    show(Findings(found.title, (), {"retarget": found}, "retarget"), out, as_json)


def probes(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
) -> None:
    """Add to a run what taking back each component does to probes of hidden states."""
    from takeback.study.probes import add_probes

    for path in add_probes(run):
        typer.echo(str(path))
