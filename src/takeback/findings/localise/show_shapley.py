"""Shapley values for people: each player's value beside what it does alone, and a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from takeback.draw.bars import Bar, Bars, bar_plot
from takeback.draw.columns import Column, ends_of, table_of
from takeback.draw.numbers import count, interval, number, percent, span
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.findings.localise.shapley import Shapley
from takeback.run.tables import records

TOP = 16
"""Players that a terminal shows: those of the largest values."""

_KINDS = ("Shapley value", "alone taken back", "alone grafted")
_NAMES = ("value", "necessity", "sufficiency")
_ON_TERMINAL = ("player", "value", "95% interval", "necessity", "sufficiency", "even")
"""The columns that a terminal has room for: without the two errors that an interval is made of."""

_NOTES = (
    "A player's Shapley value is the share of the change that it adds on average when the players come from "
    "tuned one after the other, in every order alike; the values sum to 100%. A value far above what the "
    "player loses alone when taken back means that others stand in for it.",
    "Intervals are for one value at a time. Those of the values hold for other situations and other orders, "
    "those of the rest for other situations. Grey: each player's share of the parameters, as if all carried "
    "alike.",
)


@section_of.register
def _(found: Shapley) -> Section:
    """Draw the values beside the single effects."""
    figures = tuple(_figure(str(measure), rows) for measure, rows in _measures(found))
    words = tuple(_sentences(found))
    return Section(
        "Shapley values",
        words,
        figures,
        tuple(_table(rows) for _, rows in _measures(found)),
        notes=_NOTES,
        terminal=(*words, *(_table(rows[:TOP]).only(*_ON_TERMINAL) for _, rows in _measures(found))),
    )


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
    title = f"{row['player']}, {kind}: {percent(row[name])} {interval(*ends_of(row, name))}"
    return Bar(row[name], *ends_of(row, name), title, (row["even"],) if name == "value" else ())


def _table(rows: pd.DataFrame) -> Table:
    return table_of(
        rows,
        Column("player"),
        Column("value", percent),
        Column("95% interval", span, "low", "high"),
        Column("by orders", _error, "se_orders"),
        Column("by situations", _error, "se_situations"),
        Column("necessity", percent),
        Column("sufficiency", percent),
        Column("even", percent),
    )


def _error(value: float | None) -> str:
    return f"± {percent(value)}"
