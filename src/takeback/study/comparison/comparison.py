"""Runs side by side: every measure of every arm with its interval over seeds, and RL beside its control."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from takeback.draw.result import Result, as_table
from takeback.measure.measures import typed
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.stats import Estimate, permutation_test, seeds_estimate, smallest_p
from takeback.study.comparison.measures import MEASURES, PER_SEED, Runs, arms_of, shift_in, shifted

COLUMNS: Final[Mapping[str, str]] = {
    "run": "the name of the run",
    "arm": "the way of training",
    "goal": "what it is trained toward",
    "method": "how",
    "parameters": "of the model",
    "components": "of the model",
    "measure": "what is compared; `meanings` says it",
    "value": "mean over training runs; of one run where it is a training run's own",
    "low": "lower end of its 95% interval over training runs (Student's t; of pairs of seeds by jackknife)",
    "high": "upper end",
    "seeds": "training runs",
    "one": "the arm of reinforcement learning",
    "other": "the arm of the same goal without it",
    "difference": "mean of one − mean of other",
    "p": "two-sided exact permutation p-value over training runs, not corrected for the number of rows",
    "smallest_p": "the smallest that so few runs can give",
}
"""What each column means."""


_MEANINGS = {**COLUMNS, **{f"measure {name}": meaning for name, (meaning, _) in MEASURES.items()}}


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """Holds what runs have in common.

    Attributes:
        means: a row for each run, arm and measure.
        contrasts: a row for each run, pair of arms with one goal, and measure.
        values: a row for each training run and measure; between seeds, jackknife values.
    """

    name = "compare"
    means: pd.DataFrame = field(metadata=as_table("means", _MEANINGS))
    contrasts: pd.DataFrame = field(metadata=as_table("contrasts"))
    values: pd.DataFrame = field(metadata=as_table("values"))


def compare(runs: Sequence[str | Path], measures: Sequence[str] = ()) -> Comparison:
    """Set runs side by side on the measures of `MEASURES`; intervals are over training runs.

    By how much each of `measures` changed in training is told too, where the runs measured it.

    Raises:
        UnknownName: no run has measured one of `measures`.
        TakebackError: there are none, one is no finished run, or two have one name.
    """
    folders = [Path(run) for run in runs]
    each = [arms_of(folder) for folder in folders]
    arms = [arm for some in each for arm in some]
    if not arms:
        raise TakebackError("nothing to compare; name run folders, such as runs/demo")
    names = [some[0].run for some in each]
    if len(set(names)) < len(names):
        raise TakebackError(f"runs have the same name ({', '.join(names)}); rename one in its plan.yaml")
    told = {name: read for name, (_, read) in MEASURES.items()} | {one: shift_in(one) for one in measures}
    found = {(arm.run, arm.arm): {name: read(arm) for name, read in told.items()} for arm in arms}
    for one in measures:
        if not any(numbers[one] for numbers in found.values()):
            raise unknown_name("measure in the runs", one, shifted(arms))
    means = [row for arm in arms for row in _means(arm, found[arm.run, arm.arm])]
    contrasts = [
        row
        for one in arms
        for other in arms
        if _contrasted(one, other)
        for row in _contrasts(one, other, (found[one.run, one.arm], found[one.run, other.arm]))
    ]
    values = [
        {"run": arm.run, "arm": arm.arm, "seed": seed, "measure": name, "value": value}
        for arm in arms
        for name, numbers in found[arm.run, arm.arm].items()
        for seed, value in numbers.items()
    ]
    ends = ("low", "high")
    head = ["run", "goal", "measure", "one", "other", "difference", *ends, "p", "smallest_p", "seeds"]
    return Comparison(
        "Side by side",
        typed(pd.DataFrame(means), ("value", *ends)),
        typed(pd.DataFrame(contrasts, columns=head), ("difference", *ends, "p", "smallest_p")),
        pd.DataFrame(values),
    )


def _means(arm: Runs, measured: Mapping[str, PER_SEED]) -> Iterator[dict[str, Any]]:
    anatomy = arm.final.anatomy()
    about = {
        "run": arm.run,
        "arm": arm.arm,
        "goal": arm.goal,
        "method": arm.method,
        "parameters": anatomy.parameters(anatomy.universe),
        "components": len(anatomy.universe),
    }
    for name, numbers in measured.items():
        if numbers:
            mean = _mean(list(numbers.values()))
            ends = {"value": mean.value, "low": mean.low, "high": mean.high, "seeds": mean.n}
            yield {**about, "measure": name, **ends}


def _mean(numbers: Sequence[float]) -> Estimate:
    if len(numbers) == 1:
        return Estimate(numbers[0], None, None, None, 1, 1)
    return seeds_estimate(numbers)


def _contrasted(one: Runs, other: Runs) -> bool:
    """Tell whether two arms differ in whether they are reinforced, and in nothing else that matters."""
    same = one.run == other.run and one.goal == other.goal
    same = same and one.plan.parent(one.arm) == other.plan.parent(other.arm)
    return same and one.by == "reward" and other.by == "imitation"


def _contrasts(
    one: Runs, other: Runs, measured: tuple[Mapping[str, PER_SEED], Mapping[str, PER_SEED]]
) -> Iterator[dict[str, Any]]:
    for name in MEASURES:
        left, right = (list(side[name].values()) for side in measured)
        if len(left) < 2 or len(right) < 2:
            continue
        difference = float(np.mean(left) - np.mean(right))
        reach = _welch(left, right)
        yield {
            "run": one.run,
            "goal": one.goal,
            "measure": name,
            "one": one.arm,
            "other": other.arm,
            "difference": difference,
            "low": difference - reach,
            "high": difference + reach,
            "p": permutation_test(left, right),
            "smallest_p": smallest_p(len(left), len(right)),
            "seeds": min(len(left), len(right)),
        }


def _welch(one: Sequence[float], other: Sequence[float]) -> float:
    """Return half the width of the 95% interval of a difference of means (Welch 1947)."""
    from scipy.special import stdtrit

    parts = [float(np.var(side, ddof=1)) / len(side) for side in (one, other)]
    if not sum(parts):
        return 0.0
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(side) - 1) for part, side in zip(parts, (one, other), strict=True)
    )
    return float(stdtrit(freedom, 0.975)) * math.sqrt(sum(parts))
