"""Necessity and sufficiency for people: maps of single components, and sets beside their random controls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from takeback.component import Component
from takeback.draw.forest import Dot, Row, forest
from takeback.draw.heatmap import Cell, Ends, heat_map, limit_of
from takeback.draw.numbers import ABSENT, interval, number, percent, short
from takeback.draw.page import Figure, Section, Table
from takeback.draw.terminal import print_tables
from takeback.findings.localise.shares import GRAFT, TAKE_BACK, carried
from takeback.findings.sweep.sets import CONTROLS
from takeback.run.tables import records

if TYPE_CHECKING:
    from takeback.findings.localise.shares import Shares

TOP = 12
"""Sets that are listed for each measure and direction: those that carry most."""

_NAMES = {TAKE_BACK: "necessity", GRAFT: "sufficiency"}
_MAPS = {TAKE_BACK: "what is lost without each component", GRAFT: "what appears with each component alone"}
_AXES = {TAKE_BACK: "share of the change that remains without it", GRAFT: "share that appears with it alone"}
_TITLE = "Necessity and sufficiency"
_SHOWN = {TAKE_BACK: "remains", GRAFT: "appears"}
_HEAD = ("components", "of ‖Δ‖²", "controls", "p")
_NOTES = (
    "A share is the part of the difference between tuned and base that a hybrid shows: what remains when the "
    "set is taken back, what appears when it is grafted onto base. Intervals are for one set at a time.",
    "Controls are random sets with as many components of each kind, hence of equal parameter count, some of "
    "them matched in ‖Δ‖; for single components they are the others of the kind. p is the rank of the set "
    "among its controls, not corrected for the number of sets.",
)


def as_section(found: Shares) -> Section:
    """Draw the maps and the sets beside their controls, list those that carry most, and fold the rest."""
    real = found.table[~found.table["family"].isin(CONTROLS)]
    controls = found.table[found.table["family"].isin(CONTROLS)]
    return Section(
        title=_TITLE,
        words=tuple(_sentences(found)),
        figures=(*_maps(real), *_forests(found.table)),
        tables=tuple(_tables(real, TOP)),
        folded=(
            *((f"All sets: {table.head[0]}", table) for table in _tables(real)),
            *((f"Random sets: {table.head[0]}", table) for table in _tables(controls)),
        ),
        notes=_NOTES,
    )


def print_shares(found: Shares) -> None:
    """Print what changed, and the sets that carry most."""
    real = found.table[~found.table["family"].isin(CONTROLS)]
    print_tables(_TITLE, _sentences(found), list(_tables(real, TOP)))


def _sentences(found: Shares) -> Iterator[str]:
    singles = found.table[(found.table["n_components"] == 1) & ~found.table["family"].isin(CONTROLS)]
    for row in records(found.changes):
        words = [f"{row['measure']} changed by {number(row['change'])} {interval(row['low'], row['high'])}"]
        for direction, name in _NAMES.items():
            chosen = singles[(singles["measure"] == row["measure"]) & (singles["direction"] == direction)]
            if len(chosen):
                best = records(chosen.sort_values("carried", ascending=False))[0]
                words.append(
                    f"by {name} {best['components']} carries most of all single components, "
                    f"{percent(best['carried'])}"
                )
        yield "; ".join(words) + "."


def _maps(real: pd.DataFrame) -> Iterator[Figure]:
    singles = real[real["n_components"] == 1].drop_duplicates(["measure", "direction", "components"])
    for (measure, direction), rows in singles.groupby(["measure", "direction"], sort=False):
        cells = {
            Component.parse(row["components"]): Cell(row["carried"], _told(row), short(row["carried"], 2))
            for row in records(rows)
        }
        most = limit_of(cell.value for cell in cells.values())
        title = f"{measure}, {_NAMES[str(direction)]}: {_MAPS[str(direction)]}"
        ends = Ends(most, percent(most), percent(-most))
        yield Figure.of(title, heat_map(cells, ends, "diverging", title), "Shares of the whole change.")


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """Write a share with its interval.

    >>> with_interval(0.5, 0.42, 0.581), with_interval(1.0, 1.0, 1.0), with_interval(0.5, None, None)
    ('50% [42%, 58%]', '100%', '50%')
    """
    if low is None or high is None or low == high:
        return percent(value)
    return f"{percent(value)} [{percent(low)}, {percent(high)}]"


def _told(row: dict[str, Any]) -> str:
    """Write a tooltip: the share that the hybrid shows, with its interval."""
    return f"{row['set']}: {with_interval(row['share'], row['low'], row['high'])} {_SHOWN[row['direction']]}"


def _forests(table: pd.DataFrame) -> Iterator[Figure]:
    """Draw the sets of several components, each with its interval, beside its controls."""
    for (measure, direction), rows in table.groupby(["measure", "direction"], sort=False):
        real = rows[~rows["family"].isin(CONTROLS) & (rows["n_components"] > 1)]
        if len(real):
            title = f"{measure}, {_NAMES[str(direction)]}: sets"
            drawn = forest(list(_rows(real, rows)), 0, _AXES[str(direction)], None, title)
            yield Figure.of(title, drawn, "Grey: random sets that match.")


def _rows(real: pd.DataFrame, every: pd.DataFrame) -> Iterator[Row]:
    for family, rows in real.groupby("family", sort=False):
        yield Row(str(family))
        for row in records(rows):
            matched = [row["set"] in matches.split("; ") for matches in every["matches"]]
            dot = Dot(row["share"], row["low"], row["high"], _told(row))
            yield Row(row["set"], (dot,), tuple(every.loc[matched, "share"].tolist()), f"p = {row['p']}")


def _tables(rows: pd.DataFrame, most: int | None = None) -> Iterator[Table]:
    """Write a table for each measure and direction, the sets that carry most first."""
    for (measure, direction), lane in rows.groupby(["measure", "direction"], sort=False):
        head = f"{measure}, {direction}"
        best = records(lane.sort_values("carried", ascending=False, kind="stable"))[:most]
        yield Table((head, _SHOWN[str(direction)], *_HEAD), tuple(map(_row, best)), (head,))


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["set"],
        with_interval(row["share"], row["low"], row["high"]),
        str(row["n_components"]),
        percent(row["delta_share"]),
        _of_controls(row),
        number(row["p"], 3),
    )


def _of_controls(row: dict[str, Any]) -> str:
    """Write what the controls show on average."""
    if row["controls_carried"] is None:
        return ABSENT
    return percent(carried(row["controls_carried"], row["direction"]))
