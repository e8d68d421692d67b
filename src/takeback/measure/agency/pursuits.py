"""Pursuit: how much of a policy's change from base is pursuit of a goal, or of several.

What it claims, and where it fails, is on its card in docs/agency.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from takeback.measure.agency import tilts
from takeback.measure.agency.pools import PoolDraws
from takeback.measure.agency.scales import best_of_share, by_rank
from takeback.measure.measure import MeasureContext, Values
from takeback.measure.outcomes import Outcomes
from takeback.policies.answers import AnswerReadouts
from takeback.run.errors import TakebackError
from takeback.run.stats import Estimate, mean_estimate, ratio_estimate, ratio_terms

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

NOISE = 1e-6
"""A divergence of fewer nats is rounding of float32 forward passes and no change to take a share of."""

SIGNED = "signed pursuit share"

BY_RANK, BEST_OF_N = f"{SIGNED}, by rank", f"{SIGNED}, best of n"
"""The same on other scales of utility."""


@dataclass(frozen=True)
class Pursuit:
    """How much of what changed from base to tuned is pursuit of a goal; intervals are over situations.

    Attributes:
        change: KL(tuned || base) in nats, what there is to explain.
        value: The pursuit in nats, each half of the situations with the β of the other; it can be negative.
        share: `value` over `change`, at most 1.
        signed: The same with the sign of each half's β: positive for pursuing, negative for avoiding.
        inside: The pursuit in sample, with one β for all situations, in [0, change].
        inside_share: `inside` over `change`, in [0, 1].
        beta: The β for all situations; ±inf where tuned takes nothing but the best or worst.
        halves: The β of each half, of one only where nothing can be held out.
        note: Why something is None, or what to know about a number; empty if nothing.
        signed_parts: Each situation's part of `signed`, to first order, whose mean it is; [m].
    """

    change: Estimate
    value: Estimate | None
    share: Estimate | None
    signed: Estimate | None
    inside: Estimate
    inside_share: Estimate | None
    beta: float
    halves: tuple[float, ...]
    note: str
    signed_parts: Floats | None = None


@dataclass(frozen=True)
class JointPursuit:
    """How much of a change is pursuit of several goals together, held out, and of each given the others.

    Attributes:
        change: KL(tuned || base) in nats, in the situations to which all the goals apply.
        share: What the joint tilt gains, over `change`.
        given: For each goal the share that is lost without it.
        betas: Each goal's β for all situations, beside the others'.
        note: Why something is None; empty if nothing is.
    """

    change: Estimate
    share: Estimate | None
    given: dict[str, Estimate | None]
    betas: dict[str, float]
    note: str


def pursuit(outcomes: Outcomes, seed: int = 0) -> Pursuit:
    """Measure how much of tuned's change from base is pursuit of the first goal.

    The pursuit is sup over β of E_s[β E_π U − log E_π0 exp(βU)], β of either sign or infinite: MEG with base
    instead of the uniform policy. It is 0 for a policy with base's expected utility, and all of
    E_s KL(π || π0) for π ∝ π0 exp(βU), what RL toward U converges to when a KL penalty holds it to base. β is
    fitted on each half of the situations (whole clusters, drawn with the seed) and read on the other.

    Errors are clustered over situations, by the delta method for shares (`ratio_estimate`), and have in them
    how a situation moves the other half through its β (`influence_of_fit`), which matters for shares near 0.
    They are of one run.

    Raises:
        TakebackError: the goal applies to no situation.
    """
    base, tuned, utility = outcomes.base, outcomes.tuned, outcomes.utility
    change, clusters = _change(outcomes), outcomes.clusters
    together = np.zeros(len(outcomes), np.int64)
    beta = tilts.fit(base, tuned, utility, together)
    inside = tilts.gains(base, tuned, utility, beta[together])
    half = outcomes.halves(seed)
    halves = tilts.fit(base, tuned, utility, half)
    note = no_share(change)
    value = share = signed = inside_share = signed_parts = None
    if not note:
        inside_share = ratio_estimate(inside, outcomes.divergence, clusters)
    if len(halves) > 1:
        across = halves[1 - half]
        held = tilts.gains(base, tuned, utility, across)
        if not np.isfinite(held).all():
            note = note or "β is infinite in one half, and the other half has worse outcomes: −∞ nats"
        else:
            moved = tilts.influence_of_fit(base, tuned, outcomes.utilities[:1], half, halves[:, None])
            value = mean_estimate(held + moved, clusters)
            if not note:
                share = ratio_estimate(held + moved, outcomes.divergence, clusters)
                turned = np.sign(across) * held + np.sign(halves[half]) * moved
                signed_parts = ratio_terms(turned, outcomes.divergence)
                signed = mean_estimate(signed_parts, clusters)
                note = _doubt(value, halves)
    return Pursuit(
        change=change,
        value=value,
        share=share,
        signed=signed,
        inside=mean_estimate(inside, clusters),
        inside_share=inside_share,
        beta=float(beta[0]),
        halves=tuple(halves.tolist()),
        note=note,
        signed_parts=signed_parts,
    )


def signed_parts(outcomes: Outcomes, seed: int = 0) -> dict[str, Floats | None]:
    """Return, by its name, each situation's part of the signed share of the change on every scale; [m].

    A share hangs on the scale of the utility: that of βU, of ranks under base, and of the best of n draws
    (see `scales`). None where a share is undefined.
    """
    own = pursuit(outcomes, seed).signed_parts
    if own is None:
        return dict.fromkeys((SIGNED, BY_RANK, BEST_OF_N))
    ranked = pursuit(by_rank(outcomes), seed).signed_parts
    return {SIGNED: own, BY_RANK: ranked, BEST_OF_N: best_of_share(outcomes, seed)}


def pooled_pursuit(
    before: AnswerReadouts, after: AnswerReadouts, context: MeasureContext, goal: str, seed: int = 0
) -> Pursuit:
    """Measure how much of a change is pursuit of a reward, from the answers that each side drew itself.

    As `pursuit`, with the means over each side's own answers in the place of sums over all outcomes. The
    logarithm of a mean over k answers is too small by about half its squared relative standard error, which
    is taken off; the note says how much. β is held to what base's answers can tell (see `PoolDraws.reach`):
    at an end of that range, the pursuit is at least what is told. Intervals cover prompts and drawing.

    Raises:
        TakebackError: the reward applies to no prompt, or a side drew no answers.
    """
    draws = PoolDraws.of(before, after, context, goal)
    if not len(draws):
        raise TakebackError(f"no prompt to which {goal!r} applies")
    clusters, change = draws.clusters, mean_estimate(draws.divergence, draws.clusters)
    beta, ended = draws.fit()
    whole = draws.tilt(np.full(len(draws), beta))
    half, note = draws.halves(seed), no_share(change)
    value = share = signed = inside_share = None
    if not note:
        inside_share = ratio_estimate(whole.gain, draws.divergence, clusters)
    fitted = [draws.some(half == side).fit() for side in range(int(half.max()) + 1)]
    betas = np.array([one for one, _ in fitted])
    if len(betas) > 1:
        across, own = (draws.tilt(some) for some in (betas[1 - half], betas[half]))
        moved = np.zeros(len(draws))
        for side in (0, 1):
            mine = half == side
            if (curvature := own.curvature[mine].sum()) > 0 and betas[side] != 0 and not fitted[side][1]:
                moved[mine] = own.slope[mine] * across.slope[~mine].sum() / curvature
        value = mean_estimate(across.gain + moved, clusters)
        if not note:
            share = ratio_estimate(across.gain + moved, draws.divergence, clusters)
            turned = np.sign(betas[1 - half]) * across.gain + np.sign(betas[half]) * moved
            signed = ratio_estimate(turned, draws.divergence, clusters)
            note = _doubt(value, betas)
    told = [note, f"bias of the logarithm, taken off: {whole.bias.mean():.2g} nats"]
    told += ["β is held to what the draws can tell: at least this"] if ended else []
    return Pursuit(
        change,
        value,
        share,
        signed,
        mean_estimate(whole.gain, clusters),
        inside_share,
        beta,
        tuple(betas.tolist()),
        "; ".join(filter(None, told)),
    )


def pursuit_each(outcomes: Outcomes) -> tuple[Floats, Floats]:
    """Return the pursuit of the first goal with a β for every situation, in nats, and those β; shapes (m,).

    An optimistic bound: a policy that seeks the goal here and shuns it there has all of it.
    """
    each = np.arange(len(outcomes))
    beta = tilts.fit(outcomes.base, outcomes.tuned, outcomes.utility, each)
    return tilts.gains(outcomes.base, outcomes.tuned, outcomes.utility, beta), beta


def pursuit_values(outcomes: Outcomes, beta: float) -> Values:
    """Return the pursuit at a fixed β, a number for each of the readouts' situations, in nats.

    For takebacks: with the β that was fitted for tuned, the values of tuned and of a hybrid pair by
    situation. Their difference is β times that of their expected utilities, in nats, to be compared with
    differences of KL(· || base).

    Raises:
        TakebackError: β is infinite, where a policy that ever takes another outcome has −∞.
    """
    if not np.isfinite(beta):
        raise TakebackError(f"β = {beta} has no value of its own for hybrids; compare utilities instead")
    numbers = np.zeros(len(outcomes.applies))
    fixed = np.full(len(outcomes), beta)
    numbers[outcomes.applies] = tilts.gains(outcomes.base, outcomes.tuned, outcomes.utility, fixed)
    return Values(numbers, outcomes.applies)


def joint_pursuit(outcomes: Outcomes, seed: int = 0) -> JointPursuit:
    """Measure how much of a change is pursuit of all the goals together, and of each given the others.

    As `pursuit`, with a β for each goal: the tilt is exp(Σ β_g U_g). A goal's share given the others is the
    joint share less that of a joint tilt without it, on the same halves; goals that overlap have small ones,
    and they do not add up to the joint share.

    Raises:
        TakebackError: there is no situation to which all the goals apply.
    """
    change, clusters, half = _change(outcomes), outcomes.clusters, outcomes.halves(seed)
    everything = list(range(len(outcomes.goals)))
    found = tilts.fit_jointly(outcomes.base, outcomes.tuned, outcomes.utilities)
    betas = dict(zip(outcomes.goals, found.tolist(), strict=True))
    note = no_share(change)
    if note:
        return JointPursuit(change, None, dict.fromkeys(outcomes.goals), betas, note)
    held = held_out(outcomes, everything, half)
    without = {
        goal: held_out(outcomes, [g for g in everything if g != left], half)
        for left, goal in enumerate(outcomes.goals)
    }
    return JointPursuit(
        change=change,
        share=ratio_estimate(held, outcomes.divergence, clusters),
        given={
            goal: ratio_estimate(held - rest, outcomes.divergence, clusters) for goal, rest in without.items()
        },
        betas=betas,
        note="",
    )


def _change(outcomes: Outcomes) -> Estimate:
    if not len(outcomes):
        raise TakebackError(f"no situation to which {' and '.join(map(repr, outcomes.goals))} applies")
    return mean_estimate(outcomes.divergence, outcomes.clusters)


def no_share(change: Estimate) -> str:
    """Say why there is nothing to take a share of, empty if there is something."""
    if change.low is None:
        return "one cluster of situations: nothing to hold out"
    if change.value < NOISE or change.low <= 0:
        return f"no change to explain: KL {change.value:.2g} [{change.low:.2g}, {change.high:.2g}] nats"
    return ""


def _doubt(value: Estimate, halves: Floats) -> str:
    if not halves.any():
        return "the goal's expected utility is base's: β = 0"
    if halves[0] * halves[1] < 0:
        return f"the halves' β have different signs: {halves[0]:.3g}, {halves[1]:.3g}"
    return "held out, β foretells less than base does" if value.value < 0 else ""


def held_out(outcomes: Outcomes, goals: list[int], half: Places) -> Floats:
    """Return what the joint tilt of some goals gains with the β of the other half, and moves there; (m,).

    `goals` are places among the outcomes' goals, `half` is 0 or 1 for each situation.
    """
    if not goals:
        return np.zeros(len(outcomes))
    base, tuned, utilities = outcomes.base, outcomes.tuned, outcomes.utilities[goals]
    sides = [half == side for side in (0, 1)]
    betas = [tilts.fit_jointly(base[rows], tuned[rows], utilities[:, rows]) for rows in sides]
    found = tilts.influence_of_fit(base, tuned, utilities, half, np.stack(betas))
    for rows, beta in zip(sides, reversed(betas), strict=True):
        found[rows] += tilts.gains_jointly(base[rows], tuned[rows], utilities[:, rows], beta)
    return found
