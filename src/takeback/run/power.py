"""What a null result rules out, and what could have been seen: bounds and the smallest effect with power."""

from __future__ import annotations

import math
from typing import Any

from scipy import optimize, special

from takeback.run.errors import TakebackError
from takeback.run.stats import Estimate

POWER = 0.8
"""How often the smallest effect that could have been seen is seen."""


def bound(found: Estimate) -> float | None:
    """Return the size of the largest effect that an interval does not rule out: its end farther from 0.

    An effect that is larger, to either side, is rejected at 2.5%: two one-sided tests (Schuirmann 1987, "A
    comparison of the two one-sided tests procedure", J. Pharmacokinetics and Biopharmaceutics 15; Lakens
    2017, "Equivalence tests", Social Psychological and Personality Science 8). At 5% these go with the 90%
    interval, which is narrower; the end of the 95% interval is taken since that is the one that stands
    beside. The largest of many components' bounds is one for all of them at once, and needs no correction:
    it is at least that of the component with the largest true effect (intersection-union; Berger 1982).

    >>> bound(Estimate(-0.1, 0.1, -0.3, 0.1, 8, 8)), bound(Estimate(0.1, None, None, None, 1, 1))
    (0.3, None)
    """
    if found.low is None or found.high is None:
        return None
    return max(abs(found.low), abs(found.high))


def noncentrality(freedom: float, critical: float, power: float = POWER) -> float:
    """Return the effect, in standard errors, that gets Student's |t| beyond `critical` with the power wanted.

    P(|t| > critical) = power, for t noncentral with `freedom` degrees of freedom (Cohen 1988, "Statistical
    power analysis", 2nd ed.).

    >>> round(noncentrality(7, special.stdtrit(7, 0.975)), 3)  # 8 runs of one arm: 1.16 standard deviations
    3.27

    Raises:
        TakebackError: no degree of freedom, a critical value below 0, or a power outside (0, 1).
    """
    if freedom <= 0 or not 0 <= critical < math.inf or not 0 < power < 1:
        raise TakebackError(
            f"power {power} beyond t = {critical} with {freedom} degrees of freedom; give a power between 0 "
            "and 1, t of 0 or more, and a degree of freedom or more"
        )

    def spare(effect: float) -> float:
        """Return by how much an effect has more power than is wanted."""
        below = float(special.nctdtr(freedom, effect, -critical))
        below = 0.0 if math.isnan(below) else below  # too small to be told
        return 1 - float(special.nctdtr(freedom, effect, critical)) + below - power

    if spare(0.0) >= 0:
        return 0.0
    high = critical + 1
    while spare(high) < 0:
        high *= 2
    root: Any = optimize.brentq(spare, 0.0, high, xtol=1e-9)
    return float(root)
