"""Commands on weights: what a checkpoint is made of, how two differ, and hybrids of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from takeback.cli.options import Base, Json, Resolution, TunedArg, Untie, print_json, print_table
from takeback.errors import TakebackError


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
    workers: Annotated[int, typer.Option(min=1, help="Local processes; more than one need --out.")] = 1,
    shard: Annotated[
        str | None,
        typer.Option(help="Do only part i of n (i/n) into --out; the same command without it merges them."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure how far every tensor, component and layer moved, between checkpoints or along a run."""
    from takeback.checkpoint import open_pair
    from takeback.diff import MEASURES, Settings, compare, compare_runs, compare_shard, follow
    from takeback.parts import Shard

    if out is not None and out.is_file():
        raise TakebackError(f"{out} is a file; name a folder to write the tables to")
    wanted = tuple(MEASURES) if "all" in (measures or ()) else tuple(measures or ())
    if len(checkpoints) == 2:
        pair = open_pair(*checkpoints, untie=untie)
        settings = Settings(resolution, seed=seed, **({"tolerances": tuple(tolerance)} if tolerance else {}))
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
    take_back: Annotated[
        str | None, typer.Option(help='Components to copy from base, such as "L3.H5 *.MLP".')
    ] = None,
    graft: Annotated[str | None, typer.Option(help="Components to copy from tuned into base.")] = None,
    rank: Annotated[
        int | None, typer.Option(min=1, help="Base with the K leading directions of each matrix's change.")
    ] = None,
    rescale: Annotated[
        bool, typer.Option(help="With --rank: stretch them to the norm of the whole change, as published.")
    ] = True,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing folder.")] = False,
    resolution: Resolution = "heads",
    untie: Untie = False,
) -> None:
    """Write the model that has some components from base and the others from tuned, or a rank-k model."""
    from takeback.checkpoint import open_pair
    from takeback.diff import rank_k
    from takeback.hybrid import hybrid as mix
    from takeback.hybrid import write_hybrid

    if sum(asked is not None for asked in (take_back, graft, rank)) != 1:
        raise TakebackError(
            'say one of --take-back SET, --graft SET and --rank K; the set "*" is everything, "" nothing'
        )
    pair = open_pair(base, tuned, untie=untie)
    anatomy = pair.anatomy(resolution)
    if rank is not None:
        chosen, source = anatomy.universe, rank_k(pair, rank, rescale=rescale)
        told = source.ref
    else:
        chosen = anatomy.parse(take_back) if take_back is not None else ~anatomy.parse(graft or "")
        source = pair.base
        told = f"{len(chosen)} of {len(anatomy.universe)} components from {base}, the others from {tuned}"
    made = mix(pair, chosen, source)
    write_hybrid(made, out, overwrite=overwrite)
    if made.caveat:
        typer.echo(f"takeback: {made.caveat}", err=True)
    typer.echo(f"{out}: {told}")
