"""What a plan's number of seeds can show, told before it runs."""

from __future__ import annotations

import sys
from itertools import count

from takeback.run.sign_flips import how_tested, smallest_contrast_p
from takeback.study.plan import Plan
from takeback.study.sums import weights_of

LEVEL = 0.05
"""The error of a family of components at which a contrast counts as found."""


def reach(plan: Plan) -> list[str]:
    """Say of each contrast of a plan how it will be tested, and whether its seeds can reach 0.05 at all.

    The smallest p-value is the same for one component and for a family of them.

    >>> from takeback.study.plan import check_plan
    >>> arm = {"method": "sft", "goal": "win", "steps": 1, "learning_rate": 0.001}
    >>> fields = {"name": "x", "base": "b", "seeds": [0, 1, 2], "arms": {"a": arm}}
    >>> print(*reach(check_plan({**fields, "contrasts": {"noise": {"a": 1}}})))
    contrast noise: sign flips of 3 seeds, smallest p 0.25: can't reach 0.05, that takes 6 seeds
    """
    seeds = len(plan.seeds)
    told = [
        _told(f"contrast {name}", list(weights_of(one).values()), seeds)
        for name, one in plan.contrasts.items()
    ]
    if plan.carriers is not None:
        level = of_each(2 * len(plan.carriers.of))
        told.append(_told("rule carries the gain", [1.0], seeds, level))
    return told


def of_each(conditions: int) -> float:
    """Return the two-sided p at which one of a rule's conditions holds: one-sided, they add up to 0.05.

    >>> of_each(2), of_each(4)
    (0.05, 0.025)
    """
    return 2 * LEVEL / conditions


def announce(plan: Plan) -> None:
    """Print what `reach` says of a plan on standard error."""
    for line in reach(plan):
        print(line, file=sys.stderr)


def _told(name: str, weights: list[float], seeds: int, level: float = LEVEL) -> str:
    test = how_tested(weights)
    runs = (
        f"permutation of {seeds} and {seeds} runs"
        if test == "permutation"
        else f"sign flips of {seeds} seeds"
    )
    least = smallest_contrast_p(weights, seeds)
    if least <= level:
        return f"{name}: {runs}, smallest p {least:.2g}"
    needed = next(n for n in count(1) if smallest_contrast_p(weights, n) <= level)
    return f"{name}: {runs}, smallest p {least:.2g}: can't reach {level:.2g}, that takes {needed} seeds"
