"""Commands on behaviour: what a model does, and what parts of a change do to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
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
    Seed,
    ShardText,
    Situations,
    Threads,
    TunedArg,
    Untie,
    print_json,
    print_table,
    workers_of,
)
from takeback.run.progress import Display


def behaviour(
    model: Annotated[str, typer.Argument(help="A checkpoint.")],
    against: Annotated[
        str | None, typer.Option(help="Another checkpoint: print the change from it, paired.")
    ] = None,
    arena_name: ArenaName = "endgames",
    situations: Situations = 192,
    games: Annotated[int, typer.Option(min=0, help="Games against the best defender.")] = 0,
    moves: Annotated[
        int, typer.Option(min=1, help="White moves after which a game counts as unfinished.")
    ] = 30,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure what a model does on held-out situations: legality, utility of every goal, biases, games."""
    from takeback.measure.alone import HeldOut
    from takeback.run.tables import records

    alone = HeldOut.draw(arena_name, model, situations, seed)
    table = alone.compare(against, model) if against else alone.measure(model)
    rows = records(table)
    results = _counts(alone.games(model, games, moves, seed)["result"]) if games else {}
    if as_json:
        return print_json({"measures": rows, "games": results})
    shown = ("measure", "value", "effect", "low", "high", "n")
    rows = [{name: row[name] for name in shown if name in row} for row in rows]
    versus = f" against {against}" if against else ""
    print_table(rows, f"{model}{versus}: {situations} held-out situations of {arena_name}, seed {seed}")
    if results:
        typer.echo(
            "games against the best defender: " + ", ".join(f"{n} {name}" for name, n in results.items())
        )


def sweep(
    base: Base,
    tuned: TunedArg,
    out: Annotated[Path, typer.Option("--out", "-o", help="Parquet file of effects to write.")],
    sets: Annotated[
        list[str] | None, typer.Option(help='A family ("each head") or a set by name ("L0.H*"); repeatable.')
    ] = None,
    arena_name: ArenaName = "endgames",
    situations: Situations = 192,
    controls: Annotated[int, typer.Option(min=1, help="Random sets of each make-up.")] = 5,
    seed: Seed = 0,
    untie: Untie = False,
    count: Count = 1,
    engine: Engine = "local",
    address: Address = None,
    threads: Threads = 1,
    shard: ShardText = None,
) -> None:
    """Take back and graft many sets and measure what that does; resumes after a kill."""
    from takeback.arenas import arena
    from takeback.checkpoint import open_pair
    from takeback.findings.sweep import Sweep, squared_norms, sweep_shard
    from takeback.findings.sweep import sweep as run
    from takeback.measure.bench import Bench, Setup
    from takeback.run.parts import Shard
    from takeback.weights import diff as measure

    share, workers = None if shard is None else Shard.parse(shard), workers_of(count, engine, address)
    pair, place = open_pair(base, tuned, untie=untie), arena(arena_name)
    chosen = place.situations("held-out", situations, seed)
    bench = Bench(pair, place, chosen, setup=Setup(workers=workers, threads=threads))
    norms, requests = squared_norms(measure(pair)), tuple(sets) if sets else None
    what = Sweep(bench, norms, requests, controls, seed)
    with Display(["sweep"]) as display:
        told = partial(display.show, "sweep", "taking back")
        if share is not None:
            sweep_shard(what, out, share, told)
            typer.echo(f"{out}: shard {shard} is done; run without --shard when all are")
            return
        run(what, out, report=told)
    typer.echo(f"{out}: effects of {len(what.sets)} sets, taken back and grafted; readouts beside it")


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
