"""Commands on weights: what a checkpoint is made of, how two differ, and hybrids of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from takeback.cli.options import (
    Base,
    Folder,
    Graft,
    Json,
    Model,
    OutOptions,
    Resolution,
    RunOptions,
    Seed,
    ShardText,
    Source,
    TakeBack,
    Tuned,
    Untie,
    argument,
    chosen_set,
    option,
)
from takeback.cli.plain import print_done, print_json, print_seconds, print_table
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from takeback.checkpoint import Pair
    from takeback.hybrid import Hybrid
    from takeback.run.jobs import Workers
    from takeback.weights import PairSettings


def components(model: Model, resolution: Resolution = "heads", as_json: Json = False) -> None:
    """List a model's components with their parameter counts."""
    from takeback.checkpoint import open_checkpoint

    anatomy = open_checkpoint(model).anatomy(resolution)
    rows = [{"component": str(c), "parameters": anatomy.parameters(c)} for c in anatomy.universe]
    if as_json:
        return print_json(rows)
    print_table(rows, f"{model}: {anatomy.family}, {anatomy.parameters(anatomy.universe):,} parameters")
    if anatomy.note:
        typer.echo(f"takeback: {anatomy.note}", err=True)


def diff(
    checkpoints: Annotated[
        list[str],
        argument(
            "CHECKPOINTS",
            "BASE TUNED; BASE and several TUNED, to compare their changes; or the folder of a training "
            "run (runs/NAME/arms/ARM, one with a Trainer's checkpoint-N, or a packed one), to follow it over "
            "its steps.",
        ),
    ],
    work: RunOptions,
    output: OutOptions,
    measures: Annotated[
        list[str] | None,
        option("--with", "MEASURE", "Measure also: ulps, spectra, circuits, published, or all; repeatable."),
    ] = None,
    resolution: Resolution = "heads",
    tolerance: Annotated[
        list[float] | None,
        option("--tolerance", "SIZE", "Count entries that moved by more than this; repeatable."),
    ] = None,
    untie: Untie = False,
    started: Annotated[
        str | None,
        option("--base", "BASE", "With a run's folder: what it started from, where the run does not say it."),
    ] = None,
    seed: Seed = 0,
    shard: ShardText = None,
    device: Annotated[
        str,
        option(
            "--device",
            "NAME",
            "Where matrices are decomposed, with spectra, published or all: auto, cpu, cuda, cuda:1.",
        ),
    ] = "cpu",
) -> None:
    """Measure how far every tensor, component and layer moved, between checkpoints or along a run."""
    from takeback.checkpoint import open_pair
    from takeback.checkpoint.placement import decomposing_device
    from takeback.weights import MEASURES, PairSettings, compare_runs, follow

    out, workers = output.out, work.workers()
    if out is not None and out.is_file():
        raise TakebackError(f"{out} is a file; name a folder to write the tables to")
    if started is not None and len(checkpoints) > 1:
        raise TakebackError("--base is for the folder of a run alone; a pair is BASE TUNED")
    wanted = tuple(MEASURES) if "all" in (measures or ()) else tuple(measures or ())
    if len(checkpoints) == 2:
        pair = open_pair(*checkpoints, untie=untie)
        counted = {"tolerances": tuple(tolerance)} if tolerance else {}
        settings = PairSettings(resolution, seed=seed, device=decomposing_device(device), **counted)
        _diff_pair(pair, wanted, settings, shard, output, workers)
    elif wanted or shard or tolerance or untie or device != "cpu":
        raise TakebackError(
            "--with, --shard, --tolerance, --untie and --device are for a pair: name BASE and TUNED"
        )
    elif len(checkpoints) == 1:
        output.show(follow(checkpoints[0], started, out, workers))
    else:
        output.show(compare_runs(checkpoints[0], checkpoints[1:], seed, out, workers))


def _diff_pair(
    pair: Pair,
    wanted: Sequence[str],
    settings: PairSettings,
    shard: str | None,
    output: OutOptions,
    workers: Workers,
) -> None:
    """Compare two checkpoints, or do one shard of that."""
    from takeback.run.parts import Shard
    from takeback.weights import compare, compare_shard, expected

    out, part = output.out, None if shard is None else Shard.parse(shard)
    if not output.as_json and (part is None or out is not None):
        print_seconds(expected(pair, wanted, settings, out, workers, part))
    if part is None:
        return output.show(compare(pair, wanted, settings, out, workers))
    if out is None:
        raise TakebackError("a shard leaves its parts in a folder; name one (--out)")
    compare_shard(pair, wanted, settings, out, part, workers)
    line = f"{out}: shard {shard} is done; the same command without --shard merges all"
    print_done({"out": str(out), "shard": shard}, line, output.as_json)


def hybrid(
    base: Base,
    tuned: Tuned,
    out: Folder,
    take_back: TakeBack = None,
    graft: Graft = None,
    source: Source = "base",
    overwrite: Annotated[bool, option("--overwrite", None, "Replace an existing folder.")] = False,
    resolution: Resolution = "heads",
    untie: Untie = False,
    as_patch: Annotated[
        str | None,
        option(
            "--as-patch",
            "SIDE",
            "Write one file with what turns this side into the hybrid, for a serving engine: tuned or base.",
        ),
    ] = None,
    as_json: Json = False,
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
    if as_patch is not None:
        return _write_patch(made, out, as_patch, overwrite, as_json)
    write_hybrid(made, out, overwrite=overwrite)
    if as_json:
        parts = {"components": [str(one) for one in chosen], "of": len(chosen.universe)}
        return print_json({"out": str(out), **parts, "from": given.ref, "tuned": tuned, "note": made.caveat})
    if made.caveat:
        typer.echo(f"takeback: {made.caveat}", err=True)
    typer.echo(
        f"{out}: {len(chosen)} of {len(chosen.universe)} components from {given.ref}, the others from {tuned}"
    )


def _write_patch(made: Hybrid, out: Path, side: str, overwrite: bool, as_json: bool) -> None:
    from takeback.hybrid.patch import write_patch

    written = write_patch(made, out, side, overwrite=overwrite)
    if as_json:
        return print_json({**asdict(written), "file": str(written.file), "of": side, "note": made.caveat})
    if made.caveat:
        typer.echo(f"takeback: {made.caveat}", err=True)
    typer.echo(str(written))


def align(base: Base, tuned: Tuned, out: Folder, as_json: Json = False) -> None:
    """Write tuned in the coordinates nearest to base's, its function unchanged, so that the two mix."""
    from takeback.checkpoint import open_pair
    from takeback.gauge import aligned

    aligned(open_pair(base, tuned), out)
    line = f"{out}: {tuned} in the coordinates nearest to those of {base}"
    print_done({"out": str(out), "base": base, "tuned": tuned}, line, as_json)
