"""What changed between two policies on the same situations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from takeback.measure.measures import MeasureContext, measure_values, typed
from takeback.policies.readout import Readout, Readouts
from takeback.run.errors import TakebackError
from takeback.run.grouping import sum_by
from takeback.run.stats import Estimate, mean_estimate, paired_difference

if TYPE_CHECKING:
    import pandas as pd

    from takeback.arenas import Arena

Floats = NDArray[np.float64]
FLOOR = 1e-12
"""Least probability of an outcome in a divergence, so that underflow can't make it infinite."""


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


def shift(before: Readouts, after: Readouts) -> dict[str, Floats]:
    """Compare two policies in every situation; each array has shape (n,).

    - `KL(after || before)` and `KL(before || after)`, in nats, over legal actions and illegality classes: a
      lower bound of the divergence between the two policies' texts, since a class counts as one outcome.
      Undecided mass is divided among a situation's classes as the decided mass of both policies together is,
      so that what one side happened to leave undecided makes no divergence infinite; probabilities count as
      at least 1e-12.
    - `Jensen-Shannon`, in nats, and `total variation`, over the same outcomes.
    - `top move changed`: 1 where the most likely legal action is another one (the first of equals); 0 where
      there is no legal action.

    Raises:
        TakebackError: the readouts are of different situations.
    """
    check_same_situations(before, after)
    n, classes = before.masses.shape
    owner = np.concatenate([before.owner, np.repeat(np.arange(n), classes)])
    p, q = partition(before, after)
    middle = (p + q) / 2

    def divergence(left: Floats, right: Floats) -> Floats:
        return np.maximum(sum_by(owner, rel_entr(left, np.maximum(right, FLOOR)), n), 0)

    return {
        "KL(after || before)": divergence(q, p),
        "KL(before || after)": divergence(p, q),
        "Jensen-Shannon": (divergence(p, middle) + divergence(q, middle)) / 2,
        "total variation": sum_by(owner, np.abs(p - q), n) / 2,
        "top move changed": (_top(before) != _top(after)).astype(np.float64),
    }


def effects(
    before: Readouts,
    after: Readouts,
    arena: Arena[Any],
    relative_to: str,
    context: MeasureContext | None = None,
) -> pd.DataFrame:
    """Estimate what changed from `before` to `after`, paired by situation.

    `relative_to` names the side that `before` is ("tuned" when something was taken back, "base" when
    something was grafted) and is kept with every row. Columns: measure, value (of `after`), effect (after -
    before), se, low, high (95%, clustered), relative_to, n. Both sides are averaged over the
    situations to which a measure applies on both. Measures of `shift` have their distance as value and
    effect.

    Raises:
        TakebackError: the readouts are of different situations.
    """
    context = context or MeasureContext.of(after, arena)
    return effects_table(effect_rows(before, after, context, relative_to))


def effect_rows(
    before: Readouts, after: Readouts, context: MeasureContext, relative_to: str
) -> list[dict[str, Any]]:
    """Return the rows of `effects`, for tables of many hybrids.

    Raises:
        TakebackError: the readouts are of different situations.
    """
    check_same_situations(before, after)
    old, new = measure_values(before, context), measure_values(after, context)
    rows: list[dict[str, Any]] = []
    for name, values in new.items():
        kept = values.applies & old[name].applies
        if kept.any():
            pair = values.numbers[kept], old[name].numbers[kept]
            difference = paired_difference(*pair, context.clusters[kept])
            rows.append(_effect_row(name, float(values.numbers[kept].mean()), difference, relative_to))
    for name, distances in shift(before, after).items():
        estimate = mean_estimate(distances, context.clusters)
        rows.append(_effect_row(name, estimate.value, estimate, relative_to))
    return rows


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
    distance = shift(before, after)["total variation"]
    order = np.argsort(-distance, kind="stable")[:n]
    return tuple(
        Change(before.situations[i], float(distance[i]), before[int(i)], after[int(i)]) for i in order
    )


def check_same_situations(before: Readouts, after: Readouts) -> None:
    """Raise unless two policies were read in the same situations.

    Raises:
        TakebackError: they were not.
    """
    same = before.situations == after.situations and before.actions == after.actions
    if not same or before.illegal != after.illegal or before.arena != after.arena:
        raise TakebackError(
            "the two readouts are not of the same situations in the same order; read both again"
        )


def partition(before: Readouts, after: Readouts) -> tuple[Floats, Floats]:
    """Return each side's probabilities: legal actions end to end, then n × classes with all mass divided."""
    both = before.masses + after.masses
    total = both.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, both / np.where(total > 0, total, 1), 1 / both.shape[1])

    def side(readouts: Readouts) -> Floats:
        illegal = readouts.masses + readouts.undecided[:, None] * shares
        return np.concatenate([readouts.probabilities, illegal.reshape(-1)])

    return side(before), side(after)


def _top(readouts: Readouts) -> NDArray[np.int64]:
    """Return where among all actions each situation's most likely one lies, -1 if it has none."""
    order = np.lexsort((-np.arange(len(readouts.probabilities)), readouts.probabilities, readouts.owner))
    last = np.full(len(readouts), -1)
    last[readouts.owner[order]] = order
    return last
