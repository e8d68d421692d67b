"""Reading language models: from a prepared plan and a model to readouts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from takeback.policies.language.expand import Decided, Expansion, expand, follow
from takeback.policies.language.forward import ready
from takeback.policies.language.plan import ReadoutPlan
from takeback.policies.language.rounds import ModelScores, RoundAnswers, Scores, ask
from takeback.policies.language.sample import Sampler
from takeback.policies.readout import SAMPLES, TOLERANCE, Readouts, drawn_legal
from takeback.run.errors import TakebackError
from takeback.run.grouping import sum_by

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def read_plan(
    model: PreTrainedModel,
    plan: ReadoutPlan,
    *,
    tolerance: float = TOLERANCE,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Readouts:
    """Read what a model does in a plan's situations.

    The probability of every legal action is exact: the sum over its spellings of the probability of the
    tokens and of an end of the answer after them. With a small vocabulary (`plan.exact`) so is the mass of
    every class of illegality, up to `undecided` <= tolerance, all of it illegal; tolerance 0 decides
    everything. With an ordinary vocabulary the rest, 1 - legal mass, is divided among the classes as among
    those of `samples` seeded answers that are no summed spelling; what they show of other spellings of legal
    actions, or the whole rest if they show nothing of it, is `undecided`.

    Raises:
        TakebackError: a negative tolerance, no samples, or a model with fewer tokens than the tokenizer.
    """
    check_vocabulary(model, plan)
    with ready(model):
        (readouts,), _ = read_each(ModelScores(model), plan, tolerance=tolerance, samples=samples, seed=seed)
    return readouts


def check_vocabulary(model: PreTrainedModel, plan: ReadoutPlan) -> None:
    """Raise if a model has fewer tokens than a plan's tokenizer.

    Raises:
        TakebackError: it has.
    """
    size, needed = model.config.get_text_config().vocab_size, len(plan.tree.vocabulary.texts)
    if size < needed:
        raise TakebackError(f"the model knows {size} tokens, the tokenizer {needed}: use its own")


def read_each(
    scores: Scores,
    plan: ReadoutPlan,
    *,
    tolerance: float = TOLERANCE,
    samples: int = SAMPLES,
    seed: int = 0,
    steps: Sequence[Expansion] | None = None,
) -> tuple[list[Readouts], tuple[Expansion, ...]]:
    """Read several policies on the same batches: `read_plan`, but for what is expanded to decide classes.

    Without `steps` all policies expand the same prefixes, those that are heavy for any of them. With `steps`,
    which an earlier call returned, they expand those; one that has more than `tolerance` undecided after
    that goes on alone. So readouts that are to be compared are decided on the same prefixes.

    Returns:
        The readouts of policies 0, 1, ..., and the steps that all of them took.

    Raises:
        TakebackError: a negative tolerance, or no samples.
    """
    if tolerance < 0 or samples < 1:
        raise TakebackError(
            f"tolerance {tolerance} and samples {samples}: use tolerance >= 0 and samples >= 1"
        )
    legal, ends = plan.legal.round, plan.tree.vocabulary.ends
    if not plan.exact:
        samplers = {policy: Sampler(plan, samples, seed) for policy in range(scores.policies)}
        visits = {policy: partial(sampler.visit, legal) for policy, sampler in samplers.items()}
        answers = ask(scores, range(scores.policies), legal, ends, visits)
        for policy, sampler in samplers.items():
            sampler.finish(scores, policy)
        return [_sampled(plan, answers[policy], samplers[policy]) for policy in range(scores.policies)], ()
    answers = ask(scores, range(scores.policies), legal, ends)
    known = {policy: Decided.first(plan, found, plan.legal.reach(found)) for policy, found in answers.items()}
    if steps is None:
        known, steps = expand(scores, plan, known, tolerance)
    else:
        known = follow(scores, plan, known, steps)
        for policy, decided in known.items():
            known |= expand(scores, plan, {policy: decided}, tolerance)[0]
    readouts = [
        _exact(plan, answers[policy], known[policy], (samples, seed)) for policy in range(scores.policies)
    ]
    return readouts, tuple(steps)


def _exact(plan: ReadoutPlan, answers: RoundAnswers, decided: Decided, draws: tuple[int, int]) -> Readouts:
    legal_mass = sum_by(_owner(plan), decided.outcomes[: plan.judge.actions], len(plan.texts))
    return _readouts(
        plan,
        decided.outcomes,
        undecided=decided.frontier.totals(len(plan.texts)),
        greedy=_greedy(plan, answers),
        drawn_legal=drawn_legal(legal_mass, *draws),
        samples=0,
        errors=np.zeros((len(plan.texts), len(plan.arena.kinds))),
    )


def _sampled(plan: ReadoutPlan, answers: RoundAnswers, sampler: Sampler) -> Readouts:
    outcomes, undecided, errors = _shared_out(plan, answers, plan.legal.reach(answers), sampler)
    return _readouts(
        plan,
        outcomes,
        undecided=undecided,
        greedy=_greedy(plan, answers),
        drawn_legal=_legal_draws(plan, sampler),
        samples=sampler.samples,
        errors=errors,
    )


def _readouts(plan: ReadoutPlan, outcomes: Floats, **found: Any) -> Readouts:
    actions = plan.judge.actions
    return Readouts(
        arena=plan.arena.name,
        situations=plan.texts,
        clusters=plan.clusters,
        actions=plan.actions,
        probabilities=outcomes[:actions],
        illegal=tuple(plan.arena.kinds),
        masses=outcomes[actions:].reshape(len(plan.texts), -1),
        lower_bound=plan.lower_bound,
        **found,
    )


def _owner(plan: ReadoutPlan) -> Ints:
    """Return the situation of each legal action."""
    return np.repeat(np.arange(len(plan.texts)), [len(legal) for legal in plan.actions])


def _greedy(plan: ReadoutPlan, answers: RoundAnswers) -> Ints:
    """Follow each target's most likely token from the roots; return the action that is reached, or -1."""
    legal = plan.legal
    follows = np.full(len(legal.round.nodes), -1)
    taken = answers.top[legal.round.pair_target] == legal.round.pair_token
    follows[legal.round.pair_target[taken]] = legal.child[taken]
    at = legal.roots
    for _ in legal.levels:
        at = np.where(follows[at] >= 0, follows[at], at)
    vocabulary = plan.tree.vocabulary
    top = answers.top[at]
    known = top < len(vocabulary.ends)
    ended = known & vocabulary.ends[np.where(known, top, 0)]
    action = legal.end[at]
    good = ended & (action >= 0) & (action < plan.judge.actions)
    return np.where(good, action - plan.judge.offsets[:-1], -1)


def _legal_draws(plan: ReadoutPlan, sampler: Sampler) -> Floats:
    offsets = plan.judge.offsets
    running = np.concatenate([[0], np.cumsum(sampler.counts[: plan.judge.actions])])
    return (running[offsets[1:]] - running[offsets[:-1]]) / sampler.samples


def _shared_out(
    plan: ReadoutPlan, answers: RoundAnswers, masses: Floats, sampler: Sampler
) -> tuple[Floats, Floats, Floats]:
    """Divide all but summed legal actions as the samples do; return outcomes, undecided, errors.

    Errors take shares from Jeffreys' prior, (x + 1/2) / (n + 1), so that a class never seen has one too
    (Brown, Cai, DasGupta 2001, "Interval estimation for a binomial proportion", Statistical Science 16(2)).
    """
    n, actions = len(plan.texts), plan.judge.actions
    done = plan.legal.end >= 0
    outcomes = sum_by(plan.legal.end[done], (masses * answers.end)[done], plan.judge.outcomes)
    rest = np.maximum(1 - sum_by(_owner(plan), outcomes[:actions], n), 0)
    seen = sampler.counts[actions:].reshape(n, -1)
    others = (sampler.samples - sampler.listed)[:, None]
    shares = seen / np.maximum(others, 1)
    likely = (seen + 0.5) / (others + 1)
    outcomes[actions:] = (rest[:, None] * shares).reshape(-1)
    errors = rest[:, None] * np.sqrt(likely * (1 - likely) / (others + 1))
    return outcomes, rest * np.maximum(1 - shares.sum(axis=1), 0), errors
