"""Axes of a plan: an arm that names several values of a field stands for an arm of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

from takeback.run.errors import TakebackError


def spread(arms: Mapping[str, Any], origin: str = "plan") -> dict[str, Any]:
    """Return arms without `axes`: in the place of one that has them, an arm for every combination of values.

    It is called after the arm, the fields and the values; axes vary in their order, the last one fastest.

    Args:
        arms: a mapping of fields by arm, as a plan's file has them.
        origin: what errors name as their place.

    Raises:
        TakebackError: axes are no lists of plain values, are empty, name a value twice or a field that the
            arm has as well, or two arms get one name.

    Examples:
        >>> arm = {"method": "rl", "axes": {"learning_rate": [1e-4, 3e-4], "kl": [0, 0.01]}}
        >>> list(spread({"rl-win": arm}))[:2]
        ['rl-win-learning_rate-0.0001-kl-0', 'rl-win-learning_rate-0.0001-kl-0.01']
        >>> spread({"rl-win": arm})['rl-win-learning_rate-0.0003-kl-0']
        {'method': 'rl', 'learning_rate': 0.0003, 'kl': 0}
    """
    found: dict[str, Any] = {}
    for name, fields in arms.items():
        for own, whole in _combinations(name, fields, origin):
            if own in found:
                raise TakebackError(f"{origin}: two arms are called {own}; give one another name")
            found[own] = whole
    return found


def _combinations(name: str, fields: Any, origin: str) -> list[tuple[str, Any]]:
    if not isinstance(fields, Mapping) or "axes" not in fields:
        return [(name, fields)]
    rest = {field: value for field, value in fields.items() if field != "axes"}
    axes = fields["axes"]
    where = f"{origin}: axes of arm {name}"
    if not isinstance(axes, Mapping) or not axes:
        raise TakebackError(f"{where}: name fields with lists of values, such as learning_rate: [1e-4, 3e-4]")
    for field, values in axes.items():
        if field in rest:
            raise TakebackError(f"{where}: {field} is a field of the arm as well; leave it out there")
        if not isinstance(values, list) or not values:
            raise TakebackError(f"{where}: {field} needs a list of values, not {values!r}")
    every = product(*([(field, _plain(value, where)) for value in axes[field]] for field in axes))
    arms = [("-".join([name, *(f"{field}-{text}" for field, (_, text) in one)]), one) for one in every]
    if len({own for own, _ in arms}) < len(arms):
        raise TakebackError(f"{where}: a value is named twice")
    return [(own, {**rest, **{field: value for field, (value, _) in one}}) for own, one in arms]


def _plain(value: Any, where: str) -> tuple[Any, str]:
    """Return a value and how a name spells it; YAML reads 1e-4, without a point, as text."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        value = float(value)
    if isinstance(value, bool):
        return value, str(value).lower()
    if not isinstance(value, str | int | float) or not re.fullmatch(r"\w[\w.+-]*", str(value)):
        raise TakebackError(f"{where}: {value!r} is no number or word that could be part of a name")
    return value, str(value).replace("+", "")
