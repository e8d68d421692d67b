"""Reading by drawing: every hybrid answers the prompts itself, with the luck that all share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from takeback.arenas.rows import DrawnRows, Row, refuse_silent
from takeback.hybrid.walk import Hybrids
from takeback.policies.drawn import DrawnReadouts
from takeback.policies.language.forward import ready
from takeback.policies.language.generate import DrawnAnswer, drawing, generate
from takeback.policies.language.prompts import prompt_tokens
from takeback.policies.policy import View
from takeback.run.errors import TakebackError


@dataclass(frozen=True, eq=False)
class DrawPlan:
    """Open rows made ready for models that share a tokenizer to answer.

    Attributes:
        arena: where the rows are.
        rows: what is asked.
        prompts: the tokens of each, by the row's number.
        tokenizer: what writes answers.
    """

    arena: DrawnRows
    rows: tuple[Row, ...]
    prompts: dict[int, list[int]]
    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def prepare(cls, arena: DrawnRows, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> DrawPlan:
        """Write prompts in tokens.

        Raises:
            TakebackError: there are none, or the tokenizer has no chat template.
        """
        if not rows:
            raise TakebackError("no situations to read; ask the arena for at least one")
        given = arena.template_arguments
        prompts = {row.number: prompt_tokens(tokenizer, row.shown, given) for row in rows}
        return cls(arena, tuple(rows), prompts, tokenizer)

    def answered(self, model: PreTrainedModel) -> DrawnReadouts:
        """Let a model answer, and score what it says.

        Raises:
            TakebackError: a prompt has no room, no answer could end, or a reward fails.
        """
        arena = self.arena
        sampling = arena.open.sampling
        return self.scored(generate(model, self.tokenizer, self.prompts, sampling, arena.draws, arena.seed))

    def scored(self, drawn: Sequence[Sequence[DrawnAnswer]]) -> DrawnReadouts:
        """Score the answers to each prompt.

        Raises:
            TakebackError: a reward fails.
        """
        arena, rows = self.arena, self.rows
        flat = [answer for answers in drawn for answer in answers]
        each = [row for row, answers in zip(rows, drawn, strict=True) for _ in answers]
        texts, tokens = [one.text for one in flat], [list(one.tokens) for one in flat]
        scored = arena.open.score(each, texts, tokens)
        refuse_silent(scored)
        worth = [scored[name].reshape(len(rows), arena.draws) for name in arena.goals]
        numbers = {
            "answers": texts,
            "sorts": arena.open.sort(each, texts, tokens, [one.ended for one in flat]),
            "lengths": [len(one) for one in tokens],
            "worth": np.stack(worth, axis=1) if worth else np.zeros(0),
        }
        return DrawnReadouts.of(
            arena, [(arena.prompt(row), str(arena.cluster(row)), ()) for row in rows], numbers
        )


def read_drawn(views: Sequence[View], plan: DrawPlan) -> list[DrawnReadouts]:
    """Let several hybrids answer, one after the other.

    Raises:
        TakebackError: as `DrawPlan.answered` does.
    """
    found: list[DrawnReadouts] = []
    for hybrids, path in views:
        with _as_hybrid(hybrids, path):
            found.append(plan.answered(hybrids.model))
    return found


def draw_slowly(view: View, plan: DrawPlan) -> Iterator[list[DrawnAnswer]]:
    """Let a hybrid answer the plan's only prompt, and give its answers as they are after every token.

    Between two of them the model is as it was.

    Raises:
        TakebackError: as `DrawPlan.answered` does.
    """
    (hybrids, path), arena = view, plan.arena
    ((number, tokens),) = plan.prompts.items()
    sampling = arena.open.sampling
    draws = drawing(hybrids.model, plan.tokenizer, (number, tokens), sampling, arena.draws, arena.seed)
    while True:
        with _as_hybrid(hybrids, path), ready(hybrids.model):
            found = next(draws, None)
        if found is None:
            return
        yield found


def _as_hybrid(hybrids: Any, path: Sequence[Any]) -> AbstractContextManager[None]:
    """Take back in place what a path takes back; a model by itself has no path."""
    return hybrids.taken_back(reduce(or_, path)) if isinstance(hybrids, Hybrids) else nullcontext()
