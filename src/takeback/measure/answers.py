"""The measures of listed answers: what they are worth, how likely they are, how far a policy went."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np

from takeback.arenas.listed import GIVEN
from takeback.arenas.lm_eval import EvalTasks
from takeback.arenas.rows import OpenRows, PooledRows
from takeback.measure.measure import Floats, Measure, MeasureContext, Values
from takeback.measure.standard import ENTROPY, utility
from takeback.measure.tasks import task_measures
from takeback.policies.answers import AnswerReadouts
from takeback.policies.readout import Readouts
from takeback.run.grouping import sum_by

SIDES: Final = ("base", "tuned")
"""Who draws the answers of a pool."""

Of = Callable[[AnswerReadouts, MeasureContext], Floats]
"""From readouts of listed answers a number for each situation, shape (n,); NaN where it does not apply."""


def answer_measures(arena: Any) -> tuple[Measure, ...]:
    """Return the measures of an arena that lists its answers, or will once a pool is drawn, in order.

    The kinds of answers of an open arena are known once they are drawn.
    """
    if isinstance(arena, PooledRows):
        given = any(answer.side == GIVEN for one in arena.members for answer in one.answers)
        return _of_pools(tuple(arena.goals), arena.kinds_drawn, arena.sides, given)
    if isinstance(arena, OpenRows):
        return _of_pools(tuple(arena.goals), (), SIDES, True)
    if isinstance(arena, EvalTasks):
        smooth = [measure for goal in arena.goals for measure in (utility(goal), margin(goal))]
        return (*task_measures(arena), *smooth, *([ENTROPY] if smooth else []))
    return _of_choices(tuple(arena.goals))


@cache
def _of_choices(goals: tuple[str, ...]) -> tuple[Measure, ...]:
    each = [measure for goal in goals for measure in (utility(goal), likeliest(goal), margin(goal))]
    return (*each, ENTROPY, CHOICES)


@cache
def _of_pools(
    goals: tuple[str, ...], kinds: tuple[str, ...], sides: tuple[str, ...], given: bool
) -> tuple[Measure, ...]:
    each = [measure for goal in goals for measure in (utility(goal), margin(goal))]
    each += [kind_share(kind) for kind in kinds]
    far = [_from_side(side, per_token) for side in sides for per_token in (False, True)]
    far = far if len(sides) > 1 else []
    return (*each, LENGTH, *far, *([REFERENCE] if given else []), EFFECTIVE)


def margin(goal: str) -> Measure:
    """Return the reward margin: the mean over a situation's answers of (reward − their mean) × log p(answer).

    It has no weights, so it holds where importance weights degenerate, and its slopes are constant.

    >>> margin("right").name
    'margin right'
    """

    def numbers(readouts: AnswerReadouts, context: MeasureContext) -> Floats:
        kept, n = _counted(readouts), len(readouts)
        count = sum_by(context.owner, kept, n)
        worth = context.utilities[goal]
        centred = worth - (sum_by(context.owner, worth * kept, n) / count)[context.owner]
        told = sum_by(context.owner, kept * centred * readouts.logprobs, n) / count
        return np.where(context.applies[goal], told, np.nan)

    words = f"mean over listed answers of (reward {goal} − their mean) × log-probability, in nats"
    return _measure(f"margin {goal}", words, numbers)


def likeliest(goal: str) -> Measure:
    """Return what the likeliest choice is worth: with the goal `right`, accuracy."""

    def numbers(readouts: AnswerReadouts, context: MeasureContext) -> Floats:
        starts = np.cumsum(np.bincount(context.owner, minlength=len(readouts)))
        first = np.concatenate([[0], starts[:-1]])
        return np.where(context.applies[goal], context.utilities[goal][first + readouts.greedy], np.nan)

    words = f"what the likeliest choice is worth by {goal}: of the right one, accuracy"
    return _measure(f"utility {goal}, likeliest", words, numbers, jumps=True, role="share")


def kind_share(kind: str) -> Measure:
    """Return the share of answers that are of a kind, estimated from the pool."""

    def numbers(readouts: AnswerReadouts, context: MeasureContext) -> Floats:
        return context.sums(readouts.probabilities * context.of_kind(kind))

    return _measure(
        f"kind, {kind}", f"share of answers of the kind {kind!r}", numbers, role="share", kind=kind
    )


def kind_of(name: str) -> str | None:
    """Return the kind that a measure of this name is the share of, None where it is another measure's name.

    >>> kind_of("kind, cut off"), kind_of("length")
    ('cut off', None)
    """
    share, comma, kind = name.partition(", ")
    return kind if share == "kind" and comma and kind else None


def _from_side(side: str, per_token: bool) -> Measure:
    """Return the divergence of a policy from the side that drew answers, on that side's answers alone."""

    def numbers(readouts: AnswerReadouts, context: MeasureContext) -> Floats:
        kept = (readouts.sides == side).astype(np.float64)
        far = sum_by(context.owner, kept * (readouts.own - readouts.logprobs), len(readouts))
        under = sum_by(context.owner, kept * (readouts.tokens if per_token else 1), len(readouts))
        return np.where(under > 0, far / np.where(under > 0, under, 1), np.nan)

    unit = "token" if per_token else "answer"
    words = f"mean of log p({side}) − log p(it) over the answers of {side}, in nats per {unit}"
    name = f"KL({side} || it)" + (", per token" if per_token else "")
    return _measure(name, words, numbers)


def _measure(name: str, words: str, numbers: Of, **facts: Any) -> Measure:
    def of(readouts: Readouts, context: MeasureContext) -> Values:
        assert isinstance(readouts, AnswerReadouts)
        found = numbers(readouts, context)
        return Values(np.nan_to_num(found), np.isfinite(found))

    return Measure(name, words, of, unsorted=1.0, **facts)


def _counted(readouts: AnswerReadouts) -> Floats:
    """Return 1 for answers that count: drawn ones, or all where none was drawn."""
    drawn = readouts.drawn
    return (drawn if drawn.any() else np.ones(len(drawn))).astype(np.float64)


def _mass(readouts: AnswerReadouts, context: MeasureContext) -> Floats:
    return context.sums(np.exp(readouts.logprobs))


def _length(readouts: AnswerReadouts, context: MeasureContext) -> Floats:
    return context.sums(readouts.probabilities * readouts.tokens)


def _reference(readouts: AnswerReadouts, context: MeasureContext) -> Floats:
    given = (readouts.sides == GIVEN).astype(np.float64)
    count = context.sums(given)
    return np.where(
        count > 0, context.sums(given * readouts.logprobs) / np.where(count > 0, count, 1), np.nan
    )


CHOICES = _measure(
    "mass of choices", "probability that an answer begins with one of the choices", _mass, role="share"
)
LENGTH = _measure("length", "length of answers, in tokens", _length)
REFERENCE = _measure("log p(reference)", "log-probability of the reference answer, in nats", _reference)
EFFECTIVE = _measure(
    "effective sample size",
    "share of the pool's answers that its importance weights leave",
    lambda readouts, _: readouts.effective(),
    role="share",
)
