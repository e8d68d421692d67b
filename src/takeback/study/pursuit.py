"""What taking a component back loses of the pursuit of an arm's goal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from takeback.findings.localise.shares import TAKE_BACK
from takeback.findings.sweep.run import Sweep
from takeback.findings.sweep.sets import CONTROLS
from takeback.measure.agency.pursuits import pursuit, pursuit_values
from takeback.measure.bench import Bench
from takeback.measure.measure import MeasureContext, if_legal
from takeback.measure.measures import typed
from takeback.measure.outcomes import Outcomes
from takeback.measure.shift import KL as DIVERGENCE
from takeback.measure.shift import shift
from takeback.policies.readout import Readouts
from takeback.run.identity import identity
from takeback.run.tables import write_table
from takeback.study.plan import Plan

SHARE: Final = if_legal("loss of signed pursuit share")
PURSUIT: Final = if_legal("loss of pursuit at tuned's β")
KL: Final = "loss of KL from its parent"

LOSSES: Final[Mapping[str, str]] = {
    SHARE: "signed pursuit share of the arm's own goal, given a legal answer: tuned's less the hybrid's",
    PURSUIT: "E[β E U − log E_base exp(βU)] at tuned's β for the own goal, given a legal answer, in nats: "
    "tuned's less the hybrid's",
    KL: "KL(· || parent) over all outcomes, in nats: tuned's less the hybrid's",
}
"""What each measure is; all are positive where taking the component back takes something away."""


def losses(
    base: Readouts,
    tuned: Readouts,
    hybrids: Mapping[str, Readouts],
    context: MeasureContext,
    goal: str | None,
) -> pd.DataFrame:
    """Measure what each hybrid lacks of tuned's pursuit of a goal and of its distance from base.

    Args:
        base: what tuned was trained from.
        tuned: the trained policy.
        hybrids: tuned with a component taken back, by the component.
        context: what measures need of the arena.
        goal: the arm's own; without one only the distance is measured.

    Returns:
        A row for each component and measure of `LOSSES`: component, measure, loss. It is missing where the
        share is undefined, or tuned's β infinite.

    Raises:
        UnknownName: there is no such goal.
        TakebackError: the readouts are of different situations.
    """
    whole, beta = _numbers(base, tuned, context, goal)
    rows: list[dict[str, Any]] = []
    for component, hybrid in hybrids.items():
        found, _ = _numbers(base, hybrid, context, goal, beta)
        for measure, number in whole.items():
            rest = found[measure]
            lost = None if number is None or rest is None else number - rest
            rows.append({"component": component, "measure": measure, "loss": lost})
    return typed(pd.DataFrame(rows, columns=["component", "measure", "loss"]), ("loss",))


def contrasted(plan: Plan) -> bool:
    """Tell whether a run of the plan measures losses of pursuit: it has contrasts, and keeps readouts."""
    return bool(plan.contrasts) and plan.readouts


def write_losses(swept: Sweep, goal: str | None, path: Path) -> None:
    """Measure the losses of every single component of a sweep, under the sweep's key.

    Args:
        swept: the sweep; what its bench's store holds is not read again.
        goal: the arm's own; one can train toward goals that are no measure.
        path: the file to write, the columns of `losses` and `made_of`.
    """
    bench = swept.bench.about()
    keep_losses(bench, takebacks(swept, bench), goal, (swept.key, path))


def takebacks(swept: Sweep, bench: Bench) -> dict[str, Readouts]:
    """Return what each single component's takeback does on a bench, by the component; none is read again."""
    asks = {
        str(named.components): ask
        for direction, named, ask in swept.hybrids
        if direction == TAKE_BACK and len(named.components) == 1 and named.family not in CONTROLS
    }
    return dict(zip(asks, bench.read(asks.values()), strict=True))


def keep_losses(
    bench: Bench, hybrids: Mapping[str, Readouts], goal: str | None, where: tuple[str, Path]
) -> pd.DataFrame:
    """Measure losses and keep them, stamped with what they were made of."""
    (key, path), context = where, bench.context
    measured = goal if goal in context.utilities else None
    found = losses(bench.ends["base"], bench.ends["tuned"], hybrids, context, measured)
    write_table(found.assign(made_of=stamp(key, goal)), path)
    return found


def stamp(key: str | None, goal: str | None) -> str:
    """Return what losses were made of: a sweep, by its key, which says the version, and a goal."""
    return identity(key, goal, versions=False)


def _numbers(
    base: Readouts, policy: Readouts, context: MeasureContext, goal: str | None, beta: float | None = None
) -> tuple[dict[str, float | None], float | None]:
    """Return what a policy has of each measure, and the β at which: its own where none is given."""
    found: dict[str, float | None] = {KL: float(shift(base, policy)[DIVERGENCE.name].mean())}
    if goal is None:
        return found, None
    given = Outcomes.of(base, policy, context, (goal,), if_legal=True)
    if not len(given):
        return {**found, SHARE: None, PURSUIT: None}, beta
    fitted = pursuit(given)
    beta = fitted.beta if beta is None else beta
    found[SHARE] = None if fitted.signed is None else fitted.signed.value
    found[PURSUIT] = None
    if np.isfinite(beta):
        values = pursuit_values(given, beta)
        found[PURSUIT] = float(values.numbers[values.applies].mean())
    return found, beta


def single(effects: pd.DataFrame) -> pd.Series[bool]:
    """Tell which rows are of a component alone; random sets are none."""
    return (effects["n_components"] == 1) & ~effects["family"].isin(CONTROLS)
