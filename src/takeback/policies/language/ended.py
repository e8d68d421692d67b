"""Answers that are no legal action, one by one: what a model says in place of one, and how likely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from takeback.policies.language.expand import Decided, Expansion
from takeback.policies.language.plan import ReadoutPlan
from takeback.policies.language.rounds import Round, Scores, ask


@dataclass(frozen=True)
class IllegalAnswer:
    """An answer that is no legal action: its text, its kind, and its probability."""

    text: str
    kind: str
    probability: float


def illegal_answers(
    scores: Scores, plan: ReadoutPlan, steps: Sequence[Expansion]
) -> list[list[IllegalAnswer]]:
    """Return what policy 0 answers in each situation that is no legal action, the likeliest first.

    Dead ends have no text of their own and are left out, as is what the steps leave undecided.
    """
    found: list[dict[str, IllegalAnswer]] = [{} for _ in plan.texts]
    for situation, text, probability in _ended(scores, plan, steps):
        outcome = plan.judge(situation, text)
        if outcome >= plan.judge.actions:
            kind = plan.arena.kinds[(outcome - plan.judge.actions) % len(plan.arena.kinds)]
            before = found[situation].get(text, IllegalAnswer(text, kind, 0.0))
            found[situation][text] = IllegalAnswer(text, kind, before.probability + probability)
    return [sorted(some.values(), key=lambda one: -one.probability) for some in found]


def _ended(scores: Scores, plan: ReadoutPlan, steps: Sequence[Expansion]) -> Iterator[tuple[int, str, float]]:
    """Yield the situation, the text and the probability of each answer that ends."""
    ends, legal = plan.tree.vocabulary.ends, plan.legal.round
    answers = ask(scores, [0], legal, ends)[0]
    reach = plan.legal.reach(answers)
    yield from _told(plan, legal, reach * answers.end)
    known = Decided.first(plan, answers, reach)
    for step in steps:
        reach = known.frontier.masses[step.chosen]
        answers = ask(scores, [0], step.asked, ends)[0]
        yield from _told(plan, step.asked, reach * answers.end)
        known = known.after(plan, step, answers)


def _told(
    plan: ReadoutPlan, asked: Round, probabilities: NDArray[np.float64]
) -> Iterator[tuple[int, str, float]]:
    each = zip(asked.situations.tolist(), asked.nodes.tolist(), probabilities.tolist(), strict=True)
    yield from ((situation, plan.tree.answer(node), probability) for situation, node, probability in each)
