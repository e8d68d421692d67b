"""What a hybrid does: effects by measure, changes by situation, and where it stands among random sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from takeback.lab.situations import LEGAL, numbers, significant
from takeback.measure.bench import Bench
from takeback.measure.effects import effect_rows
from takeback.measure.read import Ask
from takeback.measure.shift import TOP_CHANGED, TOTAL_VARIATION, shift
from takeback.measure.thin import effective, is_thin
from takeback.policies.readout import Readouts

TOLD: Final = ("value", "effect", "low", "high")
"""The numbers of an effect."""

Effects = list[dict[str, Any]]


def effects_of(bench: Bench, ask: Ask, side: str) -> dict[str, Any]:
    """Return what a hybrid has more than a side in every measure, with 95% intervals.

    Where a pool is too thin for it there are none, and `thin` says which share of the pool is left.
    """
    (after,) = bench.read([ask])
    if is_thin(bench.arena, after) and ask.take_back not in (bench.nothing, bench.anatomy.universe):
        return {"effects": [], "thin": effective(after)}
    floor = bench.floor or {}
    rows = effect_rows(bench.ends[side], after, bench.context, side)
    return {"effects": [_effect(row, floor) for row in rows], "thin": None}


def _effect(row: Mapping[str, Any], floor: Mapping[str, float]) -> dict[str, Any]:
    told = dict(zip(TOLD, significant(row[name] for name in TOLD), strict=True))
    least = {"floor": floor[row["measure"]]} if row["measure"] in floor else {}
    return {"measure": row["measure"], **told, "n": int(row["n"]), **least}


def changes_of(bench: Bench, ask: Ask) -> dict[str, list[Any]]:
    """Return how far a hybrid is from tuned in each situation of a bench, and what it does there most."""
    (after,) = bench.read([ask])
    return {**moved(bench.ends["tuned"], after), "outcome": _outcomes(after)}


def moved(before: Readouts, after: Readouts) -> dict[str, list[Any]]:
    """Return the total variation in each situation, and where the likeliest answer is another."""
    told = shift(before, after)
    return {
        "distance": numbers(told[TOTAL_VARIATION.name], 4),
        "flip": [int(value) for value in told[TOP_CHANGED.name]],
    }


def _outcomes(readouts: Readouts) -> list[str]:
    """Return what is likeliest in each situation: `legal`, or a kind of other answers."""
    names = (LEGAL, *readouts.illegal)
    masses = np.column_stack([readouts.legal_mass, readouts.masses])
    return [names[place] for place in masses.argmax(axis=1)]


def compared(effects: Effects, controls: Sequence[Effects]) -> dict[str, Any]:
    """Tell the effects of random sets by measure, and how many are at least as large as a set's own."""
    told = [{one["measure"]: one["effect"] for one in each} for each in controls]
    by_measure = {one["measure"]: [each.get(one["measure"]) for each in told] for one in effects}

    def beyond(one: Mapping[str, Any]) -> int:
        others = by_measure[one["measure"]]
        return sum(other is not None and abs(other) >= abs(one["effect"] or 0) for other in others)

    return {"effects": by_measure, "beyond": {one["measure"]: beyond(one) for one in effects}}
