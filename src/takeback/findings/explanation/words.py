"""An explanation in sentences: the strongest differences with their intervals, beside the controls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from takeback.draw.numbers import at_most, interval, number, percent, short, signed
from takeback.findings.explanation.changes import MOVED
from takeback.findings.explanation.explanation import Explanation
from takeback.findings.explanation.intervention import ASKED, EVERYTHING, RANDOM
from takeback.measure.shift import TOP_CHANGED
from takeback.policies.readout import UNDECIDED
from takeback.run.tables import records

TOLD = 0.001
"""Smallest change that is worth a sentence; the tables have all."""

MOST = 3
"""Sentences of each sort at most."""


def sentences(found: Explanation) -> tuple[str, ...]:
    """Say what changed beyond noise, strongest first."""
    strong = [*_measures(found), *_kinds(found), *_moves(found), *_illegal(found)]
    if not strong:
        strong = [
            f"Nothing beyond noise: over {len(found.before)} situations no measure, kind of move, class of "
            f"illegal answers or kind of situation changes by {number(TOLD)} or more with an interval, "
            f"corrected for how many were looked at, that leaves out 0; their changes are {_at_most(found)}."
        ]
    return (_moved(found), *strong)


def _at_most(found: Explanation) -> str:
    """Say how large the change of a measure can be, by the largest of their intervals' ends."""
    rows = found.measures[(found.measures["role"] == ASKED) & (found.measures["name"] != MOVED)]
    ends = rows[["low", "high"]].astype("Float64").abs().to_numpy(np.float64, na_value=np.nan)
    return at_most(float(np.nanmax(ends)) if np.isfinite(ends).any() else None)


def strongest(table: pd.DataFrame, column: str = "change", flag: str = "sure") -> pd.DataFrame:
    """Return the asked set's rows that are beyond noise, largest first."""
    rows = table[(table["role"] == ASKED) & table[flag].fillna(False) & (table[column].abs() >= TOLD)]
    return rows.sort_values(column, key=lambda values: -values.abs(), kind="stable")


def _moved(found: Explanation) -> str:
    table = found.measures
    rows = table[table["name"] == MOVED]
    (asked,) = records(rows[rows["role"] == ASKED])
    (top,) = records(table[(table["name"] == TOP_CHANGED.name) & (table["role"] == ASKED)])
    what = str(found.change)
    drawn = rows.loc[rows["role"] == RANDOM, "after"]
    alike = " Random sets of its make-up do as much." if (drawn >= asked["after"]).any() else ""
    return (
        f"{what[:1].upper()}{what[1:]} moves {percent(asked['after'])} of a situation's probability to other "
        f"answers: total variation {number(asked['after'])} {ends(asked)} "
        f"({beside(rows, asked, 'after', number)}). The likeliest move becomes another in "
        f"{percent(top['after'])} of {len(found.before)} situations.{alike}"
    )


def _measures(found: Explanation) -> Iterator[str]:
    """Say what each measure did, without those given a legal answer where they say the same as without."""
    telling = {one.name: one for one in found.measured if not one.kind and not one.feature}
    table = found.measures[found.measures["name"].isin(telling)]
    rows = records(strongest(table))
    names = {row["name"] for row in rows}
    for row in [row for row in rows if telling[row["name"]].whole not in names][:MOST]:
        yield (
            f"'{row['name']}' {'rises' if row['change'] > 0 else 'falls'} from {number(row['before'])} to "
            f"{number(row['after'])}: {signed(row['change'])} {ends(row)} ({beside(table, row)})."
        )


def _kinds(found: Explanation) -> Iterator[str]:
    """Say where most is moved, then where a measure changes otherwise than elsewhere."""
    holding = strongest(found.kinds, "difference", "holds")
    moved = holding[(holding["measure"] == MOVED) & (holding["difference"] > 0)].head(MOST)
    others = holding[holding["measure"] != MOVED].drop_duplicates("measure").head(MOST)
    for row in records(pd.concat([moved, others])):
        table = found.kinds[found.kinds["measure"] == row["measure"]]
        moved = row["measure"] == MOVED
        what, write = (
            ("More is moved", number) if moved else (f"'{row['measure']}' changes otherwise", signed)
        )
        yield (
            f"{what} in situations {found.words[row['name']]}: {write(row['inside'])} there, "
            f"{write(row['outside'])} elsewhere; the difference is {signed(row['difference'])} {ends(row)}, "
            f"in either half of the situations {signed(row['first_half'])} and {signed(row['second_half'])} "
            f"({beside(table, row, 'difference')})."
        )


def _moves(found: Explanation) -> Iterator[str]:
    rows = strongest(found.moves).drop_duplicates(["before", "after"])
    for way, chosen in (("gain", rows[rows["change"] > 0]), ("lose", rows[rows["change"] < 0])):
        for row in records(chosen.head(MOST)):
            yield (
                f"Moves of the kind '{row['name']}' {way}: {percent(row['before'])} before, "
                f"{percent(row['after'])} after, {_points(row['change'])} points {_point_ends(row)} "
                f"({beside(found.moves, row, write=_points)})."
            )


def _illegal(found: Explanation) -> Iterator[str]:
    table = found.illegal[found.illegal["name"] != UNDECIDED]
    for row in records(strongest(table).head(MOST)):
        grew = row["change"] > 0
        where = f"; most in {row['grew_most_in']}, {_points(row['grew_by'])} points" if grew else ""
        yield (
            f"Illegal answers '{row['name']}' become {'more' if grew else 'fewer'}: {percent(row['before'])} "
            f"before, {percent(row['after'])} after, {_points(row['change'])} points {_point_ends(row)} "
            f"({beside(table, row, write=_points)}){where}."
        )


def beside(
    table: pd.DataFrame, row: dict[str, Any], column: str = "change", write: Callable[[float], str] = signed
) -> str:
    """Say what all components and the random sets have in the column of the same row."""
    same = table[table["name"] == row["name"]].dropna(subset=[column])
    whole, drawn = (same.loc[same["role"] == role, column].tolist() for role in (EVERYTHING, RANDOM))
    told = [f"all components {write(whole[0])}"] if whole else []
    if drawn:
        told.append(f"{len(drawn)} random sets {write(min(drawn))} to {write(max(drawn))}")
    return "; ".join(told) or "no controls"


def ends(row: dict[str, Any]) -> str:
    """Write a row's interval."""
    return interval(row["low"], row["high"])


def _points(change: float) -> str:
    return short(100 * change, 1, sign=True)


def _point_ends(row: dict[str, Any]) -> str:
    low, high = (None if row[end] is None else 100 * row[end] for end in ("low", "high"))
    return interval(low, high, 1)
