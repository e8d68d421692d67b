"""Weighted sums over arms as a plan writes them, and the arms that the rule of the gain compares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from takeback.run.errors import TakebackError, unknown_name

Weight = float | str
"""A number, or a fraction such as "-1/3"."""

SUM_TIE = 1e-9


class CarrierArms(BaseModel):
    """The arms of the rule *carries the gain*: pairs in order, each with one goal."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    of: Annotated[tuple[str, ...], Field(min_length=1)]
    """The arms whose gain is looked for, one for each trained goal."""
    than: Annotated[tuple[str, ...], Field(min_length=1)]
    """For each a control with the same goal, in the same order."""

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Each arm with its control."""
        return tuple(zip(self.of, self.than, strict=True))


def weight_of(weight: Weight) -> float:
    """Read a weight.

    >>> weight_of("-1/4"), weight_of(0.5), weight_of("1")
    (-0.25, 0.5, 1.0)

    Raises:
        TakebackError: it is no finite number and no fraction, or 0.
    """
    try:
        number = float(Fraction(weight))
    except (ValueError, ZeroDivisionError, OverflowError):
        number = math.nan
    if not number or not math.isfinite(number):
        raise TakebackError(f"weight {weight!r} is no number other than 0; write 0.5, or '-1/3'")
    return number


def weights_of(contrast: Mapping[str, Weight]) -> dict[str, float]:
    """Read a contrast: the weight of each arm.

    >>> weights_of({"rl-win": "1/2", "rl-corner": "1/2", "rft-win": -1})
    {'rl-win': 0.5, 'rl-corner': 0.5, 'rft-win': -1.0}

    Raises:
        TakebackError: a weight is none.
    """
    return {arm: weight_of(weight) for arm, weight in contrast.items()}


def check_contrasts(
    contrasts: Mapping[str, Mapping[str, Weight]], arms: Iterable[str], origin: str = "plan"
) -> None:
    """Refuse contrasts that contrast nothing.

    Weights add up to 0, so that what all arms share cancels. One arm alone is allowed too: it stands against
    what it was trained from, since effects and changes are relative to that.

    Raises:
        UnknownName: an arm is none of the plan's.
        TakebackError: a contrast is empty, a weight is none, or the weights of several arms have a sum.
    """
    known = tuple(arms)
    for name, contrast in contrasts.items():
        for arm in contrast:
            if arm not in known:
                raise unknown_name(f"arm in contrast {name!r}", arm, known)
        total = math.fsum(weights_of(contrast).values())
        if not contrast or (len(contrast) > 1 and abs(total) > SUM_TIE):
            raise TakebackError(
                f"{origin}: the weights of contrast {name!r} add up to {total:g}; they must add up to 0, "
                "unless it names just one arm, which is then held against what it was trained from"
            )


def check_carriers(
    carriers: CarrierArms, arms: Mapping[str, Mapping[str, Any]], origin: str = "plan"
) -> None:
    """Refuse pairs of arms that the rule can't compare.

    Raises:
        UnknownName: an arm is none of the plan's.
        TakebackError: there is not one control for each arm, an arm is named twice, or the goals of a
            pair differ.
    """
    for arm in (*carriers.of, *carriers.than):
        if arm not in arms:
            raise unknown_name("arm in carriers", arm, arms)
    of, than = list(carriers.of), list(carriers.than)
    if len(of) != len(than) or len({*of, *than}) < 2 * len(of):
        raise TakebackError(
            f"{origin}: carriers compares {of} with {than}; give one other arm for each, in the same order"
        )
    for one, other in carriers.pairs:
        goals = arms[one].get("goal"), arms[other].get("goal")
        if goals[0] != goals[1]:
            raise TakebackError(
                f"{origin}: carriers pairs {one} with {other}, whose goals are {goals[0]} and {goals[1]}; "
                "a pair has one goal"
            )
