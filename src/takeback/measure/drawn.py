"""The measures of answers drawn anew: means over a prompt's answers, and how many of them changed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from takeback.arenas.rows.rewards import CUT_OFF
from takeback.measure.measure import Floats, Measure, MeasureContext, Values
from takeback.measure.shift import check_same_situations
from takeback.policies.drawn import DrawnReadouts
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError


@cache
def drawn_measures(rewards: tuple[str, ...]) -> tuple[Measure, ...]:
    """Return the measures of answers drawn anew; other kinds than cut off are known once they are drawn.

    >>> [measure.name for measure in drawn_measures(("short",))]
    ['utility short', 'kind, cut off', 'length', 'answers changed']
    """
    return (*map(drawn_reward, rewards), drawn_share(CUT_OFF), DRAWN_LENGTH, CHANGED)


def drawn_reward(goal: str) -> Measure:
    """Return the mean of a reward over a prompt's answers."""
    return _measure(
        f"utility {goal}",
        f"mean reward {goal} of the answers drawn",
        lambda readouts: readouts.reward(goal),
        role="utility",
        goal=goal,
    )


def drawn_share(kind: str) -> Measure:
    """Return the share of a prompt's answers that are of a kind."""
    return _measure(
        f"kind, {kind}",
        f"share of the answers drawn that are of the kind {kind!r}",
        lambda readouts: readouts.share(kind),
        role="share",
        kind=kind,
    )


def _measure(name: str, words: str, numbers: Callable[[DrawnReadouts], Floats], **facts: Any) -> Measure:
    def of(readouts: Readouts, _: MeasureContext) -> Values:
        assert isinstance(readouts, DrawnReadouts)
        found = numbers(readouts)
        return Values(np.nan_to_num(found), np.isfinite(found))

    return Measure(name, words, of, jumps=True, unsorted=1.0, **facts)


def _changed(readouts: Readouts, context: MeasureContext) -> Floats:
    before = context.before
    if before is None:
        raise TakebackError("measure 'answers changed' is a distance from another policy; say from which")
    assert isinstance(before, DrawnReadouts)
    assert isinstance(readouts, DrawnReadouts)
    return answers_changed(before, readouts)


def answers_changed(before: DrawnReadouts, readouts: DrawnReadouts) -> Floats:
    """Return the share of each prompt's answers, drawn with the same luck, that became another text, (n,).

    Raises:
        TakebackError: the readouts are of different prompts, or of other numbers of answers.
    """
    check_same_situations(before, readouts)
    if before.draws != readouts.draws:
        raise TakebackError(
            f"{before.draws} answers to a prompt against {readouts.draws}; draw as many on both sides"
        )
    return (before.answers != readouts.answers).mean(axis=1)


DRAWN_LENGTH = _measure("length", "length of the answers drawn, in tokens", lambda readouts: readouts.length)
CHANGED = Measure(
    "answers changed",
    "share of the answers drawn that are another text than the other policy's with the same luck",
    _changed,
    "divergence",
    jumps=True,
    unsorted=1.0,
)
