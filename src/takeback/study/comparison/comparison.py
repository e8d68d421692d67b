"""Runs side by side: every measure of every arm with its interval over seeds, and RL beside its control."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from takeback.draw.result import Result, as_table
from takeback.measure.measures import typed
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.stats import Estimate, seeds_estimate
from takeback.study.comparison.beside import beside, contrasted, planned
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
    "p_table": "the same, right for all rows: the largest statistic over measures of a pair, times pairs",
    "bound": "the largest size of a difference that low and high do not rule out",
    "detectable": "the smallest difference that 80% of such comparisons would see at p_table 0.05",
    "contrast": "a weighted sum over arms that plans name; its meaning is one in all runs",
    "definition": "what it means",
    "base": "what its arms start from",
    "estimate": "of one run",
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
        planned: a row for each run, contrast that its plan names, and measure of whole models.
    """

    name = "compare"
    means: pd.DataFrame = field(metadata=as_table("means", _MEANINGS))
    contrasts: pd.DataFrame = field(metadata=as_table("contrasts"))
    values: pd.DataFrame = field(metadata=as_table("values"))
    planned: pd.DataFrame = field(metadata=as_table("planned"))


def compare(runs: Sequence[str | Path], measures: Sequence[str] = ()) -> Comparison:
    """Set runs side by side on the measures of `MEASURES`; intervals are over training runs.

    By how much each of `measures` changed in training is told too, where the runs measured it.

    Raises:
        UnknownName: no run has measured one of `measures`.
        TakebackError: there are none, one is no finished run, two have one name, or contrasts of one name
            mean different things in two of them.
    """
    folders = [Path(run) for run in runs]
    each = [arms_of(folder) for folder in folders]
    arms = [arm for some in each for arm in some]
    if not arms:
        raise TakebackError("nothing to compare; name run folders, such as runs/demo")
    names = [some[0].run for some in each]
    if len(set(names)) < len(names):
        raise TakebackError(f"runs have the same name ({', '.join(names)}); rename one in its plan.yaml")
    named = planned([some[0] for some in each])
    told = {name: read for name, (_, read) in MEASURES.items()} | {one: shift_in(one) for one in measures}
    found = {(arm.run, arm.arm): {name: read(arm) for name, read in told.items()} for arm in arms}
    for one in measures:
        if not any(numbers[one] for numbers in found.values()):
            raise unknown_name("measure in the runs", one, shifted(arms))
    means = [row for arm in arms for row in _means(arm, found[arm.run, arm.arm])]
    pairs = [(one, other) for one in arms for other in arms if contrasted(one, other)]
    values = [
        {"run": arm.run, "arm": arm.arm, "seed": seed, "measure": name, "value": value}
        for arm in arms
        for name, numbers in found[arm.run, arm.arm].items()
        for seed, value in numbers.items()
    ]
    return Comparison(
        "Side by side",
        typed(pd.DataFrame(means), ("value", "low", "high")),
        beside([(one, other, found[one.run, one.arm], found[one.run, other.arm]) for one, other in pairs]),
        pd.DataFrame(values),
        named,
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
