"""Columns of drawn tables, declared: a heading, how a cell is written, and which values of a row it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from takeback.draw.numbers import interval, number
from takeback.draw.page import Table
from takeback.run.tables import records

Row = Mapping[str, Any]


class Column:
    """Says how a column of a drawn table is written.

    `write` gets the values of a row that `names` names, by default the one called as the heading, and the
    `options`. Without `write` the column holds words: the value as it is. Words stand on the left, numbers
    on the right, unless `words` says otherwise.

    >>> from takeback.draw.numbers import number, share
    >>> carries = Column("carries", share, "carried", "low", "high")
    >>> p = Column("p", number, digits=2)
    >>> row = {"set": "L0.*", "carried": 0.5, "low": 0.42, "high": 0.58, "p": 0.05}
    >>> table = table_of([row], Column("set"), carries, p)
    >>> table.head, table.rows, table.words
    (('set', 'carries', 'p'), (('L0.*', '50% [42%, 58%]', '0.05'),), ('set',))
    """

    def __init__(
        self,
        head: str,
        write: Callable[..., str] | None = None,
        /,
        *names: str,
        words: bool | None = None,
        **options: Any,
    ) -> None:
        self.head = head
        self.words = write is None if words is None else words
        self._write = write or str
        self._names = names or (head,)
        self._options = options

    def cell(self, row: Row) -> str:
        """Write the cell of a row."""
        return self._write(*(row[name] for name in self._names), **self._options)


def ends_of(row: Row, name: str) -> tuple[float | None, float | None]:
    """Return the interval of a row's value: its columns NAME_low and NAME_high, or else low and high.

    >>> ends_of({"gain": 0.5, "gain_low": 0.25, "gain_high": 0.75, "low": 0.0, "high": 1.0}, "gain")
    (0.25, 0.75)
    """
    before = f"{name}_" if f"{name}_low" in row else ""
    return row[f"{before}low"], row[f"{before}high"]


def with_ends(row: Row, name: str, write: Callable[..., str] = number, digits: int = 3) -> str:
    """Write a row's value with its interval.

    >>> with_ends({"gain": 0.5, "low": 0.0, "high": None}, "gain", digits=1)
    '0.5 [interval unknown]'
    """
    return f"{write(row[name], digits)} {interval(*ends_of(row, name), digits)}"


def table_of(rows: pd.DataFrame | Iterable[Row], *columns: Column) -> Table:
    """Draw rows, those of a frame with None where a value is missing, as a table of these columns."""
    given = records(rows) if isinstance(rows, pd.DataFrame) else rows
    cells = tuple(tuple(column.cell(row) for column in columns) for row in given)
    words = tuple(column.head for column in columns if column.words)
    return Table(tuple(column.head for column in columns), cells, words)
