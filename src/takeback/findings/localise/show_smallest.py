"""The smallest sets for people: how many components carry most of a change, by each order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from takeback.draw.columns import Column, table_of
from takeback.draw.numbers import ABSENT, count, number, percent, share
from takeback.draw.page import Section, Table
from takeback.draw.result import section_of
from takeback.findings.localise.smallest import SmallestSets
from takeback.run.tables import records


@section_of.register
def _(found: SmallestSets) -> Section:
    """Show what the smallest sets are, what they carry, and what random ones need."""
    rows = records(found.table)
    return Section(
        title=f"The smallest sets that carry {percent(rows[0]['wanted'])} of the change",
        words=tuple(_sentences(rows)),
        tables=tuple(_table(lane) for lane in _lanes(rows)),
        folded=tuple((f"Which components: {_name(lane)}", _members(lane)) for lane in _lanes(rows)),
        notes=(
            "Sets are chosen in some situations; what they carry is told in others. Beside them stand how "
            "many components random orders need (median, fewest, most), and what random sets carry that have "
            "as many components of each kind; p is the rank among these. The last column is what the same "
            "set carries in the other direction: a necessary one grafted, a sufficient one taken back.",
        ),
    )


def _sentences(rows: list[dict[str, Any]]) -> Iterator[str]:
    for lane in _lanes(rows):
        best = min(lane, key=lambda row: row["n_components"])
        whole = [row["order"] for row in lane if row["n_components"] == row["of"]]
        if len(whole) == len(lane):
            yield f"{_name(lane)}: in every order nothing less than all components carries so much."
            continue
        yield (
            f"{_name(lane)}: the smallest set is {best['n_components']} of "
            f"{count(best['of'], 'component')}, by {best['order']}; where it was not chosen it carries "
            f"{share(best['carried'], best['low'], best['high'])}. "
            f"Random orders need {_needed(best['random_median'], best['random_low'], best['random_high'])}."
            + (f" By {' and by '.join(whole)} nothing less than everything does." if whole else "")
        )


def _lanes(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the rows of each measure and direction."""
    lanes: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        lanes.setdefault(_name([row]), []).append(row)
    return list(lanes.values())


def _name(lane: list[dict[str, Any]]) -> str:
    return f"{lane[0]['measure']}, {lane[0]['direction']}"


def _table(lane: list[dict[str, Any]]) -> Table:
    return table_of(
        lane,
        Column(_name(lane), None, "order"),
        Column("of all", "{}/{}".format, "n_components", "of"),
        Column("parameters", percent),
        Column("carries", share, "carried", "low", "high"),
        Column("random orders", _needed, "random_median", "random_low", "random_high"),
        Column("random sets", percent, "controls_carried"),
        Column("p", number, digits=2),
        Column("other way", percent, "also"),
    )


def _members(lane: list[dict[str, Any]]) -> Table:
    return table_of(lane, Column(_name(lane), None, "order"), Column("components"))


def _needed(median: float | None, low: int | None, high: int | None) -> str:
    return ABSENT if median is None else f"{median:g} ({low}–{high})"
