"""Hybrids of language models as scores of packed rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from takeback.hybrid.walk import Hybrids, Path
from takeback.policies.language.forward import inputs_of
from takeback.policies.language.packing import PackedRows
from takeback.policies.policy import View, by_model


@dataclass(frozen=True)
class HybridScores:
    """Scores packed rows with hybrids of one model: policy i is the one that takes back `paths[i]`."""

    hybrids: Hybrids
    paths: Sequence[Path]

    @property
    def policies(self) -> int:
        """How many hybrids there are."""
        return len(self.paths)

    def __call__(self, rows: PackedRows, which: Sequence[int], /) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield each hybrid's number and log-probabilities, (rows, 1 + nodes, vocabulary), in any order."""
        inputs = inputs_of(self.hybrids.model, rows)
        for place, logits in self.hybrids.logits(inputs, [self.paths[policy] for policy in which]):
            yield which[place], torch.log_softmax(logits.float(), dim=-1)


@dataclass(frozen=True)
class Apart:
    """Scores rows with hybrids of several models: those of one model share what they have in common.

    Attributes:
        groups: the scores of each model, with the numbers of its policies here.
    """

    groups: tuple[tuple[HybridScores, tuple[int, ...]], ...]

    @classmethod
    def of(cls, views: Sequence[View]) -> Apart:
        """Group views by the model whose hybrids they are."""
        return cls(
            tuple(
                (HybridScores(views[members[0]][0], [views[place][1] for place in members]), tuple(members))
                for members in by_model(views)
            )
        )

    @property
    def policies(self) -> int:
        """How many hybrids there are."""
        return sum(len(members) for _, members in self.groups)

    def __call__(self, rows: PackedRows, which: Sequence[int], /) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield each hybrid's number and log-probabilities, model by model."""
        for scores, members in self.groups:
            chosen = [place for place, policy in enumerate(members) if policy in which]
            for place, scored in scores(rows, chosen) if chosen else ():
                yield members[place], scored
