"""The command that takes back and grafts many sets."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from takeback.cli.command import WRITTEN
from takeback.cli.options import (
    Base,
    Controls,
    Json,
    Measures,
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
    from takeback.measure.bench import Bench

_LONGEST: Final = 24
"""Characters of a set's name that are printed."""


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
            "A time (10m) or a number of hybrids: read layers and kinds, then the strongest heads and "
            "MLPs. Drawing answers comes before it and is not counted.",
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
        told = partial(display.show, "sweep", "reading")
        if share is not None:
            sweep_shard(what, out, share, told)
            line = f"{out}: shard {shard} is done; run without --shard when all are"
            return print_done({"out": str(out), "shard": shard}, line, as_json)
        run(what, out, report=told)
    if as_json:
        return print_json({"out": str(out), "sets": len(what.sets), "effects": records(read_table(out))})
    _show(bench, out)
    typer.echo(f"{out}: effects of {len(what.sets)} sets, taken back and grafted; readouts beside it")


def _within(what: Sweep, size: Budget, out: Path, as_json: bool) -> None:
    """Sweep within a budget: effects into `out`, of the strongest and all estimates beside it."""
    from takeback.findings.sweep import hybrids_within, within
    from takeback.findings.sweep import sweep as run
    from takeback.run.tables import write_table

    planned = within(what, hybrids_within(what, size, out.with_suffix(".budget.json")))
    files = {"few": out}
    if planned.estimated is not None:
        files["estimated"] = out.with_suffix(".estimated.parquet")
    parts = {"few": planned.few}
    if planned.strongest is not None:
        parts["strongest"], files["strongest"] = planned.strongest, out.with_suffix(".strongest.parquet")
    reads = sum(len(one.hybrids) for one in parts.values())
    some, every = len(planned.few.bench.situations), len(what.bench.situations)
    left = "of heads and MLPs none is looked at"
    if planned.estimated is not None:
        left = f"{planned.left_out} sets are estimated and not read, listed in {files['estimated']}"
    told = f"{reads:,} hybrids, {some} of {every} situations; {left}"
    typer.echo(f"takeback: within the budget: {told}", err=True)
    for name, one in parts.items():
        with Display([name]) as display:
            run(one, files[name], report=partial(display.show, name, "reading"))
    if planned.estimated is not None:
        write_table(planned.estimated, files["estimated"])
    if as_json:
        written = {"out" if name == "few" else name: str(file) for name, file in files.items()}
        return print_json({**written, "left_out": planned.left_out})
    for name, one in parts.items():
        _show(one.bench, files[name])
        typer.echo(
            f"{files[name]}: effects of {len(one.sets)} sets on {len(one.bench.situations)} situations"
        )


def _show(bench: Bench, out: Path) -> None:
    """Print the strongest sets of a sweep: on the first measure asked, or the utility they moved most."""
    from takeback.findings.sweep import moved_most, strongest
    from takeback.run.tables import read_table, records

    effects = read_table(out)
    utilities = [f"utility {goal}" for goal in bench.arena.goals]
    if (measure := moved_most(effects, bench.measures[:1] or utilities)) is None:
        return
    for direction, rows in strongest(effects, measure).groupby("direction", sort=False):
        told = [
            {
                "set": _in_short(row["set"]),
                **{name: row[name] for name in ("effect", "low", "high")},
                "random sets": _beside(row),
            }
            for row in records(rows)
        ]
        print_table(told, f"{direction}, strongest on {measure!r}; * told from 0, beyond each random set")


def _in_short(name: str) -> str:
    """Return a set's name, of a long one how it begins and ends; tables have all of it.

    >>> _in_short("all heads"), _in_short("L0.* L1.* L2.* L3.* L4.* L5.*")
    ('all heads', 'L0.* L1.* … L5.*')
    """
    parts = name.split()
    return name if len(name) <= _LONGEST else f"{' '.join(parts[:2])} … {parts[-1]}"


def _beside(row: dict[str, Any]) -> str:
    """Say between what the effects of the random sets lie that are like a set."""
    if not row["random"]:
        return "none"
    star = "*" if row["beyond"] else " "
    return f"{row['random_low']:+.4f} to {row['random_high']:+.4f} of {row['random']} {star}"
