"""The measures that every arena has: of legality, kinds of illegal answers, goals, spread, and features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from scipy.special import entr

from takeback.measure.measure import Bools, Floats, Measure, MeasureContext, Slopes, Values, if_legal
from takeback.policies.readout import UNDECIDED, Readouts

Weights = Callable[[MeasureContext], tuple[Floats, Bools]]
"""From a context a number for each legal action, shape (actions,), and the situations it is for, (n,)."""


@cache
def standard(
    kinds: tuple[str, ...], goals: tuple[str, ...], features: tuple[str, ...]
) -> tuple[Measure, ...]:
    """Return the measures of an arena with these kinds of illegal answers, goals and features, in order."""
    return tuple(_each(kinds, goals, features))


def _each(kinds: tuple[str, ...], goals: tuple[str, ...], features: tuple[str, ...]) -> Iterator[Measure]:
    yield LEGAL
    yield from _JUMPING
    yield from map(illegal, kinds)
    yield _UNDECIDED
    for goal in goals:
        yield utility(goal)
        yield utility(goal, given_legal=True)
    yield ENTROPY
    yield _ENTROPY_IF_LEGAL
    yield from map(_feature, features)


def utility(goal: str, given_legal: bool = False) -> Measure:
    """Return the expected utility of a goal: illegal answers count 0, or it is given a legal answer.

    >>> utility("win").name, utility("win", given_legal=True).name
    ('utility win', 'utility win, if legal')
    """

    def weights(context: MeasureContext) -> tuple[Floats, Bools]:
        return context.utilities[goal], context.applies[goal]

    def numbers(readouts: Readouts, context: MeasureContext) -> Values:
        worth, applies = weights(context)
        return Values(context.sums(readouts.probabilities * worth), applies)

    def slopes(readouts: Readouts, context: MeasureContext) -> Slopes:
        worth, applies = weights(context)
        return _by_legal(readouts, np.where(applies[context.owner], worth, 0.0))

    name, words = f"utility {goal}", f"expected utility of the goal {goal}"
    if given_legal:
        return _mean_of_legal(name, words, weights, role="utility", goal=goal, whole=name)
    words += "; illegal answers count 0"
    return Measure(name, words, numbers, "utility", slopes, unsorted=1.0, goal=goal)


def illegal(kind: str) -> Measure:
    """Return the mass of a kind of illegal answers."""

    def numbers(readouts: Readouts, _: MeasureContext) -> Values:
        return Values.everywhere(readouts.masses[:, readouts.illegal.index(kind)])

    def slopes(readouts: Readouts, _: MeasureContext) -> Slopes:
        one = np.zeros_like(readouts.masses)
        one[:, readouts.illegal.index(kind)] = 1.0
        return Slopes(np.zeros(len(readouts.probabilities)), one, np.zeros(len(readouts)))

    words = f"mass of illegal answers of the kind {kind!r}"
    return Measure(f"illegal, {kind}", words, numbers, "share", slopes, kind=kind)


def _feature(name: str) -> Measure:
    words = f"share of answers with the feature {name!r}, where some legal actions have it and some have not"

    def weights(context: MeasureContext) -> tuple[Floats, Bools]:
        return context.features[name], context.choice[name]

    return _mean_of_legal(name, words, weights, role="share", feature=name)


def _mean_of_legal(name: str, words: str, weights: Weights, **facts: Any) -> Measure:
    """Return the mean of weights over legal actions, given a legal answer."""

    def numbers(readouts: Readouts, context: MeasureContext) -> Values:
        (worth, where), (given, some) = weights(context), _given(readouts, context)
        return Values(context.sums(given * worth), where & some)

    def slopes(readouts: Readouts, context: MeasureContext) -> Slopes:
        return _slopes_if_legal(readouts, context, *weights(context))

    return Measure(
        if_legal(name),
        f"{words}, given a legal answer",
        numbers,
        slopes=slopes,
        unsorted=1.0,
        if_legal=True,
        **facts,
    )


def _given(readouts: Readouts, context: MeasureContext) -> tuple[Floats, Bools]:
    """Return the probability of each action given a legal answer, and where there is any legal mass."""
    legal = context.sums(readouts.probabilities)
    some = legal > 0
    return readouts.probabilities / np.where(some, legal, 1.0)[context.owner], some


def _by_legal(readouts: Readouts, slopes: Floats) -> Slopes:
    return Slopes(slopes, np.zeros_like(readouts.masses), np.zeros(len(readouts)))


def _slopes_if_legal(readouts: Readouts, context: MeasureContext, weights: Floats, where: Bools) -> Slopes:
    """Return the slopes of Σ w q, q = p / Σ p: (w − Σ w q) / Σ p; for an entropy w is −log q."""
    owner, p = context.owner, readouts.probabilities
    legal = context.sums(p)
    some = legal > 0
    within = np.where(some, legal, 1.0)[owner]
    expected = context.sums(weights * p / within)[owner]
    return _by_legal(readouts, np.where((where & some)[owner], (weights - expected) / within, 0.0))


def _legal(readouts: Readouts, context: MeasureContext) -> Values:
    return Values.everywhere(context.sums(readouts.probabilities))


def _legal_slopes(readouts: Readouts, _: MeasureContext) -> Slopes:
    return _by_legal(readouts, np.ones(len(readouts.probabilities)))


def _undecided_slopes(readouts: Readouts, _: MeasureContext) -> Slopes:
    nothing = np.zeros(len(readouts.probabilities))
    return Slopes(nothing, np.zeros_like(readouts.masses), np.ones(len(readouts)))


def _entropy(readouts: Readouts, context: MeasureContext) -> Values:
    rest = entr(readouts.masses).sum(axis=1) + entr(readouts.undecided)
    return Values.everywhere(context.sums(entr(readouts.probabilities)) + rest)


def _entropy_slopes(readouts: Readouts, _: MeasureContext) -> Slopes:
    outcomes = (readouts.probabilities, readouts.masses, readouts.undecided)
    surprises = map(_surprise, outcomes)
    return Slopes(*(np.where(surprise == np.inf, 0.0, surprise - 1) for surprise in surprises))


def _entropy_if_legal(readouts: Readouts, context: MeasureContext) -> Values:
    given, some = _given(readouts, context)
    return Values(context.sums(entr(given)), some)


def _entropy_if_legal_slopes(readouts: Readouts, context: MeasureContext) -> Slopes:
    given, some = _given(readouts, context)
    surprise = _surprise(given)
    return _slopes_if_legal(readouts, context, np.where(surprise == np.inf, 0.0, surprise), some)


def _surprise(probabilities: Floats) -> Floats:
    return -np.log(probabilities, where=probabilities > 0, out=np.full(probabilities.shape, -np.inf))


LEGAL = Measure("legal", "mass of legal answers", _legal, "share", _legal_slopes, unsorted=1.0)

_JUMPING = (
    Measure(
        "legal, greedy",
        "whether the answer of greedy decoding is legal",
        lambda readouts, _: Values.everywhere(readouts.greedy >= 0),
        "share",
        jumps=True,
        unsorted=1.0,
    ),
    Measure(
        "legal, drawn",
        "share of seeded random answers that are legal",
        lambda readouts, _: Values.everywhere(readouts.drawn_legal),
        "share",
        jumps=True,
        unsorted=1.0,
    ),
)

_UNDECIDED = Measure(
    UNDECIDED,
    "mass of illegal answers whose kind is not known",
    lambda readouts, _: Values.everywhere(readouts.undecided),
    "share",
    _undecided_slopes,
    kind=UNDECIDED,
)

ENTROPY = Measure(
    "entropy",
    "entropy over legal actions, kinds of illegal answers and the undecided rest, in nats",
    _entropy,
    slopes=_entropy_slopes,
)

_ENTROPY_IF_LEGAL = Measure(
    if_legal("entropy"),
    "entropy over legal actions, given a legal answer, in nats",
    _entropy_if_legal,
    slopes=_entropy_if_legal_slopes,
    unsorted=1.0,
    if_legal=True,
    whole="entropy",
)
