"""Findings on the terminal: a heading, sentences and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from takeback.draw.page import Table


def print_tables(title: str, words: Iterable[str], tables: Sequence[Table]) -> None:
    """Print a page's tables as text, under their heading and sentences.

    >>> print_tables("Shares", ["Of one set."], [Table(("set", "share"), (("L0.H1", "5%"),), ("set",))])
    Shares
    Of one set.
    set    share
    L0.H1     5%
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as Grid

    console = Console()
    console.print(f"[bold]{escape(title)}[/bold]")
    for sentence in words:
        console.print(escape(sentence))
    for table in tables:
        grid = Grid(box=None, header_style="bold", pad_edge=False)
        for name in table.head:
            grid.add_column(escape(name), justify="left" if name in table.words else "right")
        for row in table.rows:
            grid.add_row(*map(escape, row))
        console.print(grid)
