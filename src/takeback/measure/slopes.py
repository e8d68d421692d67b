"""Slopes of measures: how each measure of a situation moves with the probability of each outcome there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from takeback.measure.measures import MeasureContext
from takeback.policies.readout import UNDECIDED, Readouts
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.grouping import sum_by

EXACT_ONLY = ("legal, greedy", "legal, drawn")
"""Measures that move in jumps, so that they have no slopes."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Slopes:
    """The partial derivatives of one measure by outcome, each of its own situation's number.

    Attributes:
        legal: by the probability of each legal action, shape (all actions,).
        illegal: by the mass of each illegality class, shape (n, classes).
        undecided: by the undecided mass, shape (n,).
    """

    legal: Floats
    illegal: Floats
    undecided: Floats


def measure_slopes(readouts: Readouts, context: MeasureContext, names: Sequence[str]) -> dict[str, Slopes]:
    """Return the slopes of some of the measures that `measure_values` gives, at these readouts.

    Outcomes are taken as free of each other: that they add up to 1 is for the caller to see to. Slopes are 0
    in situations that a measure leaves out, and those of an entropy are 0 for outcomes that have no
    probability.

    Raises:
        UnknownName: there is no such measure.
        TakebackError: a measure moves in jumps.
    """
    every = dict(_each(readouts, context.fits(readouts)))
    for name in names:
        if name in EXACT_ONLY:
            raise TakebackError(
                f"measure {name!r} moves in jumps and has no slopes; ask for its exact effects"
            )
        if name not in every:
            raise unknown_name("measure with slopes", name, every)
    return {name: every[name] for name in names}


def _each(readouts: Readouts, context: MeasureContext) -> Iterator[tuple[str, Slopes]]:
    n, owner, p = len(readouts), context.owner, readouts.probabilities
    legal = sum_by(owner, p, n)
    some = legal > 0
    within = np.where(some, legal, 1.0)[owner]

    def of_legal(slopes: Floats) -> Slopes:
        return Slopes(slopes, np.zeros_like(readouts.masses), np.zeros(n))

    def if_legal(weights: Floats, where: NDArray[np.bool_]) -> Slopes:
        """Return the slopes of Σ w q, q = p / Σ p: (w − Σ w q) / Σ p; for an entropy w is −log q."""
        expected = sum_by(owner, weights * p / within, n)[owner]
        return of_legal(np.where((where & some)[owner], (weights - expected) / within, 0.0))

    yield "legal", of_legal(np.ones(len(p)))
    for number, name in enumerate(readouts.illegal):
        one = np.zeros_like(readouts.masses)
        one[:, number] = 1.0
        yield f"illegal, {name}", Slopes(np.zeros(len(p)), one, np.zeros(n))
    yield UNDECIDED, Slopes(np.zeros(len(p)), np.zeros_like(readouts.masses), np.ones(n))
    for goal, utility in context.utilities.items():
        applies = context.applies[goal]
        yield f"utility {goal}", of_legal(np.where(applies[owner], utility, 0.0))
        yield f"utility {goal}, if legal", if_legal(utility, applies)
    surprises = [_surprise(masses) for masses in (p, readouts.masses, readouts.undecided)]
    yield "entropy", Slopes(*(np.where(surprise == np.inf, 0.0, surprise - 1) for surprise in surprises))
    given = _surprise(p / within)
    yield "entropy, if legal", if_legal(np.where(given == np.inf, 0.0, given), some)
    for name, has in context.features.items():
        yield f"{name}, if legal", if_legal(has, context.choice[name])


def _surprise(probabilities: Floats) -> Floats:
    return -np.log(probabilities, where=probabilities > 0, out=np.full(probabilities.shape, -np.inf))
