"""How commands print plain rows and values."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from takeback.component import ComponentSet
    from takeback.measure.bench import Bench
    from takeback.measure.read import Ask


_LEAST = 8
"""Characters of a text that a table shows at least."""

TOLD = 2.0
"""Seconds of work on weights whose time is told before."""


def print_json(value: Any) -> None:
    """Print a value as strict JSON."""
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


def print_done(value: Mapping[str, Any], line: str, as_json: bool) -> None:
    """Say what was done: as JSON, or in a line."""
    if as_json:
        print_json(value)
    else:
        typer.echo(line)


@contextmanager
def apart(as_json: bool) -> Generator[None]:
    """With JSON, let what libraries print on standard output go to standard error, that of workers too."""
    if not as_json:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def print_table(rows: list[dict[str, Any]], title: str, width: int | None = None) -> None:
    """Print rows as a table under a title; `width` is that of a page where there is no terminal.

    Where there is no room it is texts that are cut, not numbers.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if width is not None and not console.is_terminal:
        console.width = width
    cells = [[_cell(value) for value in row.values()] for row in rows]
    texts = [any(isinstance(row[name], str) for row in rows) for name in rows[0]]
    wide = [max(map(cell_len, column)) for column in zip(rows[0], *cells, strict=True)]
    table = Table(box=None, header_style="bold")
    for name, text, most in zip(rows[0], texts, _fitting(wide, texts, console.width), strict=True):
        table.add_column(name, justify="left" if text else "right", no_wrap=True, width=most)
    for row in cells:
        table.add_row(*row)
    console.print(title, markup=False, highlight=False)
    console.print(table)


def _fitting(wide: Sequence[int], texts: Sequence[bool], room: int) -> list[int]:
    """Return the width of each column: where there is no room the widest texts are cut, not numbers.

    >>> _fitting([60, 7, 20], [True, False, True], 60)
    [27, 7, 20]
    """
    found = list(wide)
    while sum(found) + 2 * len(found) > room:
        widest = max((place for place, text in enumerate(texts) if text), key=found.__getitem__, default=None)
        if widest is None or found[widest] <= _LEAST:
            break
        found[widest] -= 1
    return found


def print_words(pairs: Sequence[tuple[str, str]], title: str) -> None:
    """Print names and what is said of each, beside each other and wrapped."""
    if not pairs:
        return
    wide = max(len(name) for name, _ in pairs)
    room = max(40, shutil.get_terminal_size((100, 24)).columns - wide - 4)
    typer.echo(title)
    for name, words in pairs:
        lines = textwrap.wrap(words, room) or [""]
        typer.echo(f"  {name:<{wide}}  " + f"\n{'':{wide + 4}}".join(lines))


def print_cost(bench: Bench, asks: Iterable[Ask | ComponentSet], quiet: bool, *, least: bool = False) -> None:
    """Tell on standard error, before long work begins, how many hybrids it reads and about how long.

    The time is that of base and tuned, which are read first; hybrids that share most of their path with
    others take less. What was read before is not counted.

    Args:
        bench: what will be asked.
        asks: hybrids that will be read.
        quiet: whether to say nothing.
        least: whether more will be read, depending on what these give.
    """
    from takeback.measure.read import Ask

    every = list(asks)
    if quiet or not (number := bench.unread(every)):
        return
    kept = len({Ask.of(ask).key for ask in every}) - number
    told = f"{'at least ' if least else ''}{number:,} hybrids to read in {len(bench.situations):,} situations"
    told += f" ({kept:,} were read before)" if kept else ""
    each = bench.seconds_each if len(bench.ends) else None
    about = "" if each is None else f", about {span(number * each)}"
    typer.echo(f"takeback: {told}{about}", err=True)


def print_seconds(expected: Mapping[str, float]) -> None:
    """Tell on standard error, before long work begins, about how long it takes, and what of it takes most."""
    total = sum(expected.values())
    if total < TOLD:
        return
    parts = ", ".join(f"{name} {span(seconds)}" for name, seconds in expected.items() if seconds >= 0.5)
    typer.echo(f"takeback: about {span(total)}{f' ({parts})' if len(expected) > 1 else ''}", err=True)


def print_floor(bench: Bench, quiet: bool) -> None:
    """Tell on standard error how large an effect is that rounding alone makes, in bf16 and fp16."""
    if not quiet and bench.floor is not None:
        told = ", ".join(f"{name} {bench.floor[name]:.2g}" for name in bench.measures if name in bench.floor)
        typer.echo(f"takeback: noise floor in {bench.placement.dtype}: {told}; less is rounding", err=True)


def span(seconds: float) -> str:
    """Write a time.

    >>> span(3.4), span(250), span(9000)
    ('3 s', '4 min', '2 h 30 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:z.4f}"
    return "–" if value is None else str(value)
