"""How commands print plain rows and values."""

from __future__ import annotations

import json
from typing import Any

import typer


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


def print_cost(hybrids: int, situations: int, quiet: bool) -> None:
    """Tell on standard error, before long work begins, how many hybrids it reads."""
    if not quiet:
        typer.echo(
            f"takeback: at least {hybrids:,} hybrids to read, in {situations:,} situations each", err=True
        )


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}"
    return "–" if value is None else str(value)
