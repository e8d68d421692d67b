"""What changed between two policies on the same situations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from takeback.measure.measure import MeasureContext
from takeback.measure.measures import divergence_values, measure_values, typed
from takeback.measure.shift import check_same_situations, total_variation
from takeback.policies.readout import Readout, Readouts
from takeback.run.stats import Estimate, mean_estimate

if TYPE_CHECKING:
    import pandas as pd

    from takeback.arenas import Arena


@dataclass(frozen=True)
class Change:
    """A situation, what two policies do in it, and the total variation distance between them."""

    situation: str
    distance: float
    before: Readout
    after: Readout

    def arrows(self, side: Literal["before", "after"], n: int = 3) -> tuple[tuple[str, float], ...]:
        """Return the n most likely legal actions of a side with their probabilities, likeliest first."""
        legal = (self.before if side == "before" else self.after).legal
        return tuple(sorted(legal.items(), key=lambda move: (-move[1], move[0]))[:n])


def effects(
    before: Readouts,
    after: Readouts,
    arena: Arena[Any],
    relative_to: str,
    context: MeasureContext | None = None,
    floor: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Estimate what changed from `before` to `after`, paired by situation.

    `relative_to` names the side that `before` is ("tuned" when something was taken back, "base" when
    something was grafted) and is kept with every row. Columns: measure, value (of `after`), effect (after -
    before), se, low, high (95%, clustered), relative_to, n. Both sides are averaged over the
    situations to which a measure applies on both. Divergences have their distance as value and effect.

    With `floor`, what reading one policy in other batches gives of each measure, there are the columns floor
    and above_floor: whether the effect is larger than that.

    Raises:
        TakebackError: the readouts are of different situations.
    """
    context = context or MeasureContext.of(after, arena)
    return effects_table(with_floor(effect_rows(before, after, context, relative_to), floor))


def effect_rows(
    before: Readouts, after: Readouts, context: MeasureContext, relative_to: str
) -> list[dict[str, Any]]:
    """Return the rows of `effects`, for tables of many hybrids.

    Raises:
        TakebackError: the readouts are of different situations.
    """
    rows: list[dict[str, Any]] = []
    for one in differences(before, after, context):
        estimate = mean_estimate(one.numbers, context.clusters[one.applies])
        rows.append(_effect_row(one.measure, one.reached, estimate, relative_to))
    return rows


@dataclass(frozen=True, eq=False)
class Changed:
    """What changed in one measure from one policy to another.

    Attributes:
        measure: its name.
        reached: the mean that the second policy has.
        numbers: after − before in each situation to which the measure applies on both sides, shape (m,).
        applies: which of all situations those are, shape (n,).
    """

    measure: str
    reached: float
    numbers: NDArray[np.float64]
    applies: NDArray[np.bool_]


def differences(before: Readouts, after: Readouts, context: MeasureContext) -> Iterator[Changed]:
    """Give what changed in every measure that applies to some situation on both sides.

    Raises:
        TakebackError: the readouts are of different situations.
    """
    check_same_situations(before, after)
    old, new = measure_values(before, context), measure_values(after, context)
    for name, values in new.items():
        if (kept := values.applies & old[name].applies).any():
            numbers = values.numbers[kept]
            yield Changed(name, float(numbers.mean()), numbers - old[name].numbers[kept], kept)
    for name, distances in divergence_values(before, after, context).items():
        if (kept := distances.applies).any():
            numbers = distances.numbers[kept]
            yield Changed(name, float(numbers.mean()), numbers, kept)


def noise_floor(once: Readouts, again: Readouts, context: MeasureContext) -> dict[str, float]:
    """Return how large an effect of each measure is that rounding alone makes.

    It is the far end of the 95% interval of the difference between two readings of one policy, which only
    differ in what was read beside each situation.
    """
    rows = effect_rows(once, again, context, "itself")
    return {
        row["measure"]: float(np.nanmax(np.abs([row["effect"], row["low"], row["high"]]))) for row in rows
    }


def with_floor(rows: list[dict[str, Any]], floor: Mapping[str, float] | None) -> list[dict[str, Any]]:
    """Put the noise floor beside the effects of rows, where there is one."""
    if floor is None:
        return rows
    least = [floor.get(row["measure"], 0.0) for row in rows]
    return [
        {**row, "floor": one, "above_floor": abs(row["effect"]) > one}
        for row, one in zip(rows, least, strict=True)
    ]


def effects_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows of `effect_rows`, with or without columns of a caller's own before them, as a table."""
    import pandas as pd

    return typed(pd.DataFrame(rows), ("value", "effect", "se", "low", "high"))


def _effect_row(measure: str, reached: float, effect: Estimate, relative_to: str) -> dict[str, Any]:
    return {
        "measure": measure,
        "value": reached,
        "effect": effect.value,
        **{name: getattr(effect, name) for name in ("se", "low", "high")},
        "relative_to": relative_to,
        "n": effect.n,
    }


def most_changed(before: Readouts, after: Readouts, n: int = 10) -> tuple[Change, ...]:
    """Return the n situations with the largest total variation distance, largest first, ties by place."""
    distance = total_variation(before, after)
    order = np.argsort(-distance, kind="stable")[:n]
    return tuple(
        Change(before.situations[i], float(distance[i]), before[int(i)], after[int(i)]) for i in order
    )
