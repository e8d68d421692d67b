"""Groups for people: what each carries together beside the sum of its members alone, controls in grey."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from takeback.draw.bars import Bar, Bars, bar_plot
from takeback.draw.columns import Column, ends_of, table_of
from takeback.draw.numbers import count, interval, listing, number, percent, span
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.findings.localise.groups import Groups
from takeback.findings.localise.measured import matching
from takeback.findings.localise.shares import TAKE_BACK
from takeback.findings.sweep.sets import CONTROLS
from takeback.run.tables import records

MOST_DRAWN = 14
"""Groups that are drawn: those of the largest excess."""

_TITLES = {True: "Components that stand in for each other", False: "Components that work only together"}
_KINDS = ("together", "sum of the members alone")
_NOTES = (
    "Shares of the change from base to tuned, in situations that the search has not seen. The excess is "
    "what a group carries together beyond the sum of what its members carry alone; its intervals hold for "
    "all groups together (Bonferroni). A group counts as redundant (✓) if its excess and what it carries "
    "beyond its largest member both lie above 0.",
    "Controls are random groups with as many components of each kind. p is the rank of the group's excess "
    "among its controls, not corrected for the number of groups. A core is the fewest members that keep 90% "
    "(unless told otherwise) of a group's excess in the situations of the search.",
)


@section_of.register
def _(found: Groups) -> Section:
    """Draw the groups beside their controls, and list them with what their members do."""
    real = _real(found)
    random = found.table[found.table["family"].isin(CONTROLS)]
    folded = (("What each member does", _members(found)), ("Random groups", _table(random)))
    return Section(
        _TITLES[_taken_back(found)],
        tuple(_sentences(found)),
        (_figure(found),),
        (_table(real),),
        folded,
        _NOTES,
    )


def _real(found: Groups) -> pd.DataFrame:
    real = found.table[~found.table["family"].isin(CONTROLS)]
    return real.sort_values("excess", ascending=False, kind="stable")


def _taken_back(found: Groups) -> bool:
    return bool((found.table["direction"] == TAKE_BACK).all())


def _sentences(found: Groups) -> Iterator[str]:
    redundant, real = found.redundant, _real(found)
    (change,) = records(found.changes)
    yield (
        f"{change['measure']} changed by {number(change['change'])} "
        f"{interval(change['low'], change['high'])}. The search names {count(len(real), 'group')}; in other "
        f"situations {len(redundant)} of them carry more together than their members alone."
    )
    done, do = ("taken back", "lose") if _taken_back(found) else ("grafted", "bring")
    for row in records(redundant.head(1)) + records(redundant[redundant["n_components"] == 2].head(1)):
        what = "pair" if row["n_components"] == 2 else "group"
        yield (
            f"The strongest {what} is {listing(row['components'].split())}: {done} together they {do} "
            f"{percent(row['joint'])} of the change, alone {percent(row['singles'])} in sum "
            f"({row['largest']} {percent(row['largest_share'])}); the excess is {percent(row['excess'])} "
            f"({percent(row['excess_low'])} to {percent(row['excess_high'])}), at least as large in "
            f"{_as_large(row)} random groups of its make-up."
        )


def _as_large(row: dict[str, Any]) -> str:
    """Say how many controls have at least the excess of a group."""
    return f"{round((row['p'] or 1) * (1 + row['controls'])) - 1} of {row['controls']}"


def _figure(found: Groups) -> Figure:
    rows: list[Bars] = []
    for row in records(_real(found).head(MOST_DRAWN)):
        controls = matching(found.table, row["group"])
        bars = (_bar(row, name, controls) for name in ("joint", "singles"))
        rows.append(Bars(_marked(row["group"], row["redundant"]), tuple(bars)))
    title = "Together, and the sum of the members alone"
    note = "Lines: intervals. Grey: random groups with as many components of each kind."
    return Figure.of(title, bar_plot(rows, _KINDS, "share of the change", title), note)


def _bar(row: dict[str, Any], name: str, controls: pd.DataFrame) -> Bar:
    title = f"{row['components']}, {name}: {percent(row[name])} {interval(*ends_of(row, name))}"
    return Bar(row[name], *ends_of(row, name), title, tuple(controls[name].dropna()))


def _table(rows: pd.DataFrame) -> Table:
    return table_of(
        rows,
        Column("group", _marked, "group", "redundant", words=True),
        Column("components"),
        Column("together", percent, "joint"),
        Column("sum alone", percent, "singles"),
        Column("largest alone", _largest, "largest", "largest_share"),
        Column("excess", percent),
        Column("interval", span, "excess_low", "excess_high"),
        Column("controls", str),
        Column("p", number, digits=2),
    )


def _marked(group: str, redundant: bool | None) -> str:
    return f"{group} ✓" if redundant else group


def _largest(member: str, alone: float | None) -> str:
    return f"{member} {percent(alone)}"


def _members(found: Groups) -> Table:
    return table_of(
        found.members,
        Column("group"),
        Column("member"),
        Column("alone", _and_span, "alone", "alone_low", "alone_high"),
        Column("when all others are there", _and_span, "last", "last_low", "last_high"),
    )


def _and_span(value: float | None, low: float | None, high: float | None) -> str:
    return f"{percent(value)} ({span(low, high)})"
