"""Distances between two policies in every situation, and the outcomes that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from takeback.measure.measure import Floats, Measure, MeasureContext
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError
from takeback.run.grouping import sum_by

FLOOR = 1e-12
"""Least probability of an outcome in a divergence, so that underflow can't make it infinite."""

Distance = Callable[[Readouts, Readouts], Floats]
"""From two policies' readouts, before and after, a number for each situation, shape (n,)."""


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
    return {measure.name: distance(before, after) for measure, distance in _DISTANCES.items()}


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
    shares = np.where(total > 0, both / np.where(total > 0, total, 1), 1 / max(both.shape[1], 1))

    def side(readouts: Readouts) -> Floats:
        illegal = readouts.masses + readouts.undecided[:, None] * shares
        return np.concatenate([readouts.probabilities, illegal.reshape(-1)])

    return side(before), side(after)


def _owner(readouts: Readouts) -> NDArray[np.int64]:
    """Return the situation of each number of a side of `partition`."""
    n, classes = readouts.masses.shape
    return np.concatenate([readouts.owner, np.repeat(np.arange(n), classes)])


def _from(of: Readouts, left: Floats, right: Floats) -> Floats:
    """Return the divergence of one side of `partition` from another."""
    return np.maximum(sum_by(_owner(of), rel_entr(left, np.maximum(right, FLOOR)), len(of)), 0)


def _kl(before: Readouts, after: Readouts) -> Floats:
    p, q = partition(before, after)
    return _from(before, q, p)


def _reverse_kl(before: Readouts, after: Readouts) -> Floats:
    p, q = partition(before, after)
    return _from(before, p, q)


def _jensen_shannon(before: Readouts, after: Readouts) -> Floats:
    p, q = partition(before, after)
    middle = (p + q) / 2
    return (_from(before, p, middle) + _from(before, q, middle)) / 2


def total_variation(before: Readouts, after: Readouts) -> Floats:
    """Return how much probability moved over legal actions and kinds of illegal answers, shape (n,).

    Raises:
        TakebackError: the readouts are of different situations.
    """
    check_same_situations(before, after)
    p, q = partition(before, after)
    return sum_by(_owner(before), np.abs(p - q), len(before)) / 2


def _top_changed(before: Readouts, after: Readouts) -> Floats:
    return (_top(before) != _top(after)).astype(np.float64)


def _top(readouts: Readouts) -> NDArray[np.int64]:
    """Return where among all actions each situation's most likely one lies, -1 if it has none."""
    order = np.lexsort((-np.arange(len(readouts.probabilities)), readouts.probabilities, readouts.owner))
    last = np.full(len(readouts), -1)
    last[readouts.owner[order]] = order
    return last


def _measure(name: str, words: str, distance: Distance, **facts: Any) -> Measure:
    def numbers(readouts: Readouts, context: MeasureContext) -> Floats:
        if context.before is None:
            raise TakebackError(f"measure {name!r} is a distance from another policy; say from which")
        check_same_situations(context.before, readouts)
        return distance(context.before, readouts)

    return Measure(name, words, numbers, "divergence", **facts)


_OVER = "over legal actions and kinds of illegal answers"

KL = _measure("KL(after || before)", f"divergence from the other policy {_OVER}, in nats", _kl)
REVERSE_KL = _measure(
    "KL(before || after)", f"divergence of the other policy from it {_OVER}, in nats", _reverse_kl
)
JENSEN_SHANNON = _measure(
    "Jensen-Shannon", f"distance from the other policy {_OVER}, in nats", _jensen_shannon
)
TOTAL_VARIATION = _measure(
    "total variation", f"probability moved since the other policy, {_OVER}", total_variation
)
TOP_CHANGED = _measure(
    "top move changed",
    "whether the likeliest legal action became another",
    _top_changed,
    jumps=True,
    unsorted=1.0,
)

_DISTANCES = {
    KL: _kl,
    REVERSE_KL: _reverse_kl,
    JENSEN_SHANNON: _jensen_shannon,
    TOTAL_VARIATION: total_variation,
    TOP_CHANGED: _top_changed,
}
DIVERGENCES = tuple(_DISTANCES)
"""Measures of one policy relative to another, its context's `before`."""
