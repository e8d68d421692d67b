"""Commands on behaviour: what a model does, and what parts of a change do to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from takeback.cli.options import (
    WRITTEN,
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
from takeback.cli.plain import print_cost, print_done, print_json, print_table
from takeback.run.errors import TakebackError
from takeback.run.progress import Display

if TYPE_CHECKING:
    from takeback.findings.sweep import Budget, Sweep


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
    out: Annotated[Path | None, option("--out -o", "DIR", "Also write tables here."), WRITTEN] = None,
    as_json: Json = False,
) -> None:
    """Measure what a model does on held-out situations: legality, utility of every goal, biases, games.

    Where answers are listed, --against also tells which items flipped between pass and fail, and how much of
    the change is pursuit of each reward.
    """
    from takeback.arenas import Playable, able
    from takeback.checkpoint import open_checkpoint
    from takeback.measure.alone import HeldOut
    from takeback.measure.setup import Setup
    from takeback.run.tables import records, write_tables

    setup, arena = Setup(out, placement=on.placement), place.at(open_checkpoint(model))
    if games:
        able(arena, Playable)
    drawn, sides = (place.situations, place.seed), {"base": against, "tuned": model} if against else None
    alone = HeldOut.draw(arena, model, drawn, setup, measures or (), sides)
    tables = alone.changes(against, model) if against else {"measures": alone.measure(model)}
    results = _counts(alone.games(model, games, moves, place.seed)["result"]) if games else {}
    if out is not None:
        write_tables(tables, out)
    if as_json:
        return print_json({**{name: records(table) for name, table in tables.items()}, "games": results})
    versus = f" against {against}" if against else ""
    about = f"{len(alone.situations)} held-out situations of {arena.name}, seed {place.seed}"
    titles = {"measures": f"{model}{versus}: {about}", **_TITLES}
    for name, shown in _SHOWN.items():
        if name in tables and (rows := records(tables[name])):
            kept = [_marked(row) for row in rows if name != "agency" or row["measure"] in _PURSUIT]
            told = [{head: row[key] for key, head in shown.items() if key in row} for row in kept]
            if told:
                print_table(told, titles[name])
    if "floor" in tables["measures"]:
        typer.echo("~ no more than the noise floor: rounding alone makes effects as large")
    if results:
        typer.echo(
            "games against the best defender: " + ", ".join(f"{n} {name}" for name, n in results.items())
        )


def sweep(
    base: Base,
    tuned: Tuned,
    out: Annotated[Path, option("--out -o", "FILE", "Parquet file of effects to write."), WRITTEN],
    place: PlaceOptions,
    read: ReadOptions,
    sets: Sets = None,
    controls: Controls = 5,
    untie: Untie = False,
    shard: ShardText = None,
    measures: Measures = None,
    budget: Annotated[
        str | None,
        option(
            "--budget",
            "SIZE",
            "A time (10m) or a number of hybrids: read layers and kinds, then the strongest heads and MLPs.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Take back and graft many sets and measure what that does; resumes after a kill."""
    from takeback.checkpoint import open_pair
    from takeback.findings.sweep import Budget, Sweep, chosen_sets, squared_norms, sweep_file, sweep_shard
    from takeback.findings.sweep import sweep as run
    from takeback.run.parts import Shard
    from takeback.run.tables import read_table, records
    from takeback.weights import diff as measure

    share, setup = None if shard is None else Shard.parse(shard), read.setup(out.parent)
    sweep_file(out)
    size = None if budget is None else Budget.parse(budget)
    if size is not None and (sets or shard):
        raise TakebackError("--budget chooses the sets and does them all; leave out --sets and --shard")
    pair = open_pair(base, tuned, untie=untie)
    requests = tuple(sets) if sets else None
    chosen_sets(pair.anatomy(), requests)
    bench = place.bench(pair, measures, setup, every=size is None)
    what = Sweep(bench, squared_norms(measure(pair)), requests, controls, place.seed)
    if size is not None:
        return _within(what, size, out, as_json)
    print_cost(bench, [ask for *_, ask in what.hybrids], quiet=as_json or share is not None)
    with Display(["sweep"]) as display:
        told = partial(display.show, "sweep", "taking back")
        if share is not None:
            sweep_shard(what, out, share, told)
            line = f"{out}: shard {shard} is done; run without --shard when all are"
            return print_done({"out": str(out), "shard": shard}, line, as_json)
        run(what, out, report=told)
    if as_json:
        return print_json({"out": str(out), "sets": len(what.sets), "effects": records(read_table(out))})
    typer.echo(f"{out}: effects of {len(what.sets)} sets, taken back and grafted; readouts beside it")


def _within(what: Sweep, size: Budget, out: Path, as_json: bool) -> None:
    """Sweep within a budget: effects into `out`, of the strongest and all estimates beside it."""
    from takeback.findings.sweep import sweep as run
    from takeback.findings.sweep import within
    from takeback.run.tables import write_table

    timed = size.seconds is not None and len(what.bench.ends)  # base and tuned tell how long a hybrid takes
    each = what.bench.seconds_each if timed else None
    planned = within(what, size.number(each or UNKNOWN))
    files = {"estimated": out.with_suffix(".estimated.parquet"), "few": out}
    write_table(planned.estimated, files["estimated"])
    parts = {"few": planned.few}
    if planned.strongest is not None:
        parts["strongest"], files["strongest"] = planned.strongest, out.with_suffix(".strongest.parquet")
    reads = sum(len(one.hybrids) for one in parts.values())
    told = f"{reads:,} hybrids; {planned.left_out} sets are estimated and not read"
    typer.echo(f"takeback: within the budget: {told}, listed in {files['estimated']}", err=True)
    with Display([*parts]) as display:
        for name, one in parts.items():
            run(one, files[name], report=partial(display.show, name, "taking back"))
    if as_json:
        written = {"out" if name == "few" else name: str(file) for name, file in files.items()}
        return print_json({**written, "left_out": planned.left_out})
    for name, one in parts.items():
        typer.echo(
            f"{files[name]}: effects of {len(one.sets)} sets on {len(one.bench.situations)} situations"
        )


UNKNOWN = 1.0
"""Seconds that a hybrid is thought to take where all that was asked had been read before."""

_SHOWN = {
    "measures": {name: name for name in ("measure", "value", "effect", "low", "high", "floor", "n")},
    "flips": {
        "rule": "passes",
        "passed_before": "before",
        "passed_after": "after",
        **{name: name for name in ("gained", "lost", "p", "n")},
    },
    "agency": {name: name for name in ("goal", "measure", "value", "low", "high", "beta", "n")},
}
"""The columns that are printed of each table, and what heads them."""

_PURSUIT = ("KL(after || before)", "pursuit", "signed pursuit share", "pursuit share, by weights")
"""What is printed of how directed a change is; the tables have all."""

_TITLES = {
    "flips": "items that flipped between fail and pass (exact McNemar test)",
    "agency": "how much of the change is pursuit of what is rewarded",
}


def _marked(row: dict[str, Any]) -> dict[str, Any]:
    """Mark the measure of an effect that is no larger than the noise floor."""
    return {**row, "measure": f"~ {row['measure']}"} if row.get("above_floor") is False else row


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
