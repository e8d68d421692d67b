"""Shapley values for people: each player's value beside what it does alone, and a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from takeback.draw.bars import Bar, Bars, bar_plot
from takeback.draw.numbers import ABSENT, count, interval, number, percent
from takeback.draw.page import Figure, Section, Table
from takeback.draw.terminal import print_tables
from takeback.run.tables import records

if TYPE_CHECKING:
    from takeback.findings.localise.shapley import Shapley

TOP = 16
"""Players that a terminal shows: those of the largest values."""

_TITLE = "Shapley values"
_KINDS = ("Shapley value", "alone taken back", "alone grafted")
_NAMES = ("value", "necessity", "sufficiency")
_HEAD = ("player", "value", "95% interval", "by orders", "by situations", "necessity", "sufficiency", "even")
_NOTES = (
    "A player's Shapley value is the share of the change that it adds on average when the players come from "
    "tuned one after the other, in every order alike; the values sum to 100%. A value far above what the "
    "player loses alone when taken back means that others stand in for it.",
    "Intervals are for one value at a time. Those of the values hold for other situations and other orders, "
    "those of the rest for other situations. Grey: each player's share of the parameters, as if all carried "
    "alike.",
)


def as_section(found: Shapley) -> Section:
    """Draw the values beside the single effects."""
    figures = tuple(_figure(str(measure), rows) for measure, rows in _measures(found))
    tables = tuple(_table(rows) for _, rows in _measures(found))
    return Section(_TITLE, tuple(_sentences(found)), figures, tables, notes=_NOTES)


def print_shapley(found: Shapley) -> None:
    """Print the players, the largest value first."""
    tables = [_table(rows.head(TOP)) for _, rows in _measures(found)]
    narrow = [Table(_some(table.head), tuple(map(_some, table.rows)), table.words) for table in tables]
    print_tables(_TITLE, _sentences(found), narrow)


def _some(cells: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out the two errors that an interval is made of, for which a terminal has no room."""
    return cells[:3] + cells[5:]


def _measures(found: Shapley) -> Iterator[tuple[str, pd.DataFrame]]:
    ordered = found.table.sort_values("value", ascending=False, kind="stable")
    for measure in found.totals["measure"]:
        yield measure, ordered[ordered["measure"] == measure]


def _sentences(found: Shapley) -> Iterator[str]:
    players = count(len(found.players.sets), "player")
    read = "all coalitions" if found.orders is None else count(2 * found.orders.pairs, "order")
    for total, (measure, rows) in zip(records(found.totals), _measures(found), strict=True):
        best = records(rows)[0]
        yield (
            f"{measure}: {players} share out {number(total['total'])} "
            f"{interval(total['low'], total['high'])} by {read}, all else from {found.players.background}. "
            f"{best['player']} has {percent(best['value'])} of it, where taken back alone it loses "
            f"{percent(best['necessity'])} and grafted alone brings {percent(best['sufficiency'])}. All "
            f"singles lose {percent(float(rows['necessity'].sum()))} in sum and bring "
            f"{percent(float(rows['sufficiency'].sum()))}."
        )


def _figure(measure: str, rows: pd.DataFrame) -> Figure:
    bars = [
        Bars(row["player"], tuple(_bar(row, *kind) for kind in zip(_NAMES, _KINDS, strict=True)))
        for row in records(rows)
    ]
    title = f"What each player carries: {measure}"
    picture = bar_plot(bars, _KINDS, "share of the change", title)
    return Figure.of(title, picture, "Lines: 95% intervals. Grey: the player's share of the parameters.")


def _bar(row: dict[str, Any], name: str, kind: str) -> Bar:
    prefix = "" if name == "value" else f"{name}_"
    low, high = row[f"{prefix}low"], row[f"{prefix}high"]
    title = f"{row['player']}, {kind}: {percent(row[name])} {interval(low, high)}"
    return Bar(row[name], low, high, title, (row["even"],) if name == "value" else ())


def _table(rows: pd.DataFrame) -> Table:
    cells = tuple(
        (
            row["player"],
            percent(row["value"]),
            ABSENT if row["low"] is None else f"{percent(row['low'])} to {percent(row['high'])}",
            *(f"± {percent(row[name])}" for name in ("se_orders", "se_situations")),
            *(percent(row[name]) for name in ("necessity", "sufficiency", "even")),
        )
        for row in records(rows)
    )
    return Table(_HEAD, cells, ("player",))
