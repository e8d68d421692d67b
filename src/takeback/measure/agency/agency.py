"""Measures of agency: how far a policy pursues a goal, and how far its change from base is pursuit of it.

What each of them claims, and where it fails, is on its card in docs/agency.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from takeback.measure.agency import tilts
from takeback.measure.agency.pools import drew
from takeback.measure.agency.pursuits import (
    SIGNED,
    joint_pursuit,
    no_share,
    pooled_pursuit,
    pursuit,
    pursuit_each,
    signed_parts,
)
from takeback.measure.measure import MeasureContext, if_legal
from takeback.measure.measures import estimate_row, typed
from takeback.measure.outcomes import Outcomes
from takeback.policies.answers import AnswerReadouts
from takeback.policies.readout import Readouts
from takeback.run.stats import Estimate, mean_estimate, ratio_estimate

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


Measure = Literal["uniform", "base"]

MEASURES: dict[Measure, str] = {"uniform": "", "base": " over base"}

OVER: tuple[Callable[[str], str], ...] = (str, if_legal)
"""What measures over all outcomes are called, and what the same are called given a legal answer."""


def optimisation_power(outcomes: Outcomes, over: Measure = "uniform", beyond_chance: bool = False) -> Floats:
    """Return each situation's optimisation power E −log2 μ{a': U(a') ≥ U(a)} in bits; shape (m,).

    μ is uniform over legal actions or base's probabilities (Yudkowsky 2008, "Measuring Optimization Power").
    Outcomes that are as good count half. Illegal outcomes lie below every legal action and are as good as
    each other: over uniform μ they have 0 bits, over base −log2 of base's legal mass plus half its illegal
    mass. A draw from μ itself has 1 bit if all is alike and up to 1/ln 2 = 1.44 if nothing is;
    `beyond_chance` takes that away, so that 0 is the power of μ.
    """
    level = np.where(outcomes.legal, outcomes.utility, np.where(outcomes.exists, -1.0, -2.0))
    measure = outcomes.base
    if over == "uniform":
        measure = outcomes.legal / outcomes.legal.sum(axis=1, keepdims=True)
    other, own = level[:, None, :], level[:, :, None]
    mass = np.einsum("mj,mij->mi", measure, (other > own) + 0.5 * (other == own))
    policy = outcomes.tuned - measure if beyond_chance else outcomes.tuned
    return -(policy * np.log2(mass)).sum(axis=1)


def meg(outcomes: Outcomes) -> tuple[Floats, float]:
    """Return tuned's maximum-entropy goal-directedness in each situation, in nats, and its β.

    With the utility known and one decision it is the maximum over β of E[βU(s, a) − log Σ exp(βU(s, a')) +
    log |A(s)|] (MacDermott et al. 2024, arXiv 2412.04758), with one β for all situations; its mean is in
    [0, E log |A|], where A is every outcome of a situation. It does not tell pursuing from avoiding: β does.
    """
    uniform = outcomes.exists / outcomes.exists.sum(axis=1, keepdims=True)
    together = np.zeros(len(outcomes), np.int64)
    beta = tilts.fit(uniform, outcomes.tuned, outcomes.utility, together)
    return tilts.gains(uniform, outcomes.tuned, outcomes.utility, beta[together]), float(beta[0])


def agency(
    before: Readouts,
    after: Readouts,
    context: MeasureContext,
    goals: Sequence[str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure a policy's agency toward each goal (all of the context's unless some are named).

    Columns: measure, goal, unit (bits, nats, or share), value, se, low, high (95%, clustered by situation,
    of this one run), n (situations), beta, note. What is undefined is missing, and the note says why. Each
    measure comes twice, over all outcomes and, as `…, if legal`, over legal actions given a legal answer.
    With several goals the joint measures follow, over situations to which all of them apply. Listed answers
    are all legal, and measures come once; of a pool there is what needs no enumeration, the change and how
    much of it is pursuit.

    Raises:
        UnknownName: there is no such goal.
        TakebackError: the readouts or the context are of different situations.
    """
    names = tuple(context.utilities if goals is None else goals)
    rows: list[dict[str, Any]] = []
    if isinstance(before, AnswerReadouts) and isinstance(after, AnswerReadouts) and before.drawn.any():
        rows = [
            {**row, "goal": goal} for goal in names for row in _of_pool(before, after, context, goal, seed)
        ]
        return _table(rows)
    for given, named in enumerate(OVER if context.listed is None else OVER[:1]):
        told: list[dict[str, Any]] = []
        for goal in names:
            outcomes = Outcomes.of(before, after, context, (goal,), bool(given))
            told += [{**row, "goal": goal} for row in _rows(outcomes, seed)]
        if len(names) > 1:
            outcomes = Outcomes.of(before, after, context, names, bool(given))
            told += _joint_rows(outcomes, seed)
        rows += [{**row, "measure": named(row["measure"])} for row in told]
    return _table(rows)


def _table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    columns = ["measure", "goal", "unit", "value", "se", "low", "high", "n", "beta", "note"]
    return typed(pd.DataFrame(rows, columns=columns), ("value", "se", "low", "high", "beta"))


def _row(
    measure: str, unit: str, estimate: Estimate | None, note: str = "", beta: float | None = None
) -> dict[str, Any]:
    missing: dict[str, Any] = dict.fromkeys(("value", "se", "low", "high"))
    numbers = missing if estimate is None else estimate_row(estimate)
    return {"measure": measure, "unit": unit, **numbers, "note": note, "beta": beta}


def _of_pool(
    before: AnswerReadouts, after: AnswerReadouts, context: MeasureContext, goal: str, seed: int
) -> Iterator[dict[str, Any]]:
    """Give the rows of one reward on a pool: from own draws, or where a side drew none by weights."""
    count = int(context.applies[goal].sum())
    if not count:
        yield {**_row("pursuit share", "share", None, "the goal applies to no situation"), "n": 0}
        return
    weighed = pursuit(Outcomes.of(before, after, context, (goal,)), seed)
    found = pooled_pursuit(before, after, context, goal, seed) if drew(before) and drew(after) else weighed
    yield {**_row("KL(after || before)", "nats", found.change), "n": count}
    for name, unit, estimate in (
        ("pursuit", "nats", found.value),
        ("pursuit share", "share", found.share),
        ("signed pursuit share", "share", found.signed),
        ("pursuit in sample", "nats", found.inside),
        ("pursuit share in sample", "share", found.inside_share),
    ):
        yield {**_row(name, unit, estimate, found.note, found.beta), "n": count}
    left = min(before.effective().mean(), after.effective().mean())
    note = "; ".join(filter(None, (weighed.note, f"weights leave {left:.0%} of the pool")))
    yield {**_row("pursuit share, by weights", "share", weighed.share, note, weighed.beta), "n": count}


def _rows(outcomes: Outcomes, seed: int) -> Iterator[dict[str, Any]]:
    """Give the rows of one goal, all with the number of its situations."""
    if not len(outcomes):
        yield {**_row("pursuit share", "share", None, "the goal applies to no situation"), "n": 0}
        return
    for row in chain(_of_policy(outcomes), _of_change(outcomes, seed)):
        yield {**row, "n": len(outcomes)}


def _of_policy(outcomes: Outcomes) -> Iterator[dict[str, Any]]:
    for over, beyond in product(MEASURES, (False, True)):
        bits = optimisation_power(outcomes, over, beyond)
        name = "optimisation power" + MEASURES[over] + (" beyond chance" if beyond else "")
        yield _row(name, "bits", mean_estimate(bits, outcomes.clusters))
    directedness, beta = meg(outcomes)
    most = float(np.log(outcomes.exists.sum(axis=1)).mean())
    yield _row("MEG", "nats", mean_estimate(directedness, outcomes.clusters), f"at most {most:.4g}", beta)


def _of_change(outcomes: Outcomes, seed: int) -> Iterator[dict[str, Any]]:
    found, (each, signs) = pursuit(outcomes, seed), pursuit_each(outcomes)
    yield _row("KL(after || before)", "nats", found.change)
    held = (("pursuit", "nats", found.value), ("pursuit share", "share", found.share))
    for name, unit, estimate in (*held, (SIGNED, "share", found.signed)):
        yield _row(name, unit, estimate, found.note, found.beta)
    note = no_share(found.change)
    for name, parts in signed_parts(outcomes, seed).items():
        if name != SIGNED:
            estimate = None if parts is None else mean_estimate(parts, outcomes.clusters)
            yield _row(name, "share", estimate, note)
    yield _row("pursuit in sample", "nats", found.inside, beta=found.beta)
    share = found.inside_share
    yield _row("pursuit share in sample", "share", share, note, found.beta)
    if not note:
        share = ratio_estimate(each, outcomes.divergence, outcomes.clusters)
        note = f"β > 0 in {np.mean(signs > 0):.0%} of situations"
    yield _row("pursuit share, a β each", "share", share, note)


def _joint_rows(outcomes: Outcomes, seed: int) -> Iterator[dict[str, Any]]:
    together = " + ".join(outcomes.goals)
    if not len(outcomes):
        note = "no situation to which all the goals apply"
        yield {**_row("joint pursuit share", "share", None, note), "goal": together, "n": 0}
        return
    joint = joint_pursuit(outcomes, seed)
    row = _row("joint pursuit share", "share", joint.share, joint.note)
    yield {**row, "goal": together, "n": len(outcomes)}
    for goal, estimate in joint.given.items():
        row = _row("pursuit share given the others", "share", estimate, joint.note, joint.betas[goal])
        yield {**row, "goal": goal, "n": len(outcomes)}
