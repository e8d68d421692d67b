"""The course of training for people: curves over steps, a map of sets × snapshots, and what begins where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from takeback.draw.columns import Column, table_of, with_ends
from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.grid import grid
from takeback.draw.heatmap import Cell, Ends
from takeback.draw.numbers import ABSENT, count, interval, listing, number, percent, short, signed
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.findings.trajectory.onsets import GAIN, PURSUIT, SET
from takeback.findings.trajectory.policies import ALL, ESTIMATES, OUTCOMES
from takeback.findings.trajectory.trajectory import Trajectory
from takeback.measure.measure import if_legal
from takeback.measure.standard import utility
from takeback.run.tables import records

MOST = 60
"""Rows of the map: sets with an onset, then those of the largest effects."""

TOP = 12
"""Sets in the short table."""

FINE = 0.02
"""A scale that ends before this has four decimals."""

NOTHING = 1e-9
"""What is smaller is shown as 0: base against itself, but for rounding."""

_TICKS = 8
_NOTES = (
    "Intervals hold 95%, over situations and of this one run: another seed may go another way.",
    "An onset is the first snapshot from which on something stays told in all later ones. It is when these "
    "situations can show it, and with fewer of them it comes later. Sets must be told all together "
    "(Bonferroni), the policy need not: sets come later for that reason alone.",
    "A set's effect is what taking it back from that snapshot does. Where parts stand in for each other, or "
    "the work is spread thin, none has an effect of its own.",
)


@section_of.register
def _(found: Trajectory) -> Section:
    """Show on a page how policy and sets develop."""
    folded = [(f"Every set with an onset, {kind}", _begun(found, kind, None)) for kind in _kinds(found)]
    folded += [(f"Every snapshot, {kind}", _in_full(found, kind)) for kind in _kinds(found)]
    return Section(
        f"The course of {found.title}, toward {found.goal}",
        tuple(_sentences(found)),
        figures=(*_curves(found), _map(found)),
        tables=(
            _snapshots(found, found.outcomes),
            _begun(found, found.outcomes, TOP),
            _chance(found, found.outcomes),
        ),
        folded=tuple(folded),
        notes=_NOTES,
    )


def _kinds(found: Trajectory) -> list[str]:
    """Return the kinds of outcomes, the one that is shown first in front."""
    return list(found.table["outcomes"].unique())[::-1]


def _of(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    return table[table["outcomes"] == kind]


def _steps(found: Trajectory) -> list[int]:
    return [int(step) for step in found.table["step"].unique()]


def _onset(found: Trajectory, what: str, kind: str) -> dict[str, Any]:
    rows = _of(found.onsets, kind)
    return records(rows[rows["what"] == what])[0]


def _sentences(found: Trajectory) -> Iterator[str]:
    kind, steps = found.outcomes, _steps(found)
    last = records(_of(found.table, kind))[-1]
    among = "" if kind == ALL else " given a legal answer"
    yield (
        f"At step {steps[-1]} the weights have moved by {percent(last['relative'], 1)} of their norm and the "
        f"policy by KL = {number(last['kl'])} nats{among}; the utility of {found.goal} has changed by "
        f"{with_ends(last, 'gain', signed)}, and the pursuit share is "
        f"{with_ends(last, 'pursuit')}."
    )
    for one in _kinds(found):
        over = "all outcomes" if one == ALL else "legal actions given a legal answer"
        onset, gain = _onset(found, PURSUIT, one), _onset(found, GAIN, one)
        yield (
            f"Over {over}: the pursuit share {_when(onset, found)}; the gain in utility {_when(gain, found)}."
        )
    yield _begins(found, kind)
    yield (
        f"There are {count(len(steps) - 1, 'snapshot')}, so that an onset is known no better than the "
        "stretch between two of them."
    )


def _when(onset: dict[str, Any], found: Trajectory) -> str:
    if onset["onset"] is None:
        return f"never stays above 0 up to step {_steps(found)[-1]}"
    before = f"not yet at {onset['before']}" if onset["before"] else "the first snapshot"
    return f"stays above 0 from step {onset['onset']} on ({before})"


def _begins(found: Trajectory, kind: str) -> str:
    rows = _of(found.onsets, kind)
    sets = records(rows[rows["what"] == SET])
    begun = [row for row in sets if row["onset"] is not None]
    if not begun:
        return (
            f"Of {count(len(sets), 'set')} none stays told to work for the goal: there is no onset in any. "
            "The work may be spread over many; try larger sets, such as each layer."
        )
    first = min(row["onset"] for row in begun)
    begins = [row["set"] for row in sets if row["begins"]]
    told = (
        f"Onsets of their own: {len(begun)} of {count(len(sets), 'set')}, the first at step {first} "
        f"({_some([row['set'] for row in begun if row['onset'] == first])})"
    )
    if _onset(found, PURSUIT, kind)["onset"] is None:
        return f"{told}; the policy's pursuit has no onset to begin in them."
    here = _some(begins) if begins else "none of them"
    return f"{told}. No later than the policy's pursuit, it begins in: {here}."


def _some(names: Sequence[str], most: int = 6) -> str:
    shown = list(names[:most])
    return listing(shown if len(names) <= most else [*shown, f"{len(names) - most} more"])


def _curves(found: Trajectory) -> Iterator[Figure]:
    kinds = _kinds(found)
    for title, column, what in (
        (f"Utility of {found.goal}", "utility", GAIN),
        ("Pursuit share of the change, signed", "pursuit", PURSUIT),
        ("KL(snapshot || base), nats", "kl", None),
        ("‖Δ‖ / ‖W‖ of the weights", "relative", None),
    ):
        curves = [_series(found, kind, column) for kind in (kinds if column != "relative" else kinds[:1])]
        onset = _onset(found, what, found.outcomes)["onset"] if what else None
        note = "Snapshots stand at equal distances."
        if what:
            note += f" Dashed: the onset of the {what}." if onset else f" The {what} has no onset."
        marked = [_upright(found, curves, onset)] if onset else []
        yield Figure.of(title, line_plot([*marked, *curves], _axes(found, column), title), note)


def _axes(found: Trajectory, column: str) -> Axes:
    steps = _steps(found)
    places = tuple(map(float, range(0, len(steps), 1 + (len(steps) - 1) // _TICKS)))
    return Axes(
        "step",
        y_include=() if column == "utility" else (0.0,),
        write_x=lambda place: str(steps[int(place)]),
        x_include=(0.0, len(steps) - 1.0),
        x_ticks=places,
    )


def _series(found: Trajectory, kind: str, column: str) -> Series:
    points = tuple(
        Point(
            place,
            row[column],
            row.get(f"{column}_low"),
            row.get(f"{column}_high"),
            f"step {row['step']}, {kind}: {number(row[column])}",
        )
        for place, row in enumerate(records(_of(found.table, kind)))
        if row[column] is not None
    )
    name = kind if column != "relative" and len(_kinds(found)) > 1 else ""
    return Series(list(OUTCOMES).index(kind), points, name=name, dashed=False)


def _upright(found: Trajectory, curves: Sequence[Series], step: int) -> Series:
    """Return a dashed line from the lowest to the highest end of the curves at a step."""
    ends = [end for one in curves for p in one.points for end in (p.y, p.low, p.high) if end is not None]
    place = _steps(found).index(step)
    line = Point(place, min(ends)), Point(place, max(ends))
    return Series(-1, line, mark_every=0, dashed=True)


def _map(found: Trajectory) -> Figure:
    """Draw effects of sets × snapshots: those with an onset first, units layer by layer."""
    kind = found.outcomes
    rows = _of(found.onsets, kind)
    sets = records(rows[rows["what"] == SET].assign(size=_sizes(found, kind)))
    sets.sort(key=lambda row: (row["onset"] is None, row["onset"] or 0, -row["size"]))
    chosen = sets[:MOST]
    columns = [str(step) for step in _steps(found)[1:]]
    groups: dict[str, list[str]] = {}
    layered = any(row["family"] == "each unit" for row in chosen)
    headings = {id(row): _heading(row, layered) for row in chosen}
    for heading in sorted(set(headings.values()), key=lambda name: (len(name), name)):
        groups[heading] = [row["set"] for row in chosen if headings[id(row)] == heading]
    names = {row["set"] for row in chosen}
    told = [row for row in records(_of(found.components, kind)) if row["set"] in names]
    limit = _limit([row["effect"] for row in told])
    digits = 4 if limit < FINE else 3
    cells = {(row["set"], str(row["step"])): _cell(row, digits) for row in told}
    ends = Ends(limit, signed(limit, 4), signed(-limit, 4))
    outlined = {(row["set"], str(row["onset"])) for row in chosen if row["onset"] is not None}
    title = f"What taking back does to the utility of {found.goal}"
    title = if_legal(title) if OUTCOMES[kind] else title
    note = (
        f"{len(chosen)} of {count(len(sets), 'set')}: those with an onset (framed), then those of the "
        "largest effects. Orange lowers it, blue raises it; at most 5% of cells lie beyond the scale. "
        "Numbers stand where an effect is told from 0, all sets of a snapshot together."
    )
    return Figure.of(title, grid(groups, columns, cells, ends, outlined, title), note)


def _limit(values: Sequence[float | None]) -> float:
    """Return the magnitude that 95% of the values keep to, or the largest where those are 0."""
    sizes = [abs(value) for value in values if value is not None]
    return float(np.quantile(sizes, 0.95)) or max(sizes) if sizes else 0.0


def _sizes(found: Trajectory, kind: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return each set's largest effect at any snapshot, in their order."""
    rows = _of(found.components, kind)
    values = rows["effect"].abs().to_numpy(np.float64, na_value=0.0)
    return values.reshape(rows["step"].nunique(), -1).max(axis=0)


def _heading(row: dict[str, Any], layered: bool) -> str:
    if not layered:
        return ""
    return "outside layers" if row["layer"] is None else f"layer {row['layer']}"


def _cell(row: dict[str, Any], digits: int) -> Cell:
    title = f"{row['set']} at step {row['step']}: {with_ends(row, 'effect', signed, 4)}"
    label = ""
    if row["told"]:
        label = short(row["effect"], digits, sign=True)
        label = f"{'+' if row['effect'] > 0 else '−'}0" if label == "0" else label
    return Cell(row["effect"], title, label)


def _snapshots(found: Trajectory, kind: str) -> Table:
    """Write what people look at first of every snapshot."""
    return table_of(
        _of(found.table, kind),
        Column("step", str),
        Column("‖Δ‖/‖W‖", percent, "relative", digits=1),
        Column(utility(found.goal, OUTCOMES[kind]).name, _plain, "utility"),
        Column("legal", _plain),
        Column("KL", _plain, "kl"),
        Column("pursuit share", _told, "pursuit", "pursuit_low", "pursuit_high"),
        Column("β", number, "beta", digits=2),
    )


def _in_full(found: Trajectory, kind: str) -> Table:
    """Write every measure of every snapshot with its interval."""
    measures = (Column(name, _told, name, f"{name}_low", f"{name}_high") for name in ESTIMATES)
    return table_of(_of(found.table, kind), Column("step", str), *measures, Column("note"))


def _plain(value: float | None) -> str:
    """Write a measure; rounding of base against itself is 0."""
    return number(0.0 if value is not None and abs(value) < NOTHING else value)


def _told(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or abs(value) < NOTHING:
        return _plain(value)
    return f"{number(value)} {interval(low, high)}"


def _begun(found: Trajectory, kind: str, most: int | None) -> Table:
    """Write the sets that have an onset, earliest first."""
    rows = _of(found.onsets, kind)
    begun = rows[(rows["what"] == SET) & rows["onset"].notna()]
    begun = begun.sort_values(["onset", "value"], kind="stable").head(most or len(begun))
    return table_of(
        begun,
        Column("works for the goal", None, "set"),
        Column("onset between", "{}–{}".format, "before", "onset"),
        Column("it begins here", {True: "yes", False: "no", None: ABSENT}.__getitem__, "begins"),
        Column("effect at the end", signed, "value"),
        Column("of the gain", percent, "of_gain"),
    )


def _chance(found: Trajectory, kind: str) -> Table:
    """Write how many sets are told at each snapshot, beside how many would be by chance."""
    return table_of(
        _of(found.chance, kind),
        Column("step", str),
        Column("sets", str),
        Column("told", str),
        Column("by chance", lambda expected: f"≤ {number(expected)}", "expected"),
        Column("signs flipped", number, "flipped"),
        Column("onsets", str),
        Column("onsets, signs flipped", number, "flipped_onsets"),
    )
