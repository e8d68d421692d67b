"""Readouts of answers drawn anew: what a policy said to each prompt, and what that is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from takeback.policies.readout import Readouts

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Texts = NDArray[np.str_]


@dataclass(frozen=True, eq=False, repr=False)
class DrawnReadouts(Readouts):
    """Answers of one policy to n prompts; of all policies a draw of a prompt has the same luck.

    Attributes:
        rewards: the names of the rewards.
        answers: what was said, shape (n, draws).
        sorts: the kind of each, empty for an ordinary one, shape (n, draws).
        lengths: how many tokens each has, shape (n, draws).
        worth: what each reward gave, NaN where it does not apply, shape (n, rewards, draws).
    """

    NUMBERS: ClassVar = ("answers", "sorts", "lengths", "worth")
    OF_ACTIONS: ClassVar = ()
    OF_SITUATIONS: ClassVar = (*Readouts.OF_SITUATIONS, *NUMBERS)

    rewards: tuple[str, ...]
    answers: Texts
    sorts: Texts
    lengths: Ints
    worth: Floats

    @classmethod
    def of(
        cls, arena: Any, situations: Sequence[tuple[str, str, tuple[str, ...]]], numbers: Mapping[str, Any]
    ) -> DrawnReadouts:
        """Put together what is known of prompts with what a policy answered.

        Args:
            arena: open rows that are read by drawing.
            situations: each prompt's text, its cluster, and no actions.
            numbers: arrays by name, as in `NUMBERS`, of any shape.
        """
        texts, clusters, actions = zip(*situations, strict=True)
        n, rewards = len(texts), tuple(arena.goals)
        shape = n, np.size(numbers["lengths"]) // n
        return cls(
            arena=arena.name,
            situations=texts,
            clusters=clusters,
            actions=actions,
            probabilities=np.zeros(0),
            illegal=(),
            masses=np.zeros((n, 0)),
            undecided=np.zeros(n),
            greedy=np.full(n, -1),
            drawn_legal=np.ones(n),
            samples=shape[1],
            errors=np.zeros((n, 0)),
            lower_bound=np.zeros(n, np.bool_),
            rewards=rewards,
            answers=np.asarray(numbers["answers"], np.str_).reshape(shape),
            sorts=np.asarray(numbers["sorts"], np.str_).reshape(shape),
            lengths=np.asarray(numbers["lengths"], np.int64).reshape(shape),
            worth=np.asarray(numbers["worth"], np.float64).reshape(n, len(rewards), shape[1]),
        )

    def __repr__(self) -> str:
        return f"Readouts of {self.arena}: {len(self)} prompts, {self.draws} answers drawn to each"

    @property
    def draws(self) -> int:
        """Answers to each prompt."""
        return self.answers.shape[1]

    def reward(self, name: str) -> Floats:
        """Return what a reward gave on average over a prompt's answers, shape (n,).

        NaN where it applies to none of them.
        """
        return _mean(self.worth[:, self.rewards.index(name)])

    def share(self, kind: str) -> Floats:
        """Return the share of a prompt's answers that are of a kind, shape (n,)."""
        return (self.sorts == kind).mean(axis=1)

    @property
    def length(self) -> Floats:
        """How many tokens a prompt's answers have on average, shape (n,)."""
        return self.lengths.mean(axis=1)

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each answer.

        Columns: arena, item, situation, cluster, draw, answer, kind, tokens, and a column `reward NAME` for
        each reward, missing where it does not apply.
        """
        import pandas as pd

        n, draws = self.answers.shape
        item = np.repeat(np.arange(n), draws)
        told = {
            "arena": self.arena,
            "item": item,
            "situation": np.array(self.situations, dtype=object)[item],
            "cluster": np.array(self.clusters, dtype=object)[item],
            "draw": np.tile(np.arange(draws), n),
            "answer": self.answers.ravel(),
            "kind": self.sorts.ravel(),
            "tokens": self.lengths.ravel(),
        }
        worth = {
            f"reward {name}": pd.array(self.worth[:, place].ravel(), "Float64")
            for place, name in enumerate(self.rewards)
        }
        return pd.DataFrame({**told, **worth})


def _mean(numbers: Floats) -> Floats:
    """Return the mean over the last axis of what is no NaN, NaN where all are."""
    known = np.isfinite(numbers)
    count = known.sum(axis=-1)
    total = np.where(known, numbers, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
