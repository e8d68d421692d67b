"""Pursuit of a reward where answers can't be enumerated: estimated from what each side drew itself.

No importance weight takes part, so it holds for answers of any length. What E_π₀ exp(βR) is, is known only
from base's k answers to a prompt, so that β is held to where these can tell it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from takeback.measure.measure import MeasureContext
from takeback.measure.outcomes import halves_of
from takeback.policies.answers import AnswerReadouts
from takeback.run.errors import TakebackError
from takeback.run.grouping import sum_by

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

SPREAD: Final = 1.0
"""Most squared coefficient of variation of exp(βR) among base's answers, about each prompt's mean reward."""

FAR: Final = 50.0
"""Most of β times the range of the rewards."""

SAME: Final = 1e-3
"""Nats by which the log-probability of an own answer may be another when it is read again."""

_ROUNDS: Final = 60


@dataclass(frozen=True, eq=False)
class PoolTilt:
    """What the tilts of base by exp(βR) gain on tuned in each prompt, at one β a prompt; all shape (m,).

    Attributes:
        gain: β E_π R − log E_π₀ exp(βR) in nats, the bias of the logarithm taken off.
        bias: how much that was: half the squared standard error of base's mean of exp(βR), relative to it.
        slope: how fast the gain without that grows with β.
        curvature: how fast the slope falls.
    """

    gain: Floats
    bias: Floats
    slope: Floats
    curvature: Floats


@dataclass(frozen=True, eq=False)
class PoolDraws:
    """What base and tuned drew in the m prompts in which a reward applies.

    Attributes:
        base: the rewards of base's answers, end to end.
        owner: the prompt of each.
        tuned: the mean reward of tuned's answers, shape (m,).
        divergence: the mean over tuned's answers of log π − log π₀ in nats, shape (m,); it may be negative.
        clusters: each prompt's cluster.
        texts: what tables call each prompt.
    """

    base: Floats
    owner: Places
    tuned: Floats
    divergence: Floats
    clusters: Places
    texts: tuple[str, ...]

    @classmethod
    def of(
        cls, before: AnswerReadouts, after: AnswerReadouts, context: MeasureContext, goal: str
    ) -> PoolDraws:
        """Lay out what two policies drew themselves; see `drew`.

        Raises:
            TakebackError: one of them drew no answers.
        """
        sides = drew(before), drew(after)
        if sides[0] is None or sides[1] is None:
            raise TakebackError("pursuit is estimated from each side's own answers, and one drew none")
        n, applies = len(before), context.applies[goal]
        numbers = np.cumsum(applies) - 1
        first, second = ((before.sides == side) & applies[context.owner] for side in sides)
        worth, counts = context.utilities[goal], np.bincount(context.owner[second], minlength=n)

        def mean(values: Floats) -> Floats:
            return sum_by(context.owner[second], values[second], n)[applies] / counts[applies]

        return cls(
            worth[first],
            numbers[context.owner[first]],
            mean(worth),
            mean(after.logprobs - before.logprobs),
            context.clusters[applies],
            tuple(np.array(before.situations, dtype=object)[applies]),
        )

    def __len__(self) -> int:
        return len(self.tuned)

    def halves(self, seed: int) -> Places:
        """Split the prompts in two halves, 0 and 1, by whole clusters; shape (m,)."""
        return halves_of(self.texts, self.clusters, seed)

    def some(self, kept: NDArray[np.bool_]) -> PoolDraws:
        """Return what was drawn in some of the prompts."""
        mine = kept[self.owner]
        return replace(
            self,
            base=self.base[mine],
            owner=(np.cumsum(kept) - 1)[self.owner[mine]],
            tuned=self.tuned[kept],
            divergence=self.divergence[kept],
            clusters=self.clusters[kept],
            texts=tuple(np.array(self.texts, dtype=object)[kept]),
        )

    def tilt(self, beta: Floats) -> PoolTilt:
        """Tilt base in each prompt by its β, shape (m,)."""
        m, owner = len(self), self.owner
        scaled = beta[owner] * self.base
        top = np.full(m, -np.inf)
        np.maximum.at(top, owner, scaled)
        weights = np.exp(scaled - top[owner])
        count, total = np.bincount(owner, minlength=m), sum_by(owner, weights, m)
        mean = sum_by(owner, weights * self.base, m) / total
        curvature = sum_by(owner, weights * (self.base - mean[owner]) ** 2, m) / total
        average = total / count
        squares = sum_by(owner, (weights - average[owner]) ** 2, m) / np.maximum(count - 1, 1)
        bias = squares / count / average**2 / 2
        gain = beta * self.tuned - (np.log(average) + top) - bias
        return PoolTilt(gain, bias, self.tuned - mean, curvature)

    def reach(self) -> tuple[float, float]:
        """Return the least and the greatest β that base's answers can tell; see `SPREAD`."""
        means = sum_by(self.owner, self.base, len(self)) / np.bincount(self.owner, minlength=len(self))
        centred = self.base - means[self.owner]
        width = float(np.ptp(self.base)) if len(self.base) else 0.0
        if width == 0 or not centred.any():
            return 0.0, 0.0

        def spread(beta: float) -> float:
            weights = np.exp(beta * centred - (beta * centred).max())
            return float(weights.var() / weights.mean() ** 2) - SPREAD

        ends = (_last_below(spread, sign * FAR / width) for sign in (-1, 1))
        low, high = ends
        return low, high

    def fit(self) -> tuple[float, bool]:
        """Return the β whose tilt gains most, one for all prompts, and whether it is held at an end."""
        low, high = self.reach()

        def slope(beta: float) -> float:
            return float(self.tilt(np.full(len(self), beta)).slope.sum())

        if not len(self) or low == high or slope(0.0) == 0:
            return 0.0, low == high
        end = high if slope(0.0) > 0 else low
        if slope(end) * slope(0.0) >= 0:
            return end, True
        inner, outer = 0.0, end
        for _ in range(_ROUNDS):
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if slope(middle) * slope(0.0) > 0 else (inner, middle)
        return (inner + outer) / 2, False


def drew(readouts: AnswerReadouts) -> str | None:
    """Return the side that a policy is: whose answers have the log-probability that it gives them."""
    for side in dict.fromkeys(readouts.sides[readouts.drawn].tolist()):
        mine = readouts.sides == side
        if np.abs(readouts.own[mine] - readouts.logprobs[mine]).max() <= SAME:
            return str(side)
    return None


def _last_below(function: Callable[[float], float], end: float) -> float:
    """Return the place between 0 and an end up to which a growing function is at most 0."""
    if function(end) <= 0:
        return end
    inner, outer = 0.0, end
    for _ in range(_ROUNDS):
        middle = (inner + outer) / 2
        inner, outer = (middle, outer) if function(middle) <= 0 else (inner, middle)
    return inner
