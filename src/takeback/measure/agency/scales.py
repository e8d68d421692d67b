"""The same pursuit with utilities on other scales, since how large a share is hangs on the scale.

A tilt exp(βU) says that an outcome is sought the harder, the larger its utility is. Whoever only seeks better
outcomes, however much better they are, is told by ranks; who takes the best of several draws, by best-of-n.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from takeback.measure.outcomes import Outcomes
from takeback.run.stats import ratio_terms

Floats = NDArray[np.float64]

MOST: Final = 12.0
"""The largest |log n| that is fitted: best of 160,000 draws."""
_STEP: Final = 1e-4


def by_rank(outcomes: Outcomes) -> Outcomes:
    """Return the same outcomes with ranks of the first goal's utility: base's mass below, and half of equals.

    It is in (0, 1) and is 1/2 on average under base, whatever the utilities are.

    >>> import numpy as np
    >>> one = np.array([[0.5, 0.25, 0.25]])
    >>> below, equal = masses(one, np.array([[0.0, 3.0, 3.0]]))
    >>> below + equal / 2
    array([[0.25, 0.75, 0.75]])
    """
    below, equal = masses(outcomes.base, outcomes.utility)
    ranks = np.where(outcomes.exists, below + equal / 2, 0.0)
    return replace(outcomes, goals=outcomes.goals[:1], utilities=ranks[None])


def masses(base: Floats, utility: Floats) -> tuple[Floats, Floats]:
    """Return base's mass of outcomes of less utility than each, and of the same; shapes (m, k)."""
    exists = base > 0
    level = np.where(exists, utility, np.inf)
    order = np.argsort(level, axis=1, kind="stable")
    mass, level = (np.take_along_axis(one, order, axis=1) for one in (base, level))
    total = np.cumsum(mass, axis=1)
    starts = np.concatenate([np.ones((len(base), 1), bool), level[:, 1:] != level[:, :-1]], axis=1)
    before = np.concatenate([np.zeros((len(base), 1)), total[:, :-1]], axis=1)
    below = np.maximum.accumulate(np.where(starts, before, 0.0), axis=1)
    ends = np.concatenate([starts[:, 1:], np.ones((len(base), 1), bool)], axis=1)
    upto = np.minimum.accumulate(np.where(ends, total, np.inf)[:, ::-1], axis=1)[:, ::-1]
    back = np.argsort(order, axis=1, kind="stable")
    return np.take_along_axis(below, back, axis=1), np.take_along_axis(upto - below, back, axis=1)


def best_of(outcomes: Outcomes) -> Callable[[float], Floats]:
    """Return what the tilt of base toward the best of n draws gains on tuned, by log n, in nats; (m,).

    The best of n draws has the density (F^n − F₋^n) / (F − F₋) over base, where F is base's mass up to an
    outcome's utility and F₋ below it (Beirami et al. 2024, arXiv 2401.01879); n need not be whole. A negative
    log n takes the worst of as many. It gains E_π log of that.
    """
    below, equal = masses(outcomes.base, outcomes.utility)
    exists = outcomes.exists
    above = np.clip(1 - below - equal, 0.0, 1.0)

    def gains(log_n: float) -> Floats:
        n, low = float(np.exp(abs(log_n))), below if log_n >= 0 else above
        with np.errstate(divide="ignore", invalid="ignore"):
            density = ((low + equal) ** n - low**n) / equal
        logs = np.log(np.where(exists, np.maximum(density, np.finfo(np.float64).tiny), 1.0))
        return (outcomes.tuned * np.where(exists, logs, 0.0)).sum(axis=1)

    return gains


def best_of_share(outcomes: Outcomes, seed: int = 0) -> Floats | None:
    """Return each situation's part of the share of tuned's change that best-of-n explains, with sign; (m,).

    n is fitted on each half of the situations and read on the other, as β is in `pursuit`; the mean of the
    parts is the share, positive for the best of n, negative for the worst. None with one cluster.
    """
    half, gains = outcomes.halves(seed), best_of(outcomes)
    if not half.any():
        return None
    fitted = [_fit(gains, half == side) for side in (0, 1)]
    turned = np.zeros(len(outcomes))
    for side in (0, 1):
        own, other = half == side, half != side
        here, across = fitted[side], fitted[1 - side]
        turned[own] += np.sign(across) * gains(across)[own]
        ahead, at, behind = (gains(here + step) for step in (_STEP, 0.0, -_STEP))
        slope, bend = (ahead - behind) / (2 * _STEP), (ahead - 2 * at + behind)[own].sum() / _STEP**2
        if bend < 0 and abs(here) < MOST:
            turned[own] += np.sign(here) * slope[own] * slope[other].sum() / -bend
    return ratio_terms(turned, outcomes.divergence)


def _fit(gains: Callable[[float], Floats], some: NDArray[np.bool_]) -> float:
    """Return the log n whose tilt gains most in some situations, 0 where none gains."""
    best, most = 0.0, 0.0
    for ends in ((-MOST, 0.0), (0.0, MOST)):
        found: Any = minimize_scalar(lambda x: -float(gains(x)[some].mean()), bounds=ends, method="bounded")
        if -found.fun > most:
            best, most = float(found.x), -float(found.fun)
    return best
