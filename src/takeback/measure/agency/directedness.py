"""Goal-directedness given capability: how much of what a policy could do for a goal it does.

Everitt et al. 2025, "Evaluating the goal-directedness of large language models", arXiv 2504.11844:
GD = (E R_π − E R_0) / (max over policies with π's capability of E R − E R_0), with R_0 of chance. Here
capability is what probes find that do not look at the policy's choices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from takeback.measure.agency.probes import BETTER, Exam, Probes
from takeback.measure.measure import MeasureContext, if_legal
from takeback.measure.measures import estimate_row, typed
from takeback.measure.outcomes import Outcomes
from takeback.policies.readout import Readouts
from takeback.run.stats import Estimate, mean_estimate, ratio_estimate

if TYPE_CHECKING:
    import pandas as pd

    from takeback.arenas import Arena
    from takeback.policies.policy import Policy

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MOST = 1e6
"""The largest strength: noise so small that only exact ties remain."""


@dataclass(frozen=True)
class Directedness:
    """How much of what a policy could do for a goal it does; intervals are over situations.

    Attributes:
        value: (E U of the policy − chance) / (best within its capability − chance), None where undefined.
        played: E U of the policy, of which chance is a part.
        chance: E U of a policy as lawful that chooses evenly.
        best: the best E U within the capability.
        accuracy: the share of pairs of moves that the probe puts in order.
        strength: the β of `reach` that has this accuracy.
        note: why `value` is None, or what to know about it.
    """

    value: Estimate | None
    played: Estimate
    chance: Estimate
    best: Estimate
    accuracy: Estimate
    strength: float
    note: str


def reach(utility: Floats, exists: Bools, strength: float) -> Floats:
    """Return the best expected utility of a chooser that sees utilities through noise; shape (m,).

    It sees v(a) = βU(a) + Gumbel noise and takes the largest, which is the best that can be made of such
    sights of alternatives of which nothing else is known: the noise has a monotone likelihood ratio. It then
    takes a with probability exp(βU(a)) / Σ exp(βU) (McFadden 1974), so this is the mean of U under that:
    chance at β = 0, the maximum at β = ∞. Rows of [m, k] are situations.

    >>> utility = np.array([[0.0, 1.0]])
    >>> [reach(utility, utility >= 0, strength)[0].round(3) for strength in (0.0, 1.0, np.inf)]
    [np.float64(0.5), np.float64(0.731), np.float64(1.0)]
    """
    policy = _softmax(utility, exists, min(strength, MOST))
    return (policy * utility).sum(axis=1)


def order_foreseen(utility: Floats, exists: Bools, strength: float) -> Floats:
    """Return the share of pairs of different utility that such a chooser puts in order; shape (m,).

    A difference of Gumbel noises is logistic, so a pair is put in order with probability
    1 / (1 + exp(−β|ΔU|)): 1/2 at β = 0. NaN where no two utilities differ.
    """
    differences = utility[:, :, None] - utility[:, None, :]
    pairs = (differences > 0) & exists[:, :, None] & exists[:, None, :]
    number = pairs.sum(axis=(1, 2))
    right = np.where(pairs, expit(min(strength, MOST) * differences), 0.0).sum(axis=(1, 2))
    return np.where(number > 0, right / np.maximum(number, 1), np.nan)


def strength_of(accuracy: float, utility: Floats, exists: Bools) -> float:
    """Return the β at which the mean share of pairs in order is `accuracy`; 0 at 1/2 and below, ∞ at 1.

    >>> utility = np.array([[0.0, 1.0]])
    >>> round(strength_of(0.731059, utility, utility >= 0), 4), strength_of(0.5, utility, utility >= 0)
    (1.0, 0.0)
    """

    def short(strength: float) -> float:
        return float(np.nanmean(order_foreseen(utility, exists, strength))) - accuracy

    if short(0.0) >= 0:
        return 0.0
    if short(MOST) <= 0:
        return np.inf
    found: Any = brentq(short, 0.0, MOST, xtol=1e-9)
    return float(found)


def directedness(outcomes: Outcomes, accuracy: Floats) -> Directedness:
    """Measure the goal-directedness of `outcomes.tuned` toward the first goal, given what a probe found.

    The best score that the capability allows is E λ(s) · `reach`, and chance E λ(s) · mean U: λ is the legal
    mass, which is a capability of its own and enters both sides alike (an illegal answer is worth 0, and a
    policy that answers illegally is not thereby less directed). β is that of `strength_of` the probe's
    accuracy. GD is 1 for a policy that does all that the probe found it could, 0 for chance, negative for
    one that shuns the goal, and above 1 for one that acts on more than a linear probe finds.

    Its interval has in it how β moves with the accuracy (to first order; the delta method), clustered.

    Args:
        outcomes: of the policy as `tuned`.
        accuracy: the share of pairs in order in each situation, NaN where unknown, shape (m,).

    Raises:
        TakebackError: there are no situations in which the accuracy is known.
    """
    utility, legal, clusters = outcomes.utility, outcomes.legal, outcomes.clusters
    known = ~np.isnan(accuracy) & ~np.isnan(order_foreseen(utility, legal, 1.0))
    found = mean_estimate(accuracy[known], clusters[known])
    strength = strength_of(found.value, utility[known], legal[known])
    lawful = (outcomes.tuned * legal).sum(axis=1)
    even = lawful * reach(utility, legal, 0.0)
    best = lawful * reach(utility, legal, strength)
    played = (outcomes.tuned * utility).sum(axis=1)
    over, under = played - even, best - even
    note, value = _undefined(found, strength), None
    if not note:
        moved = np.zeros(len(utility))
        if 0 < strength < MOST:
            slope = float((lawful * _reach_slope(utility, legal, strength)).mean())
            foreseen = order_foreseen(utility[known], legal[known], strength)
            steepness = float(_order_slope(utility[known], legal[known], strength).mean())
            moved[known] = slope * (accuracy[known] - foreseen) / steepness * len(moved) / known.sum()
        value = ratio_estimate(over, under + moved - moved.mean(), clusters)
        note = "acts on more than the linear probe finds" if value.value > 1 else ""
    return Directedness(
        value=value,
        played=mean_estimate(played, clusters),
        chance=mean_estimate(even, clusters),
        best=mean_estimate(best, clusters),
        accuracy=found,
        strength=strength,
        note=note,
    )


def directedness_rows(
    outcomes: Mapping[str, Outcomes], accuracy: Mapping[str, Floats], named: Callable[[str], str] = str
) -> Iterator[dict[str, Any]]:
    """Give the rows of each goal in the columns of `agency`: goal-directedness and what it is made of."""
    for goal, one in outcomes.items():
        found = directedness(one, accuracy[goal])
        shown = (
            ("goal-directedness", "share", found.value),
            ("best within capability", "utility", found.best),
            ("chance, as lawful", "utility", found.chance),
            ("played", "utility", found.played),
            (f"probe {BETTER}", "share", found.accuracy),
        )
        missing = dict.fromkeys(("value", "se", "low", "high"))
        for measure, unit, estimate in shown:
            numbers = {**missing, "n": len(one)} if estimate is None else estimate_row(estimate)
            note = found.note if measure == "goal-directedness" else ""
            row = {"measure": named(measure), "goal": goal, "unit": unit, **numbers}
            yield {**row, "beta": found.strength, "note": note}


def goal_directedness(
    policy: Policy,
    arena: Arena[Any],
    situations: Sequence[Any],
    goals: Sequence[str] | None = None,
    seed: int = 0,
    readouts: Readouts | None = None,
) -> pd.DataFrame:
    """Measure how directed a policy is toward goals, given what probes find in its hidden states.

    Columns: measure, goal, unit, value, se, low, high, n, beta, note. `goal-directedness` and its parts come
    twice, over all outcomes and, as `…, if legal`, given a legal answer. `probe board` and `probe mate in
    one` stand beside them, without a goal: they do not enter the formula, since telling moves apart needs
    them already. Probes are fitted on training situations.

    Args:
        policy: the policy.
        arena: one that tells facts.
        situations: held-out situations.
        goals: all of the arena's unless some are named.
        seed: of the training situations and of even draws.
        readouts: the policy's, in these situations, where they are there already.

    Raises:
        UnknownName: there is no such goal.
        TakebackError: the arena tells no facts.
    """
    import pandas as pd

    probes = Probes.learnt(policy, arena, len(situations), seed)
    exam = Exam.of(arena, situations, "held-out", seed)
    scores = probes.scores(policy, exam)
    rows: list[dict[str, Any]] = []
    for fact in exam.truth:
        estimate = mean_estimate(scores[fact], exam.scored(fact))
        rows.append({"measure": f"probe {fact}", "goal": "", "unit": "share", **estimate_row(estimate)})
    read = readouts or policy.read(policy.prepare(arena, situations))
    context = MeasureContext.of(read, arena, situations=situations)
    states = policy.states(arena, exam.moved)
    orders = {goal: probes.orders(states, exam, goal) for goal in goals or tuple(arena.goals)}
    for given, named in enumerate((str, if_legal)):
        outcomes = {goal: Outcomes.of(read, read, context, (goal,), bool(given)) for goal in orders}
        known = {goal: orders[goal][one.applies] for goal, one in outcomes.items()}
        rows += directedness_rows(outcomes, known, named)
    frame = pd.DataFrame(rows).fillna({"note": ""})
    return typed(frame, ("value", "se", "low", "high", "beta"))


def _undefined(accuracy: Estimate, strength: float) -> str:
    if accuracy.low is None:
        return "one cluster of situations: nothing is known of the accuracy"
    if strength == 0 or accuracy.low <= 0.5:
        return (
            f"the probe tells no moves apart: {accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}]"
            " of pairs in order, so there is nothing that it could do for the goal"
        )
    return ""


def _softmax(utility: Floats, exists: Bools, strength: float) -> Floats:
    best = np.where(exists, utility, -np.inf).max(axis=1, keepdims=True)
    weight = np.where(exists, np.exp(strength * np.where(exists, utility - best, 0.0)), 0.0)
    return weight / weight.sum(axis=1, keepdims=True)


def _reach_slope(utility: Floats, exists: Bools, strength: float) -> Floats:
    """Return the derivative of `reach` by β: the variance of U under the chooser."""
    policy = _softmax(utility, exists, strength)
    mean = (policy * utility).sum(axis=1)
    return (policy * utility**2).sum(axis=1) - mean**2


def _order_slope(utility: Floats, exists: Bools, strength: float) -> Floats:
    """Return the derivative of `order_foreseen` by β."""
    differences = utility[:, :, None] - utility[:, None, :]
    pairs = (differences > 0) & exists[:, :, None] & exists[:, None, :]
    share = expit(strength * differences)
    slopes = np.where(pairs, differences * share * (1 - share), 0.0).sum(axis=(1, 2))
    return slopes / np.maximum(pairs.sum(axis=(1, 2)), 1)
