"""Groups for people: what each carries together beside the sum of its members alone, controls in grey."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from takeback.draw.bars import Bar, Bars, bar_plot
from takeback.draw.numbers import count, interval, listing, number, percent
from takeback.draw.page import Figure, Section, Table
from takeback.draw.terminal import print_tables
from takeback.findings.localise.shares import TAKE_BACK
from takeback.findings.sweep.run import MATCHES
from takeback.findings.sweep.sets import CONTROLS
from takeback.run.tables import records

if TYPE_CHECKING:
    from takeback.findings.localise.groups import Groups

MOST_DRAWN = 14
"""Groups that are drawn: those of the largest excess."""

_TITLES = {True: "Components that stand in for each other", False: "Components that work only together"}
_KINDS = ("together", "sum of the members alone")
_HEAD = (
    "group",
    "components",
    "together",
    "sum alone",
    "largest alone",
    "excess",
    "interval",
    "controls",
    "p",
)
_NOTES = (
    "Shares of the change from base to tuned, in situations that the search has not seen. The excess is "
    "what a group carries together beyond the sum of what its members carry alone; its intervals hold for "
    "all groups together (Bonferroni). A group counts as redundant (✓) if its excess and what it carries "
    "beyond its largest member both lie above 0.",
    "Controls are random groups with as many components of each kind. p is the rank of the group's excess "
    "among its controls, not corrected for the number of groups. A core is the fewest members that keep 90% "
    "(unless told otherwise) of a group's excess in the situations of the search.",
)


def as_section(found: Groups) -> Section:
    """Draw the groups beside their controls, and list them with what their members do."""
    real = _real(found)
    random = found.table[found.table["family"].isin(CONTROLS)]
    folded = (("What each member does", _members(found)), ("Random groups", _table(random)))
    title = _TITLES[_taken_back(found)]
    return Section(title, tuple(_sentences(found)), (_figure(found),), (_table(real),), folded, _NOTES)


def print_groups(found: Groups) -> None:
    """Print the groups, those of the largest excess first."""
    print_tables(_TITLES[_taken_back(found)], _sentences(found), [_table(_real(found))])


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
    matching = found.table["matches"].str.split(MATCHES)
    for row in records(_real(found).head(MOST_DRAWN)):
        controls = found.table[[row["group"] in names for names in matching]]
        bars = (_bar(row, name, controls) for name in ("joint", "singles"))
        rows.append(Bars(f"{row['group']} {'✓' if row['redundant'] else ''}".strip(), tuple(bars)))
    title = "Together, and the sum of the members alone"
    note = "Lines: intervals. Grey: random groups with as many components of each kind."
    return Figure.of(title, bar_plot(rows, _KINDS, "share of the change", title), note)


def _bar(row: dict[str, Any], name: str, controls: pd.DataFrame) -> Bar:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    title = f"{row['components']}, {name}: {percent(row[name])} {interval(low, high)}"
    return Bar(row[name], low, high, title, tuple(controls[name].dropna()))


def _table(rows: pd.DataFrame) -> Table:
    cells = tuple(
        (
            f"{row['group']} {'✓' if row['redundant'] else ''}".strip(),
            row["components"],
            percent(row["joint"]),
            percent(row["singles"]),
            f"{row['largest']} {percent(row['largest_share'])}",
            percent(row["excess"]),
            f"{percent(row['excess_low'])} to {percent(row['excess_high'])}",
            str(row["controls"]),
            number(row["p"], 2),
        )
        for row in records(rows)
    )
    return Table(_HEAD, cells, ("group", "components"))


def _members(found: Groups) -> Table:
    cells = tuple(
        (
            row["group"],
            row["member"],
            *(
                f"{percent(row[name])} ({percent(row[f'{name}_low'])} to {percent(row[f'{name}_high'])})"
                for name in ("alone", "last")
            ),
        )
        for row in records(found.members)
    )
    return Table(("group", "member", "alone", "when all others are there"), cells, ("group", "member"))
