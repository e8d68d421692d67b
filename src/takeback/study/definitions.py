"""What a contrast means: its arms' methods, goals and distance; one name has one meaning side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from takeback.run.errors import TakebackError
from takeback.run.identity import identity
from takeback.run.yaml_text import read_yaml
from takeback.study.sums import weights_of
from takeback.training.recipe import ROLES

TABLE: Final = "contrasts.parquet"
WHOLE_MODELS: Final = "whole models"
"""The table of a page of contrasts that has measures without a component."""

_NO_PART: Final = frozenset(("seed", "snapshots", "threads"))
_DIGITS: Final = 8


def definition(plan: Mapping[str, Any], contrast: str) -> str:
    """Return what a contrast of a plan means, as a sum over ways of training, and where these are measured.

    Names of arms and the base have no part in it, so that two runs from two bases can have one estimand. Of
    an arm every field of its recipe has, but what differs between snapshots: steps and snapshots where all
    arms are measured at one distance. What is not spelled out is in the hash at the end.

    >>> rl, rft = {"method": "rl", "goal": "win", "steps": 9}, {"method": "rft", "goal": "win", "steps": 7}
    >>> plan = {"arms": {"a": rl, "b": rft}, "contrasts": {"c": {"a": 1, "b": "-1"}}}
    >>> definition({**plan, "measure_at": {"kl": 0.2}}, "c").rpartition(" ")[0]
    '−1 rft toward win, +1 rl toward win, at 0.2 nats'
    >>> definition({**plan, "measure_at": {"kl": 0.2}}, "c") == definition(plan, "c")
    False
    """
    arms, at = plan["arms"], plan.get("measure_at", "last")
    matched = isinstance(at, Mapping)
    weights = weights_of(plan["contrasts"][contrast])
    terms = sorted((_described(arms, arm), _weight(weight)) for arm, weight in weights.items())
    fields = sorted(
        (identity(_fields(arms, arm, matched)), _weight(weight)) for arm, weight in weights.items()
    )
    told = [f"{weight} {words}" for words, weight in terms]
    where = f"at {at['kl']:g} nats" if matched else "at its last step"
    return f"{', '.join(told)}, {where} #{identity(fields, at, versions=False)[:_DIGITS]}"


def definitions(plan: Mapping[str, Any]) -> dict[str, str]:
    """Return what every contrast of a plan, as plain fields, means."""
    return {name: definition(plan, name) for name in plan.get("contrasts") or {}}


def definitions_in(run: str | Path, table: pd.DataFrame | None = None) -> dict[str, str]:
    """Return what contrasts of a run mean: as its table of contrasts says, else as its plan does.

    Raises:
        TakebackError: the plan can't be read.
    """
    if table is not None and "definition" in table:
        return dict(zip(table["contrast"], table["definition"], strict=True))
    plan = read_yaml(Path(run) / "plan.yaml", f"{run} has no plan.yaml")
    return definitions(plan) if isinstance(plan, dict) else {}


def check_same(told: Iterable[tuple[str, Mapping[str, str]]]) -> None:
    """Refuse two contrasts of one name that mean different things.

    >>> check_same([("runs/a", {"optimiser": "x #1"}), ("runs/b", {"optimiser": "y #2"})])
    Traceback (most recent call last):
    takeback.run.errors.TakebackError: optimiser means x in runs/a; in runs/b it is y; rename one

    Raises:
        TakebackError: there are two such.
    """
    seen: dict[str, tuple[str, str]] = {}
    for where, mine in told:
        for name, means in mine.items():
            first, other = seen.setdefault(name, (where, means))
            if other != means:
                raise TakebackError(_refusal(name, (first, other), (where, means)))


def _refusal(name: str, one: tuple[str, str], other: tuple[str, str]) -> str:
    was, says = (means.rpartition(" #")[0] for _, means in (one, other))
    if was == says:
        says = "that with other settings of its arms"
    return f"{name} means {was} in {one[0]}; in {other[0]} it is {says}; rename one"


def _weight(weight: float) -> str:
    return f"{weight:+.3g}".replace("-", "−")


def _described(arms: Mapping[str, Mapping[str, Any]], arm: str) -> str:
    own = arms[arm]
    told = f"{own['method']} toward {own['goal']}" if own.get("goal") else str(own["method"])
    others = [f"{role} {_described(arms, own[role])}" for role in ROLES if own.get(role) in arms]
    return told + (f" ({'; '.join(others)})" if others else "")


def _fields(arms: Mapping[str, Mapping[str, Any]], arm: str, matched: bool) -> dict[str, Any]:
    """Return the fields of an arm that say what it is, with those of other arms in place of their names."""
    skipped = _NO_PART | ({"steps"} if matched else frozenset())
    own = {name: value for name, value in arms[arm].items() if name not in skipped}
    return {
        name: _fields(arms, value, False) if name in ROLES and value in arms else value
        for name, value in own.items()
    }
