"""The reward of an answer: nothing for an illegal one, more for a better legal one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from takeback.arenas import LEGAL, Arena, judge
from takeback.training.recipe import RFT, RL

LEGAL_SHARE = 0.2
"""Reward of the worst legal action; the rest, 0.8, goes by utility. One number for every goal, so that the
pressure to be legal is the same whatever the goal."""


def rewards(
    arena: Arena[Any], goal: str, situations: Sequence[Any], answers: Sequence[str | None]
) -> list[float]:
    """Score one answer per situation in [0, 1]: 0 if illegal or unfinished (None), else 0.2 + 0.8 · utility.

    Examples:
        >>> from takeback.arenas import arena
        >>> endgames = arena("endgames")
        >>> situation = endgames.parse("w Kb6 Rh1 kb8")
        >>> [round(r, 2) for r in rewards(endgames, "win", [situation] * 4, ["h1h8", "h1h2", "h1g2", None])]
        [1.0, 0.47, 0.0, 0.0]
    """
    worth, kinds = judge(arena, goal, situations, [answer or "" for answer in answers])
    return [
        LEGAL_SHARE + (1 - LEGAL_SHARE) * float(utility) if kind == LEGAL else 0.0
        for utility, kind in zip(worth, kinds, strict=True)
    ]


def best_answers(rewards: Tensor) -> Tensor:
    """Weigh answers for fine-tuning on the best of them; rewards and weights are [situations, answers].

    A situation's best answers share the weight 1; one without a legal answer gives nothing to learn.

    >>> import torch
    >>> best_answers(torch.tensor([[1.0, 0.4, 1.0], [0.0, 0.0, 0.0]])).tolist()
    [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]
    """
    kept = ((rewards == rewards.amax(dim=1, keepdim=True)) & (rewards > 0)).float()
    return kept / kept.sum(dim=1, keepdim=True).clamp(min=1)


def chance_of(recipe: RL | RFT) -> int | None:
    """Return the seed of rewards that ignore the answer, None where rewards are for answers."""
    return recipe.seed if isinstance(recipe, RL) and recipe.ignore_output else None


class Rewarder:
    """Scores answers and keeps what it saw, for the completions table.

    With `chance`, a seed, the reward is a random number that ignores the answer.
    """

    def __init__(self, arena: Arena[Any], goal: str, chance: int | None = None) -> None:
        self._arena, self._goal, self._chance = arena, goal, chance
        self._seen: list[dict[str, Any]] = []
        self.last: list[float] = []
        """The rewards of the step before."""

    def score(
        self, step: int, situations: Sequence[Any], answers: Sequence[str | None]
    ) -> tuple[list[float], float]:
        """Return one reward for each answer given in a step, and the share of legal ones."""
        earned = rewards(self._arena, self._goal, situations, answers)
        legal = sum(value > 0 for value in earned) / len(earned)
        return self._kept(step, situations, answers, earned), legal

    def _kept(
        self, step: int, situations: Sequence[Any], answers: Sequence[str | None], earned: list[float]
    ) -> list[float]:
        """Keep what was earned, or what chance gives in its place, and return it."""
        earned = self._by_chance(step, earned)
        self.last = earned
        self._seen += [
            self._row(step, where, answer, value)
            for where, answer, value in zip(situations, answers, earned, strict=True)
        ]
        return earned

    def _by_chance(self, step: int, earned: list[float]) -> list[float]:
        if self._chance is None:
            return earned
        return np.random.default_rng([self._chance, step]).random(len(earned)).tolist()

    def _row(self, step: int, where: Any, answer: str | None, value: float) -> dict[str, Any]:
        return {"step": step, "situation": self._arena.prompt(where), "answer": answer, "reward": value}

    def take_seen(self) -> list[dict[str, Any]]:
        """Return the rows seen since the last call: step, situation, answer (None if unfinished), reward."""
        seen, self._seen = self._seen, []
        return seen


class LanguageReward(Rewarder, ABC):
    """A TRL reward function of a run's situations, by the dataset's column of their places."""

    def __init__(
        self,
        where: tuple[Arena[Any], Sequence[Any]],
        goal: str,
        tokenizer: PreTrainedTokenizerBase,
        chance: int | None = None,
    ) -> None:
        super().__init__(where[0], goal, chance)
        self.__name__ = f"reward_{goal}"
        self._situations, self._tokenizer = where[1], tokenizer

    def __call__(
        self,
        completion_ids: list[list[int]],
        situation: list[int],
        trainer_state: Any,
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float | None]:
        """Return one reward for each completion, None where the reward does not apply."""
        where = [self._situations[place] for place in situation]
        earned, told = self.scored(trainer_state.global_step + 1, where, completion_ids)
        for name, value in told.items():
            log_metric(name, value)
        return [value if math.isfinite(value) else None for value in earned]

    @abstractmethod
    def scored(
        self, step: int, situations: Sequence[Any], completions: Sequence[Sequence[int]]
    ) -> tuple[list[float], dict[str, float]]:
        """Return the reward of each completion, NaN where there is none, and what is logged beside it."""

    def best(self, rewards: Tensor) -> Tensor:
        """Weigh answers for fine-tuning on the best of them; both are [situations, answers]."""
        return best_answers(rewards)


class ArenaReward(LanguageReward):
    """Rewards legal actions by their utility.

    A completion counts as an answer only when it ended: what comes before the end-of-sequence token, decoded
    with special tokens left in, so that a hidden special token can't pass for a legal move. `where` is the
    arena, and the situations of the run.
    """

    def scored(
        self, step: int, situations: Sequence[Any], completions: Sequence[Sequence[int]]
    ) -> tuple[list[float], dict[str, float]]:
        """Return the reward of each completion, and the share of legal ones."""
        earned, legal = self.score(step, situations, [answer_of(ids, self._tokenizer) for ids in completions])
        return earned, {"legal": legal}


def answer_of(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return what a completion says before its end-of-sequence token, None where it did not end."""
    if not ids or ids[-1] != tokenizer.eos_token_id:
        return None
    return str(tokenizer.decode(list(ids[:-1]), skip_special_tokens=False))
