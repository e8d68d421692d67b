"""Commands on behaviour: what a model does, and what parts of a change do to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from takeback.cli.options import (
    Base,
    Controls,
    DeviceOptions,
    Json,
    Measures,
    Model,
    PlaceOptions,
    ReadOptions,
    Sets,
    ShardText,
    Tuned,
    Untie,
    option,
)
from takeback.cli.plain import print_cost, print_json, print_table
from takeback.run.progress import Display


def behaviour(
    model: Model,
    place: PlaceOptions,
    on: DeviceOptions,
    against: Annotated[
        str | None, option("--against", "MODEL", "Another checkpoint: print the change from it, paired.")
    ] = None,
    games: Annotated[int, option("--games", "N", "Games against the best defender.", min=0)] = 0,
    moves: Annotated[
        int, option("--moves", "N", "White moves after which a game counts as unfinished.", min=1)
    ] = 30,
    measures: Measures = None,
    as_json: Json = False,
) -> None:
    """Measure what a model does on held-out situations: legality, utility of every goal, biases, games."""
    from takeback.measure.alone import HeldOut
    from takeback.measure.setup import Setup
    from takeback.run.tables import records

    setup = Setup(placement=on.placement)
    alone = HeldOut.draw(place.name, model, (place.situations, place.seed), setup, measures or ())
    table = alone.compare(against, model) if against else alone.measure(model)
    rows = records(table)
    results = _counts(alone.games(model, games, moves, place.seed)["result"]) if games else {}
    if as_json:
        return print_json({"measures": rows, "games": results})
    shown = ("measure", "value", "effect", "low", "high", "n")
    rows = [{name: row[name] for name in shown if name in row} for row in rows]
    versus = f" against {against}" if against else ""
    about = f"{place.situations} held-out situations of {place.name}, seed {place.seed}"
    print_table(rows, f"{model}{versus}: {about}")
    if results:
        typer.echo(
            "games against the best defender: " + ", ".join(f"{n} {name}" for name, n in results.items())
        )


def sweep(
    base: Base,
    tuned: Tuned,
    out: Annotated[Path, option("--out -o", "FILE", "Parquet file of effects to write.")],
    place: PlaceOptions,
    read: ReadOptions,
    sets: Sets = None,
    controls: Controls = 5,
    untie: Untie = False,
    shard: ShardText = None,
    measures: Measures = None,
    as_json: Json = False,
) -> None:
    """Take back and graft many sets and measure what that does; resumes after a kill."""
    from takeback.checkpoint import open_pair
    from takeback.findings.sweep import Sweep, chosen_sets, squared_norms, sweep_shard
    from takeback.findings.sweep import sweep as run
    from takeback.measure.bench import Bench
    from takeback.measure.measures import find_measures
    from takeback.run.parts import Shard
    from takeback.run.tables import read_table, records
    from takeback.weights import diff as measure

    share, setup = None if shard is None else Shard.parse(shard), read.setup(out.parent)
    arena = place.place
    find_measures(measures or (), arena)
    pair = open_pair(base, tuned, untie=untie)
    requests = tuple(sets) if sets else None
    chosen_sets(pair.anatomy(), requests)
    drawn = arena.situations("held-out", place.situations, place.seed)
    bench = Bench(pair, arena, drawn, measures or (), setup)
    what = Sweep(bench, squared_norms(measure(pair)), requests, controls, place.seed)
    print_cost(bench, [ask for *_, ask in what.hybrids], quiet=as_json or share is not None)
    with Display(["sweep"]) as display:
        told = partial(display.show, "sweep", "taking back")
        if share is not None:
            sweep_shard(what, out, share, told)
            typer.echo(f"{out}: shard {shard} is done; run without --shard when all are")
            return
        run(what, out, report=told)
    if as_json:
        return print_json({"out": str(out), "sets": len(what.sets), "effects": records(read_table(out))})
    typer.echo(f"{out}: effects of {len(what.sets)} sets, taken back and grafted; readouts beside it")


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
