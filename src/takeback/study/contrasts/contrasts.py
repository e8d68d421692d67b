"""The contrasts of a run: quantities of training runs, weighted sums over arms, and who carries the gain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

from takeback.draw.result import Result, as_table
from takeback.run.errors import TakebackError
from takeback.study.contrasts.carriers import carriers
from takeback.study.contrasts.estimates import COLUMNS, estimate
from takeback.study.contrasts.quantities import Report, quantities
from takeback.study.plan import Plan, load_plan
from takeback.study.pursuit import LOSSES
from takeback.study.sums import check_carriers, check_contrasts, weights_of

MEANINGS: Final[Mapping[str, str]] = {
    **COLUMNS,
    "arm": "the way of training",
    "seed": "the training run",
    "value": "of one training run",
    "carries": "whether all k conditions hold, each with the right sign and p ≤ 0.1 / k over all components",
    "failed": "the conditions that do not hold",
    "costs ARM": "utility of the own goal that is lost when the component is taken back, mean over seeds",
    "more than ARM": "that in the arm less that in its control",
    "p: CONDITION": "two-sided p over training runs, by the largest statistic over components",
    **{f"measure {name}": meaning for name, meaning in LOSSES.items()},
}
"""What each column means, and the measures that no other page tells of."""


@dataclass(frozen=True, eq=False, repr=False)
class Contrasts(Result):
    """Holds what the arms of a run differ in.

    Attributes:
        contrasts: a row for each contrast, source, component and measure.
        quantities: a row for each training run, source, component and measure.
        carriers: a row for each component; without columns where the plan asks for no rule.
        weights: the weight of each arm, by contrast.
        words: how many seeds there were, what is missing, and what could not be said.
    """

    name = "contrasts"
    contrasts: pd.DataFrame = field(metadata=as_table("contrasts", MEANINGS))
    quantities: pd.DataFrame = field(metadata=as_table("quantities"))
    carriers: pd.DataFrame
    weights: Mapping[str, Mapping[str, float]]
    words: tuple[str, ...]

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """The tables by the name of their file."""
        found = {"contrasts": self.contrasts, "quantities": self.quantities}
        return found | ({} if self.carriers.empty else {"carriers": self.carriers})


def contrasts(run: str | Path, plan: Plan | None = None, report: Report | None = None) -> Contrasts:
    """Estimate the contrasts of a run over its training runs, finished or not.

    What is there is used, what is missing is told. Losses of pursuit are measured from the sweeps' readouts,
    once, and kept in the run folder.

    Args:
        run: a run folder.
        plan: where contrasts and the arms of the rule are taken from, if not from the run's own plan.
        report: told how many training runs are read of how many.

    Raises:
        UnknownName: a contrast of `plan` names an arm that the run has not.
        TakebackError: it is no run folder, it names no contrast, or nothing is there yet.
    """
    run = Path(run)
    own = load_plan(run / "plan.yaml")
    asked = plan or own
    if not asked.contrasts:
        raise TakebackError(f"the plan of {run} has no contrasts; write some into a plan and give it: --plan")
    check_contrasts(asked.contrasts, own.arms)
    if asked.carriers is not None:
        check_carriers(asked.carriers, own.arms)
    found = quantities(run, report)
    weights = {name: weights_of(one) for name, one in asked.contrasts.items()}
    table, words = estimate(found, weights)
    told = [*words, *found.missing]
    named = pd.DataFrame()
    if asked.carriers is not None:
        rule = carriers(found.table, asked.carriers)
        named = rule.table
        told = [*rule.words, *told]
    return Contrasts("Contrasts", table, found.table, named, weights, tuple(told))


def write_contrasts(run: Path, plan: Plan | None = None, report: Report | None = None) -> None:
    """Write the contrasts of a run into its folder, tables and `contrasts.html`; nothing where it has none.

    Raises:
        TakebackError: as `contrasts`.
    """
    asked = plan or load_plan(run / "plan.yaml")
    if asked.contrasts:
        contrasts(run, plan, report).write(run)
