"""Exact illegality: undecided prefixes are expanded, heaviest first, until almost none is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from takeback.policies.language.plan import ReadoutPlan
from takeback.policies.language.rounds import Round, RoundAnswers, Scores, ask
from takeback.run.grouping import sum_by

LEFT = 0.85
"""Share of the tolerance that is left undecided in every round; measured: 0.5 costs a third more nodes."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frontier:
    """Prefixes not decided yet: a situation, a node and the token after it, with their probability."""

    situations: Ints
    nodes: Ints
    tokens: Ints
    masses: Floats

    def __getitem__(self, which: NDArray[np.bool_]) -> Frontier:
        return Frontier(self.situations[which], self.nodes[which], self.tokens[which], self.masses[which])

    def __add__(self, other: Frontier) -> Frontier:
        return Frontier(
            np.concatenate([self.situations, other.situations]),
            np.concatenate([self.nodes, other.nodes]),
            np.concatenate([self.tokens, other.tokens]),
            np.concatenate([self.masses, other.masses]),
        )

    def totals(self, situations: int) -> Floats:
        """Return the undecided mass of each situation."""
        return sum_by(self.situations, self.masses, situations)

    def heavy(self, situations: int, tolerance: float) -> NDArray[np.bool_]:
        """Tell what to expand: in situations above the tolerance, all but the lightest few.

        These may hold `LEFT` of the tolerance; the rest is for what the expanded ones leave undecided. Ties
        go by place.
        """
        if tolerance == 0:
            return self.masses > 0
        order = np.lexsort((self.masses, self.situations))
        running = np.cumsum(self.masses[order])
        start = np.searchsorted(self.situations[order], np.arange(situations))
        before = np.concatenate([[0.0], running])[start]
        light = np.empty(len(order), np.bool_)
        light[order] = running - before[self.situations[order]] <= LEFT * tolerance
        return ~light & (self.totals(situations) > tolerance)[self.situations] & (self.masses > 0)


@dataclass(frozen=True, eq=False)
class Expansion:
    """A round of expansion: which prefixes of the frontier grow, what is asked, what ending at each means.

    `marks` says which they are in plain numbers, shape (prefixes, 2): the situation, and the place among all
    prefixes of that situation. Other situations have no influence on them.
    """

    chosen: NDArray[np.bool_]
    marks: Ints
    asked: Round
    ends: Ints


@dataclass(frozen=True, eq=False)
class Decided:
    """What is known of one policy: the probability of every outcome, and what is not decided yet.

    The frontiers of policies that took the same steps hold the same prefixes in the same places.
    """

    outcomes: Floats
    frontier: Frontier

    @classmethod
    def first(cls, plan: ReadoutPlan, answers: RoundAnswers, masses: Floats) -> Decided:
        """Start from the legal round's answers and the probability of reaching its targets."""
        outcomes, frontier = _settle(plan, plan.legal.round, answers, masses, plan.legal.end)
        return cls(outcomes, frontier[plan.legal.child < 0])

    def after(self, plan: ReadoutPlan, step: Expansion, answers: RoundAnswers) -> Decided:
        """Return what is known after a step."""
        growing = self.frontier[step.chosen]
        found, reached = _settle(plan, step.asked, answers, growing.masses, step.ends)
        return Decided(self.outcomes + found, self.frontier[~step.chosen] + reached)


def expand(
    scores: Scores, plan: ReadoutPlan, known: Mapping[int, Decided], tolerance: float
) -> tuple[dict[int, Decided], tuple[Expansion, ...]]:
    """Decide outcomes until no policy has more than `tolerance` undecided in a situation.

    All policies take the same steps: what is heavy for one grows for all. Returns what is known of each in
    the end, and the steps.
    """
    known, steps = dict(known), list[Expansion]()
    while True:
        frontiers = [decided.frontier for decided in known.values()]
        heavy = [frontier.heavy(len(plan.texts), tolerance) for frontier in frontiers]
        chosen = np.logical_or.reduce(heavy)
        if not chosen.any():
            return known, tuple(steps)
        steps.append(_step(plan, frontiers[0], chosen))
        known = follow(scores, plan, known, steps[-1:])


def follow(
    scores: Scores, plan: ReadoutPlan, known: Mapping[int, Decided], steps: Sequence[Expansion]
) -> dict[int, Decided]:
    """Take steps that are laid out already, with all policies."""
    after = dict(known)
    for step in steps:
        answers = ask(scores, tuple(after), step.asked, plan.tree.vocabulary.ends)
        after = {policy: before.after(plan, step, answers[policy]) for policy, before in after.items()}
    return after


def laid_out(plan: ReadoutPlan, marks: Sequence[Ints]) -> tuple[Expansion, ...]:
    """Lay out the steps that marks stand for; no model is asked."""
    legal = plan.legal.round
    frontier = _reached(legal, np.zeros(len(legal.pair_target)))[plan.legal.child < 0]
    steps: list[Expansion] = []
    for marked in (one for one in marks if len(one)):
        order = np.argsort(frontier.situations, kind="stable")
        starts = np.searchsorted(frontier.situations[order], np.arange(len(plan.texts)))
        chosen = np.zeros(len(order), np.bool_)
        chosen[order[starts[marked[:, 0]] + marked[:, 1]]] = True
        steps.append(_step(plan, frontier, chosen))
        asked = steps[-1].asked
        frontier = frontier[~chosen] + _reached(asked, np.zeros(len(asked.pair_target)))
    return tuple(steps)


def _reached(asked: Round, masses: Floats) -> Frontier:
    """Return what lies behind a round: each of its pairs, with these probabilities."""
    at = asked.pair_target
    return Frontier(asked.situations[at], asked.nodes[at], asked.pair_token, masses)


def _settle(
    plan: ReadoutPlan, asked: Round, answers: RoundAnswers, masses: Floats, ends: Ints
) -> tuple[Floats, Frontier]:
    """Book a round's ends and dead ends; return outcomes, and the mass of every pair, not booked yet."""
    going_on = sum_by(asked.pair_target, answers.pair, len(masses))
    dead = masses * np.maximum(1 - answers.end - going_on, 0)
    outcomes = plan.judge.outcomes
    decided = sum_by(ends, masses * answers.end, outcomes)
    decided += sum_by(plan.judge.dead_ends[asked.situations], dead, outcomes)
    return decided, _reached(asked, masses[asked.pair_target] * answers.pair)


def _step(plan: ReadoutPlan, frontier: Frontier, chosen: NDArray[np.bool_]) -> Expansion:
    """Lay out the round that expands these prefixes; with the outcome of ending at each."""
    tree, growing = plan.tree, frontier[chosen]
    grown = zip(growing.nodes.tolist(), growing.tokens.tolist(), strict=True)
    nodes = np.array([tree.child(node, token) for node, token in grown])
    following = [tree.continuations(node) for node in nodes.tolist()]
    pair_target = np.repeat(np.arange(len(nodes)), [len(tokens) for tokens in following])
    pairs = (pair_target, np.concatenate(following))
    where = zip(growing.situations.tolist(), nodes.tolist(), strict=True)
    ends = np.array([plan.judge(situation, tree.answer(node)) for situation, node in where])
    order = np.argsort(frontier.situations, kind="stable")
    first = np.searchsorted(frontier.situations[order], frontier.situations[order])
    place = np.empty_like(order)
    place[order] = np.arange(len(order)) - first
    marks = np.stack([growing.situations, place[chosen]], axis=1)
    return Expansion(chosen, marks, Round.of(tree, plan.prompts, (growing.situations, nodes), pairs), ends)
