"""Arguments and options that several commands take, and how commands show plain rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from takeback.run.errors import TakebackError, unknown_name

if TYPE_CHECKING:
    from takeback.anatomy import Anatomy
    from takeback.component import ComponentSet
    from takeback.draw.result import Result, Results
    from takeback.measure.question import Question
    from takeback.run.jobs import Workers

ENGINES = ("local", "ray")

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
Measures = Annotated[
    list[str] | None,
    typer.Option(
        "--measure",
        help="Such as 'utility win' or legal; repeatable. Default: the utility that changed most.",
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Also write tables and a page here; a killed run goes on.")
]
Count = Annotated[
    int, typer.Option("--workers", min=1, help="Processes or actors; more than one need --out.")
]
Engine = Annotated[str, typer.Option(help="What workers are: local processes, or actors on a cluster: ray.")]
Address = Annotated[
    str | None, typer.Option(help="With --engine ray: the cluster's address; by default one is started here.")
]
Threads = Annotated[
    int, typer.Option(min=1, help="CPU threads of each worker; results depend on them in last bits.")
]
ShardText = Annotated[
    str | None,
    typer.Option(
        "--shard", help="Do only part i of n (i/n) into --out; the same command without it merges them."
    ),
]
TakeBack = Annotated[str | None, typer.Option(help='Components to copy from base, such as "L3.H5 *.MLP".')]
Graft = Annotated[str | None, typer.Option(help="Components to copy from tuned into base.")]
Source = Annotated[
    str,
    typer.Option(
        help="What is taken back comes from here: base, zeros, noise:0, strength:0.5, checkpoint:REF, …"
    ),
]


def workers_of(count: int, engine: str, address: str | None) -> Workers:
    """Return what the options --workers, --engine and --address say.

    Raises:
        UnknownName: there is no such engine.
        TakebackError: an address is given for local processes.
    """
    from takeback.run.jobs import OnRay

    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    if engine == "ray":
        return OnRay(count, address)
    if address is not None:
        raise TakebackError("--address is for --engine ray; local processes have none")
    return count


def chosen_set(anatomy: Anatomy, take_back: str | None, graft: str | None) -> ComponentSet:
    """Return the set to take back that --take-back or --graft says.

    Raises:
        UnknownName: it names an unknown component.
        TakebackError: not one of the two is given.
    """
    if (take_back is None) == (graft is None):
        raise TakebackError('say --take-back SET or --graft SET; the set "*" is everything, "" nothing')
    return anatomy.parse(take_back) if take_back is not None else ~anatomy.parse(graft or "")


def print_json(value: Any) -> None:
    """Print a value as strict JSON."""
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


def print_table(rows: list[dict[str, Any]], title: str, width: int | None = None) -> None:
    """Print rows as a table under a title; `width` is that of a page where there is no terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for name, value in rows[0].items():
        table.add_column(name, justify="left" if isinstance(value, str) else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    console = Console()
    if width is not None and not console.is_terminal:
        console.width = width
    console.print(title, markup=False, highlight=False)
    console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}"
    return "–" if value is None else str(value)


def show(found: Result | Results, out: Path | None, as_json: bool) -> None:
    """Write results where a folder is named, and print them as tables or JSON."""
    if out is not None:
        found.write(out)
    if as_json:
        typer.echo(found.to_json())
    else:
        found.print()


def question_for(
    pair: tuple[str, str],
    measures: Sequence[str] | None,
    arena_name: str,
    drawn: tuple[int, int],
    untie: bool,
    threads: int,
) -> Question:
    """Open a pair and ask about it in an arena, as the options say."""
    from takeback.arenas import arena
    from takeback.checkpoint import open_pair
    from takeback.measure.question import question_of

    place = arena(arena_name)
    return question_of(open_pair(*pair, untie=untie), place, measures or (), *drawn, threads=threads)
