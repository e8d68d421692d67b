"""Changes with their intervals: of measures, of kinds of moves, and in kinds of situations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from takeback.findings.explanation.kinds import LEAST, Kind
from takeback.measure.measure import MeasureContext, Values
from takeback.measure.measures import divergence_values, measure_values, typed
from takeback.measure.shift import TOTAL_VARIATION, total_variation
from takeback.measure.standard import LEGAL, utility
from takeback.policies.readout import Readouts
from takeback.run.grouping import sum_by
from takeback.run.stats import Estimate, mean_estimate, paired_difference

CONFIDENCE = 0.95

MOVED = TOTAL_VARIATION.name

_NUMBERS = ("before", "after", "change", "se", "low", "high")

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def measured(before: Readouts, after: Readouts, context: MeasureContext) -> pd.DataFrame:
    """Return the change of every measure, and the distances of `shift`, which have no value before."""
    table = _changes(measure_values(before, context), measure_values(after, context), context.clusters)
    far = [
        {"name": name, "after": estimate.value, "change": estimate.value, **_ends(estimate), "n": estimate.n}
        for name, distances in divergence_values(before, after, context).items()
        for estimate in [
            mean_estimate(distances.numbers[distances.applies], context.clusters[distances.applies])
        ]
    ]
    return _typed(pd.concat([table.astype(object), pd.DataFrame(far, dtype=object)], ignore_index=True))


def moves(before: Readouts, after: Readouts, context: MeasureContext) -> pd.DataFrame:
    """Return the change in probability of each kind of move where one is legal."""
    old, new = (_on_moves(readouts, context) for readouts in (before, after))
    return _typed(_changes(old, new, context.clusters))


def illegal(before: Readouts, after: Readouts, context: MeasureContext) -> pd.DataFrame:
    """Return the change of each class of illegal answers, and the situation in which it grew most."""
    old, new = (_illegal(readouts) for readouts in (before, after))
    table = _changes(old, new, context.clusters)
    growth = np.array([new[name].numbers - old[name].numbers for name in table["name"]])
    most, grew = growth.argmax(axis=1), growth.max(axis=1)
    where = [before.situations[at] if by > 0 else None for at, by in zip(most, grew, strict=True)]
    return _typed(table).assign(
        grew_most_in=pd.array(where, "string"),
        grew_by=pd.array([by if by > 0 else None for by in grew], "Float64"),
    )


def by_kind(
    before: Readouts,
    after: Readouts,
    context: MeasureContext,
    kinds: Sequence[Kind],
    halves: tuple[Places, Places],
) -> pd.DataFrame:
    """Return how much more each measure changes in situations of a kind than in the others.

    A measure's intervals hold for all kinds together (Bonferroni). A kind `holds` if its own leaves out 0
    and what one half of the situations shows is beyond 0 on the same side in the other.
    """
    rows: list[dict[str, Any]] = []
    for measure, values in situational(before, after, context).items():
        enough = [kind for kind in kinds if _enough(kind.members & values.applies, values, context.clusters)]
        sure = 1 - (1 - CONFIDENCE) / max(len(enough), 1)
        for kind in enough:
            rows.append({"name": kind.name, "measure": measure, **_told(kind, values, context, halves, sure)})
    floats = ("inside", "outside", "difference", "se", "low", "high")
    checks = ("first_half", "second_half", "second_low", "second_high")
    names = ["name", "measure", "members", *floats, *checks, "holds"]
    table = typed(pd.DataFrame(rows, columns=names), (*floats, *checks))
    return table.astype({"name": "string", "measure": "string", "members": "int64", "holds": "boolean"})


def situational(before: Readouts, after: Readouts, context: MeasureContext) -> dict[str, Values]:
    """Return the changes in every situation that kinds of situations are compared by."""
    found = {MOVED: Values.everywhere(total_variation(before, after))}
    for measure in (LEGAL, *map(utility, context.utilities), *context.own):
        old, new = (measure.of(readouts, context) for readouts in (before, after))
        found[measure.name] = Values(new.numbers - old.numbers, new.applies & old.applies)
    return found


def beyond(estimate: Estimate | None) -> bool:
    """Tell whether an interval is known and leaves out 0."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return False
    return not estimate.low <= 0 <= estimate.high


def _changes(old: Mapping[str, Values], new: Mapping[str, Values], clusters: Places) -> pd.DataFrame:
    """Return a row for each name that applies somewhere; `sure` is corrected for the number of rows."""
    applying = {name: kept for name in new if (kept := old[name].applies & new[name].applies).any()}
    sure = 1 - (1 - CONFIDENCE) / max(len(applying), 1)
    rows: list[dict[str, Any]] = []
    for name, kept in applying.items():
        pair = new[name].numbers[kept], old[name].numbers[kept]
        change, wide = (paired_difference(*pair, clusters[kept], level) for level in (CONFIDENCE, sure))
        rows.append(
            {
                "name": name,
                "before": float(pair[1].mean()),
                "after": float(pair[0].mean()),
                "change": change.value,
                **_ends(change),
                "n": change.n,
                "sure": beyond(wide),
            }
        )
    return pd.DataFrame(rows, columns=["name", *_NUMBERS, "n", "sure"])


def _on_moves(readouts: Readouts, context: MeasureContext) -> dict[str, Values]:
    """Return the probability of each kind of move: those with a feature, and the best for a goal."""
    n, owner = len(readouts), context.owner
    chosen = {name: (has > 0, np.ones(n, np.bool_)) for name, has in context.features.items()}
    for goal, worth in context.utilities.items():
        best = np.full(n, -np.inf)
        np.maximum.at(best, owner, worth)
        chosen[f"best for {goal}"] = worth == best[owner], context.applies[goal]
    return {
        name: Values(
            sum_by(owner, readouts.probabilities * has, n),
            (sum_by(owner, has.astype(float), n) > 0) & applies,
        )
        for name, (has, applies) in chosen.items()
    }


def _illegal(readouts: Readouts) -> dict[str, Values]:
    masses = zip(readouts.illegal, readouts.masses.T, strict=True)
    found = {name: Values.everywhere(mass) for name, mass in masses}
    return {**found, "undecided": Values.everywhere(readouts.undecided)}


def _told(
    kind: Kind, values: Values, context: MeasureContext, halves: tuple[Places, Places], sure: float
) -> dict[str, Any]:
    """Return a measure's mean change in a kind and elsewhere, and the difference in all and in each half."""
    everywhere = np.flatnonzero(values.applies)
    whole, first, second = (
        contrast(values.numbers[places], kind.members[places], context.clusters[places], level)
        for places, level in (
            (everywhere, sure),
            *((np.intersect1d(half, everywhere), CONFIDENCE) for half in halves),
        )
    )
    inside = kind.members[everywhere]
    repeats = whole and first and second and beyond(second) and (first.value > 0) == (second.value > 0)
    return {
        "members": int(inside.sum()),
        "inside": float(values.numbers[everywhere][inside].mean()),
        "outside": float(values.numbers[everywhere][~inside].mean()),
        **({"difference": whole.value, **_ends(whole)} if whole else {}),
        "first_half": first.value if first else None,
        **({f"second_{end}": number for end, number in _ends(second).items()} if second else {}),
        "second_half": second.value if second else None,
        "holds": bool(repeats and beyond(whole)),
    }


def contrast(
    values: Floats, members: Bools, clusters: Places, confidence: float = CONFIDENCE
) -> Estimate | None:
    """Estimate how much larger a mean is among members than among others; None with too few clusters.

    The interval is Welch's (1947, Biometrika 34(1/2)) with clustered standard errors; a cluster on both sides
    counts as two, which is on the safe side where its situations change alike.

    >>> print(contrast(np.array([1.0, 2.0, 5.0, 6.0]), np.array([0, 0, 1, 1]) > 0, np.arange(4)))
    4 [0.9576, 7.042] (n=4)
    """
    sides = [mean_estimate(values[side], clusters[side]) for side in (members, ~members) if side.any()]
    if len(sides) < 2 or any(side.se is None for side in sides):
        return None
    squares = [(side.se or 0.0) ** 2 for side in sides]
    spread = sum(square**2 / (side.clusters - 1) for square, side in zip(squares, sides, strict=True))
    freedom = sum(squares) ** 2 / spread if spread else 1.0
    error, gap = math.sqrt(sum(squares)), sides[0].value - sides[1].value
    reach = float(stdtrit(freedom, (1 + confidence) / 2)) * error
    return Estimate(gap, error, gap - reach, gap + reach, len(values), sum(side.clusters for side in sides))


def _enough(members: Bools, values: Values, clusters: Places) -> bool:
    return all(len(np.unique(clusters[side])) >= LEAST for side in (members, values.applies & ~members))


def _ends(estimate: Estimate) -> dict[str, Any]:
    return {"se": estimate.se, "low": estimate.low, "high": estimate.high}


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return typed(table, _NUMBERS).astype({"name": "string", "n": "int64", "sure": "boolean"})
