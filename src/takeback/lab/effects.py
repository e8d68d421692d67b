"""What a selection does: effects by measure, changes by situation, and where it stands among random sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from takeback.lab.scene import significant
from takeback.lab.situations import numbers, outcome_of
from takeback.measure.bench import Bench
from takeback.measure.effects import effect_rows
from takeback.measure.read import Ask
from takeback.measure.shift import TOP_CHANGED, TOTAL_VARIATION, shift

TOLD = ("value", "effect", "low", "high")


def effects_of(bench: Bench, ask: Ask, side: str) -> list[dict[str, Any]]:
    """Return what a hybrid has more than a side in every measure, with 95% intervals."""
    (after,) = bench.read([ask])
    floor = bench.floor or {}
    return [effect_told(row, floor) for row in effect_rows(bench.ends[side], after, bench.context, side)]


def effect_told(row: Mapping[str, Any], floor: Mapping[str, float]) -> dict[str, Any]:
    """Return a row of effects as the page reads it."""
    told = dict(zip(TOLD, significant(row[name] for name in TOLD), strict=True))
    least = {"floor": floor[row["measure"]]} if row["measure"] in floor else {}
    return {"measure": row["measure"], **told, "n": int(row["n"]), **least}


def changes_of(bench: Bench, ask: Ask) -> dict[str, list[Any]]:
    """Return how far a hybrid is from tuned in each situation of a bench, and what it does there most."""
    (after,) = bench.read([ask])
    moved = shift(bench.ends["tuned"], after)
    return {
        "distance": numbers(moved[TOTAL_VARIATION.name], 4),
        "flip": [int(value) for value in moved[TOP_CHANGED.name]],
        "outcome": [outcome_of(one) for one in after],
    }


def beyond(effects: Iterable[Mapping[str, Any]], controls: Mapping[str, list[float]]) -> dict[str, int]:
    """Count, by measure, the random sets whose effect is at least as large."""
    return {
        one["measure"]: int(np.sum(np.abs(controls[one["measure"]]) >= abs(one["effect"])))
        for one in effects
        if one["measure"] in controls
    }
