"""Sections on the terminal: a heading, sentences, tables and pictures made of letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from takeback.draw.page import Section, Table

_PLAIN = str.maketrans({"•": "-", "·": ".", **dict(zip("♔♕♖♗♘♙♚♛♜♝♞♟", "KQRBNPkqrbnp", strict=True))})
"""What stands for the marks that a terminal without Unicode lacks."""


def print_section(section: Section) -> None:
    """Print what a section shows on the terminal, under its heading.

    Sentences are wrapped; a text of several lines is a picture and stays as it is.

    >>> shares = Table(("set", "share"), (("L0.H1", "5%"),), ("set",))
    >>> print_section(Section("Shares", ("Of one set.",), tables=(shares,)))
    Shares
    Of one set.
    set    share
    L0.H1     5%
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as Grid

    console = Console()
    plain = {} if console.encoding.lower().startswith("utf") else _PLAIN

    def grid(table: Table) -> Grid:
        drawn = Grid(box=None, header_style="bold", pad_edge=False)
        for name in table.head:
            drawn.add_column(escape(name), justify="left" if name in table.words else "right")
        for row in table.rows:
            drawn.add_row(*map(escape, row))
        return drawn

    console.print(f"[bold]{escape(section.title)}[/bold]")
    for block in section.on_terminal:
        if isinstance(block, Table):
            console.print(grid(block))
        elif "\n" in block:
            for line in block.translate(plain).splitlines():
                console.print(line, markup=False, highlight=False, no_wrap=True)
        else:
            console.print(escape(block.translate(plain)))


def print_tables(title: str, words: Iterable[str], tables: Sequence[Table]) -> None:
    """Print tables under a heading; it goes once every result is a section printed."""
    print_section(Section(title, tuple(words), tables=tuple(tables)))
