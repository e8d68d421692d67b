"""The smallest sets for people: how many components carry most of a change, by each order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from takeback.draw.numbers import ABSENT, count, number, percent, share
from takeback.draw.page import Section, Table
from takeback.draw.terminal import print_tables
from takeback.run.tables import records

if TYPE_CHECKING:
    from takeback.findings.localise.carriers import Carriers

_HEAD = ("of all", "parameters", "carries", "random orders", "random sets", "p", "other way")


def as_section(found: Carriers) -> Section:
    """Show what the smallest sets are, what they carry, and what random ones need."""
    rows = records(found.table)
    return Section(
        title=_title(rows),
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


def print_carriers(found: Carriers) -> None:
    """Print the smallest sets."""
    rows = records(found.table)
    print_tables(_title(rows), _sentences(rows), [_table(lane) for lane in _lanes(rows)])


def _title(rows: list[dict[str, Any]]) -> str:
    return f"The smallest sets that carry {percent(rows[0]['wanted'])} of the change"


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
            f"Random orders need {_needed(best)}."
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
    return Table((_name(lane), *_HEAD), tuple(map(_row, lane)), (_name(lane),))


def _members(lane: list[dict[str, Any]]) -> Table:
    head = (_name(lane), "components")
    return Table(head, tuple((row["order"], row["components"]) for row in lane), head)


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["order"],
        f"{row['n_components']}/{row['of']}",
        percent(row["parameters"]),
        share(row["carried"], row["low"], row["high"]),
        _needed(row),
        percent(row["controls_carried"]),
        number(row["p"], 2),
        percent(row["also"]),
    )


def _needed(row: dict[str, Any]) -> str:
    if row["random_median"] is None:
        return ABSENT
    return f"{row['random_median']:g} ({row['random_low']}–{row['random_high']})"
