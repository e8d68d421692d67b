"""The command line: thin wrappers around the public calls, one function a command."""

from __future__ import annotations

import io
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from takeback.errors import TakebackError
from takeback.progress import Display

app = typer.Typer(
    name="takeback",
    help="See what a fine-tune changed inside a model, and take it back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Base = Annotated[
    str, typer.Argument(help="Checkpoint before tuning: folder, org/name@revision, base+adapter, or file.")
]
TunedArg = Annotated[
    str, typer.Argument(metavar="TUNED", help="Checkpoint after tuning, in any of these forms.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Resolution = Annotated[str, typer.Option(help="heads, or neurons to split each MLP into its neurons.")]
Untie = Annotated[bool, typer.Option(help="Allow a pair in which only one side ties its embeddings.")]
ArenaName = Annotated[str, typer.Option("--arena", help="Where the policies act.")]
Situations = Annotated[int, typer.Option(min=2, help="Held-out situations to read.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random draw.")]


@app.command()
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
        return _print_json(rows)
    _print_table(rows, f"{model}: {anatomy.family}, {anatomy.parameters(anatomy.universe):,} parameters")


@app.command()
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


@app.command()
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


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as recipes/rl-win.yaml.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder; by default runs/ and the recipe's name.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Replace a field: --set seed=1 (repeatable).")
    ] = None,
) -> None:
    """Train one arm, or pretrain a base, as a recipe says; a killed run goes on where it stopped."""
    import yaml

    from takeback.training import load_recipe
    from takeback.training import train as run

    changes: dict[str, Any] = {}
    for text in change or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise TakebackError(f"--set takes field=value, not {text!r}")
        try:
            changes[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise TakebackError(f"--set {name}: {value!r} is no YAML value") from None
    final = run(load_recipe(recipe, **changes), out or Path("runs") / recipe.stem)
    typer.echo(f"{final}: the final model")


@app.command()
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
    from takeback.study import Bench
    from takeback.tables import records

    bench = Bench.prepare(arena_name, model, situations, seed)
    table = bench.compare(against, model) if against else bench.measure(model)
    rows = records(table)
    results = _counts(bench.games(model, games, moves, seed)["result"]) if games else {}
    if as_json:
        return _print_json({"measures": rows, "games": results})
    shown = ("measure", "value", "effect", "low", "high", "n")
    rows = [{name: row[name] for name in shown if name in row} for row in rows]
    versus = f" against {against}" if against else ""
    _print_table(rows, f"{model}{versus}: {situations} held-out situations of {arena_name}, seed {seed}")
    if results:
        typer.echo(
            "games against the best defender: " + ", ".join(f"{n} {name}" for name, n in results.items())
        )


@app.command()
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
    workers: Annotated[int, typer.Option(min=1, help="Processes; each holds both models.")] = 1,
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads of each process; results depend on them in last bits.")
    ] = 1,
    shard: Annotated[
        str | None, typer.Option(help="Do share i of n alone (1/8); without it the parts are merged.")
    ] = None,
) -> None:
    """Take back and graft many sets and measure what that does; resumes after a kill."""
    from takeback.arenas import arena
    from takeback.checkpoint import open_pair
    from takeback.diff import diff as measure
    from takeback.parts import Shard
    from takeback.sweep import FAMILIES, Sweep, squared_norms, sweep_shard
    from takeback.sweep import sweep as run

    share = None if shard is None else Shard.parse(shard)
    pair, place = open_pair(base, tuned, untie=untie), arena(arena_name)
    chosen = place.situations("held-out", situations, seed)
    norms, requests = squared_norms(measure(pair)), tuple(sets or FAMILIES)
    what = Sweep(pair, place, chosen, norms, requests, controls, seed, threads)
    with Display(["sweep"]) as display:
        told = partial(display.show, "sweep", "taking back")
        if share is not None:
            sweep_shard(what, out, share, report=told, workers=workers)
            typer.echo(f"{out}: shard {shard} is done; run without --shard when all are")
            return
        run(what, out, report=told, workers=workers)
    typer.echo(f"{out}: effects of {len(what.sets)} sets, taken back and grafted; readouts beside it")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder.")] = Path("runs/demo"),
    plan: Annotated[str, typer.Option(help="A plan: the name of one that ships, or a YAML file.")] = "demo",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; by default one a core, four at most.")
    ] = None,
) -> None:
    """Train three arms of a small chess model, take each apart and draw the report; resumes after a kill."""
    from takeback.study import load_plan, run_plan

    report = run_plan(load_plan(plan), out, workers or min(4, os.cpu_count() or 1))
    typer.echo(f"report: {report}")


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run folder, such as runs/demo.")]) -> None:
    """Draw the report of a run again from its record."""
    from takeback.report import write_report

    typer.echo(f"report: {write_report(run)}")


def main() -> None:
    """Run the command line; a user's mistake ends with one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # ‖Δ‖ on a console of another code page
    try:
        app()
    except TakebackError as error:
        typer.echo(f"takeback: {error}", err=True)
        sys.exit(2)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


def _print_table(rows: list[dict[str, Any]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for name, value in rows[0].items():
        table.add_column(name, justify="left" if isinstance(value, str) else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    console = Console()
    console.print(title, markup=False, highlight=False)
    console.print(table)


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}"
    return "–" if value is None else str(value)
