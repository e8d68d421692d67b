"""Arguments and options that several commands take, and how commands show plain rows."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

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


def print_json(value: Any) -> None:
    """Print a value as strict JSON."""
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


def print_table(rows: list[dict[str, Any]], title: str) -> None:
    """Print rows as a table under a title."""
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


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}"
    return "–" if value is None else str(value)
