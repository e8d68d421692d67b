"""The command that keeps what tuning brought and undoes what it cost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from takeback.cli.options import Base, Controls, OutOptions, PlaceOptions, ReadOptions, Tuned, Untie, option
from takeback.cli.plain import print_floor, span
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    from takeback.findings.repair import Repairing, Target, Trade


def repair(
    base: Base,
    tuned: Tuned,
    place: PlaceOptions,
    read: ReadOptions,
    output: OutOptions,
    keep: Annotated[
        str, option("--keep", "MEASURE@ARENA", "What tuning brought; less is better with a minus before it.")
    ],
    restore: Annotated[str, option("--restore", "MEASURE@ARENA", "What tuning cost, named in the same way.")],
    margin: Annotated[
        float, option("--margin", "SHARE", "The share of the gain that may be lost.", min=0)
    ] = 0.1,
    among: Annotated[
        int, option("--among", "N", "The most promising components, which sets are made of.", min=1)
    ] = 16,
    most: Annotated[int, option("--most", "N", "Members that a set has at most.", min=1)] = 8,
    controls: Controls = 19,
    push: Annotated[
        str | None, option("--push", "ORG/NAME", "Upload the written model to the Hugging Face Hub.")
    ] = None,
    untie: Untie = False,
) -> None:
    """Find and write a hybrid that keeps a gain and restores what was damaged; beside what people do today.

    An arena that is not named after @ is the one of --arena, or the models' own.
    """
    from takeback.checkpoint import open_pair
    from takeback.findings.repair import Repairing, Trade, check_name, write_repaired
    from takeback.findings.repair import push as pushed
    from takeback.findings.repair import repair as run

    settings = Repairing(margin, among, most, controls=controls, seed=place.seed)
    if push is not None:
        check_name(push)
        if output.out is None:
            raise TakebackError("--push uploads what is written; name a folder (--out)")
    keeping, restoring = (_target(one, place) for one in (keep, restore))
    pair = open_pair(base, tuned, untie=untie)
    if push is not None and pair.tuned.config is None:
        raise TakebackError(f"{tuned} is no language model: a network is one file, which is not pushed")
    trade = Trade.between(pair, keeping, restoring, (place.situations, place.seed), read.setup(output.out))
    if not output.as_json:
        _print_cost(trade, settings)
    found = run(trade, settings)
    written = None if output.out is None else write_repaired(found, pair, output.out)
    output.show(found)
    for bench in trade.benches:
        print_floor(bench, output.as_json)
    if written is not None:
        typer.echo(f"{written}: the chosen hybrid", err=output.as_json)
    if push is not None:
        if written is None:
            raise TakebackError("nothing was chosen, so there is nothing to push")
        typer.echo(pushed(written, push), err=output.as_json)


def _target(text: str, place: PlaceOptions) -> Target:
    """Return a measure and its arena as the options say it is answered.

    Raises:
        UnknownName: there is no such arena.
        TakebackError: it names no measure, or options on answers have no rows to answer.
    """
    from takeback.arenas.rows import with_settings
    from takeback.findings.repair import Target

    target = Target.parse(text)
    name = target.arena or place.arena
    replace(place, arena=name).named()
    return replace(target, arena=None if name is None else with_settings(name, place.settings))


def _print_cost(trade: Trade, settings: Repairing) -> None:
    """Tell, before long work begins, how many hybrids are read at most, and about how long that takes."""
    from takeback.findings.repair import readings

    asks, more = readings(trade, settings)
    for bench in trade.benches:
        least = bench.unread(asks)
        each = bench.seconds_each if len(bench.ends) else None
        about = "" if each is None else f", about {span(least * each)} to {span((least + more / 2) * each)}"
        typer.echo(
            f"takeback: {least:,} hybrids to read in {len(bench.situations):,} situations of "
            f"{bench.arena.name}, and up to {more:,} more on half of them{about}",
            err=True,
        )
