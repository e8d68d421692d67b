"""Sections on the terminal: a heading, sentences, tables and pictures made of letters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from takeback.draw.colour import hexes
from takeback.draw.page import Section, Table, Tinted

if TYPE_CHECKING:
    from rich.table import Table as Grid
    from rich.text import Text

_PIECES = dict(zip("♔♕♖♗♘♙♚♛♜♝♞♟", "KQRBNPkqrbnp", strict=True))
_PLAIN = str.maketrans({"•": "-", "·": ".", "→": "->", "−": "-", "–": "-", **_PIECES})
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

    console = Console()
    unicode = console.encoding.lower().startswith("utf")

    def shown(text: str) -> str:
        """Return what this terminal can show of a text."""
        if unicode:
            return text
        return text.translate(_PLAIN).encode(console.encoding, "replace").decode(console.encoding)

    console.print(f"[bold]{escape(shown(section.title))}[/bold]")
    for block in section.on_terminal:
        if isinstance(block, Table):
            console.print(_grid(block, shown))
        elif isinstance(block, Tinted):
            console.print(_tinted(block, shown))
        elif "\n" in block:
            for line in shown(block).splitlines():
                console.print(line, markup=False, highlight=False, no_wrap=True)
        else:
            console.print(escape(shown(block)))


def _grid(table: Table, shown: Callable[[str], str]) -> Grid:
    from rich.markup import escape
    from rich.table import Table as Grid

    drawn = Grid(box=None, header_style="bold", pad_edge=False)
    for name in table.head:
        drawn.add_column(escape(shown(name)), justify="left" if name in table.words else "right")
    for row in table.rows:
        drawn.add_row(*(escape(shown(cell)) for cell in row))
    return drawn


def _tinted(line: Tinted, shown: Callable[[str], str]) -> Text:
    from rich.text import Text

    drawn = Text(shown(line.lead))
    for piece, step in line.pieces:
        fill, ink = hexes("diverging", step)
        drawn.append(shown(piece), f"{ink} on {fill}" if step else "")
    return drawn
