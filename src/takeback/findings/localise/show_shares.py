"""Necessity and sufficiency for people: maps of single components, and sets beside their random controls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from takeback.component import Component
from takeback.draw.columns import Column, table_of
from takeback.draw.forest import Dot, ForestRow, forest
from takeback.draw.heatmap import Cell, Ends, heat_map, limit_of
from takeback.draw.numbers import ABSENT, interval, number, percent, share, short
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.findings.localise.measured import matching
from takeback.findings.localise.shares import GRAFT, TAKE_BACK, Shares, carried
from takeback.findings.sweep.sets import CONTROLS
from takeback.run.tables import records

TOP = 12
"""Sets that are listed for each measure and direction: those that carry most."""

_NAMES = {TAKE_BACK: "necessity", GRAFT: "sufficiency"}
_MAPS = {TAKE_BACK: "what is lost without each component", GRAFT: "what appears with each component alone"}
_AXES = {TAKE_BACK: "share of the change that remains without it", GRAFT: "share that appears with it alone"}
_SHOWN = {TAKE_BACK: "remains", GRAFT: "appears"}
_NOTES = (
    "A share is the part of the difference between tuned and base that a hybrid shows: what remains when the "
    "set is taken back, what appears when it is grafted onto base. Intervals are for one set at a time.",
    "Controls are random sets with as many components of each kind, hence of equal parameter count, some of "
    "them matched in ‖Δ‖; for single components they are the others of the kind. p is the rank of the set "
    "among its controls, not corrected for the number of sets: beside k controls it is never below 1 / (k + "
    "1).",
    "The change is that in the situations of this table; where a run localises, these are some of its "
    "situations, so that gain and p differ from those of the sweep, which reads all and draws more controls.",
)


@section_of.register
def _(found: Shares) -> Section:
    """Draw the maps and the sets beside their controls, list those that carry most, and fold the rest."""
    random = found.table["family"].isin(CONTROLS)
    real, controls = found.table[~random], found.table[random]
    return Section(
        title="Necessity and sufficiency",
        words=tuple(_sentences(found.changes, real)),
        figures=(*_maps(real), *_forests(found.table)),
        tables=tuple(_tables(real, TOP)),
        folded=(
            *((f"All sets: {table.head[0]}", table) for table in _tables(real)),
            *((f"Random sets: {table.head[0]}", table) for table in _tables(controls, which=True)),
        ),
        notes=_NOTES,
    )


def _sentences(changes: pd.DataFrame, real: pd.DataFrame) -> Iterator[str]:
    singles = real[real["n_components"] == 1]
    for row in records(changes):
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


def _told(row: dict[str, Any]) -> str:
    """Write a tooltip: the share that the hybrid shows, with its interval."""
    return f"{row['set']}: {share(row['share'], row['low'], row['high'])} {_SHOWN[row['direction']]}"


def _forests(table: pd.DataFrame) -> Iterator[Figure]:
    """Draw the sets of several components, each with its interval, beside its controls."""
    for (measure, direction), rows in table.groupby(["measure", "direction"], sort=False):
        real = rows[~rows["family"].isin(CONTROLS) & (rows["n_components"] > 1)]
        if len(real):
            title = f"{measure}, {_NAMES[str(direction)]}: sets"
            drawn = forest(list(_rows(real, rows)), 0, _AXES[str(direction)], None, title)
            yield Figure.of(title, drawn, "Grey: random sets that match.")


def _rows(real: pd.DataFrame, every: pd.DataFrame) -> Iterator[ForestRow]:
    for family, rows in real.groupby("family", sort=False):
        yield ForestRow(str(family))
        for row in records(rows):
            dot = Dot(row["share"], row["low"], row["high"], _told(row))
            controls = matching(every, row["set"])["share"].tolist()
            yield ForestRow(row["set"], (dot,), tuple(controls), f"p = {row['p']}")


def _tables(rows: pd.DataFrame, most: int | None = None, which: bool = False) -> Iterator[Table]:
    """Write a table for each measure and direction, the sets that carry most first, or also what they are."""
    for (measure, direction), lane in rows.groupby(["measure", "direction"], sort=False):
        best = lane.sort_values("carried", ascending=False, kind="stable")[:most]
        yield table_of(
            best,
            Column(f"{measure}, {direction}", None, "set"),
            Column(_SHOWN[str(direction)], share, "share", "low", "high"),
            Column("components", str, "n_components"),
            Column("of ‖Δ‖²", percent, "delta_share"),
            Column("controls", _of_controls, "controls_carried", "direction"),
            Column("p", number),
            *([Column("which", None, "components")] if which else []),
        )


def _of_controls(mean: float | None, direction: str) -> str:
    """Write what the hybrids of the controls show on average."""
    return ABSENT if mean is None else percent(carried(mean, direction))
