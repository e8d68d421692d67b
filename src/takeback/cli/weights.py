"""Commands on weights: what a checkpoint is made of, how two differ, and hybrids of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from takeback.cli.options import (
    Address,
    Base,
    Count,
    Engine,
    Graft,
    Json,
    Resolution,
    ShardText,
    Source,
    TakeBack,
    TunedArg,
    Untie,
    chosen_set,
    print_json,
    print_table,
    workers_of,
)
from takeback.run.errors import TakebackError


def components(
    model: Annotated[str, typer.Argument(help="A checkpoint.")],
    resolution: Resolution = "heads",
    as_json: Json = False,
) -> None:
    """List a model's components with their parameter counts."""
    from takeback.checkpoint import open_checkpoint

    anatomy = open_checkpoint(model).anatomy(resolution)
    rows = [{"component": str(c), "parameters": anatomy.parameters(c)} for c in anatomy.universe]
    if as_json:
        return print_json(rows)
    print_table(rows, f"{model}: {anatomy.family}, {anatomy.parameters(anatomy.universe):,} parameters")


def diff(
    checkpoints: Annotated[
        list[str],
        typer.Argument(
            help="BASE TUNED; BASE and several TUNED, to compare their changes; or the folder of a training "
            "run (runs/NAME/arms/ARM), to follow it over its snapshots.",
        ),
    ],
    measures: Annotated[
        list[str] | None,
        typer.Option("--with", help="Measure also: ulps, spectra, circuits, published, or all; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write Parquet tables and diff.html here.")
    ] = None,
    resolution: Resolution = "heads",
    tolerance: Annotated[
        list[float] | None, typer.Option(help="Count entries that moved by more than this; repeatable.")
    ] = None,
    untie: Untie = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random changes that are the nulls.")] = 0,
    count: Count = 1,
    engine: Engine = "local",
    address: Address = None,
    shard: ShardText = None,
    as_json: Json = False,
) -> None:
    """Measure how far every tensor, component and layer moved, between checkpoints or along a run."""
    from takeback.checkpoint import open_pair
    from takeback.run.parts import Shard
    from takeback.weights import MEASURES, PairSettings, compare, compare_runs, compare_shard, follow

    if out is not None and out.is_file():
        raise TakebackError(f"{out} is a file; name a folder to write the tables to")
    workers = workers_of(count, engine, address)
    wanted = tuple(MEASURES) if "all" in (measures or ()) else tuple(measures or ())
    if len(checkpoints) == 2:
        pair = open_pair(*checkpoints, untie=untie)
        settings = PairSettings(
            resolution, seed=seed, **({"tolerances": tuple(tolerance)} if tolerance else {})
        )
        if shard is not None:
            if out is None:
                raise TakebackError("a shard leaves its parts in a folder; name one (--out)")
            compare_shard(pair, wanted, settings, out, Shard.parse(shard), workers)
            return typer.echo(f"{out}: shard {shard} is done; the same command without --shard merges all")
        found = compare(pair, wanted, settings, out, workers)
    elif wanted or shard or tolerance or untie:
        raise TakebackError("--with, --shard, --tolerance and --untie are for a pair: name BASE and TUNED")
    elif len(checkpoints) == 1:
        found = follow(checkpoints[0], out, workers)
    else:
        found = compare_runs(checkpoints[0], checkpoints[1:], seed, out, workers)
    if out is not None:
        found.write(out)
    if as_json:
        typer.echo(found.to_json())
    else:
        found.print()


def hybrid(
    base: Base,
    tuned: TunedArg,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    take_back: TakeBack = None,
    graft: Graft = None,
    source: Source = "base",
    overwrite: Annotated[bool, typer.Option(help="Replace an existing folder.")] = False,
    resolution: Resolution = "heads",
    untie: Untie = False,
) -> None:
    """Write the model that has some components from base (or another source) and the others from tuned."""
    from takeback.checkpoint import open_pair
    from takeback.hybrid import hybrid as mix
    from takeback.hybrid import write_hybrid
    from takeback.hybrid.sources import source_of

    pair = open_pair(base, tuned, untie=untie)
    chosen = chosen_set(pair.anatomy(resolution), take_back, graft)
    given = source_of(source, pair)
    made = mix(pair, chosen, given)
    write_hybrid(made, out, overwrite=overwrite)
    if made.caveat:
        typer.echo(f"takeback: {made.caveat}", err=True)
    typer.echo(
        f"{out}: {len(chosen)} of {len(chosen.universe)} components from {given.ref}, the others from {tuned}"
    )


def align(
    base: Base,
    tuned: TunedArg,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
) -> None:
    """Write tuned in the coordinates nearest to base's, its function unchanged, so that the two mix."""
    from takeback.checkpoint import open_pair
    from takeback.gauge import aligned

    aligned(open_pair(base, tuned), out)
    typer.echo(f"{out}: {tuned} in the coordinates nearest to those of {base}")
