"""One round of scoring: which nodes are asked, which of their next tokens matter, and the model's answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from takeback.hybrid.memory import in_halves
from takeback.policies.language.forward import next_token_logprobs
from takeback.policies.language.packing import Batch, PackedRows, pack
from takeback.policies.language.trie import TokenTree

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Visit = Callable[[Batch, torch.Tensor], None]
"""Sees each batch with its log-probabilities, float32 of shape (places, vocabulary)."""


@dataclass(frozen=True, eq=False)
class Round:
    """Targets to score, a situation and a node each, and the pairs (target, next token) that are wanted.

    `pairs_of` holds, for each batch, the numbers of the pairs whose targets it scores.
    """

    situations: Ints
    nodes: Ints
    pair_target: Ints
    pair_token: Ints
    batches: tuple[Batch, ...]
    pairs_of: tuple[Ints, ...]

    @classmethod
    def of(
        cls, tree: TokenTree, prompts: Sequence[Ints], targets: tuple[Ints, Ints], pairs: tuple[Ints, Ints]
    ) -> Round:
        """Pack targets into batches and deal the pairs out to them."""
        situations, nodes = targets
        batches = tuple(pack(prompts, situations, nodes, tree, len(tree.vocabulary.texts)))
        batch_of = np.zeros(len(situations), np.int64)
        for number, batch in enumerate(batches):
            batch_of[batch.targets] = number
        pair_batch = batch_of[pairs[0]]
        by_batch = np.argsort(pair_batch, kind="stable")
        bounds = np.searchsorted(pair_batch[by_batch], np.arange(len(batches) + 1))
        pairs_of = tuple(by_batch[bounds[i] : bounds[i + 1]] for i in range(len(batches)))
        return cls(situations, nodes, *pairs, batches, pairs_of)


@dataclass(frozen=True, eq=False)
class RoundAnswers:
    """Conditional probabilities of each pair's token and of an end at each target; its top token."""

    pair: Floats
    end: Floats
    top: Ints

    @classmethod
    def blank(cls, asked: Round) -> RoundAnswers:
        """Return answers with nothing in them yet."""
        targets = len(asked.situations)
        return cls(np.zeros(len(asked.pair_target)), np.zeros(targets), np.zeros(targets, np.int64))


class Scores(Protocol):
    """Scores packed rows with each of several policies, which are known by number."""

    @property
    def policies(self) -> int:
        """How many there are."""
        ...

    def __call__(self, rows: PackedRows, which: Sequence[int], /) -> Iterable[tuple[int, torch.Tensor]]:
        """Yield each policy's number and log-probabilities, as `next_token_logprobs` gives them."""
        ...


@dataclass(frozen=True)
class ModelScores:
    """Scores rows with one model, policy 0."""

    model: PreTrainedModel
    policies: int = 1

    def __call__(self, rows: PackedRows, which: Sequence[int], /) -> list[tuple[int, torch.Tensor]]:
        """Score rows."""
        return [(policy, next_token_logprobs(self.model, rows)) for policy in which]


def ask(
    scores: Scores,
    which: Sequence[int],
    asked: Round,
    ends: NDArray[np.bool_],
    visits: Mapping[int, Visit] | None = None,
) -> dict[int, RoundAnswers]:
    """Score a round with several policies, batch by batch."""
    answers = {policy: RoundAnswers.blank(asked) for policy in which}
    place = np.zeros(len(asked.situations), np.int64)
    ending = np.flatnonzero(ends)
    for whole, pairs_of in zip(asked.batches, asked.pairs_of, strict=True):
        for batch, policy, scored in _scored(scores, whole, which):
            place[batch.targets] = batch.places
            pairs = pairs_of
            if batch is not whole:
                pairs = pairs_of[np.isin(asked.pair_target[pairs_of], batch.targets)]
            logprobs, found = scored.flatten(0, 1), answers[policy]
            rows, columns, places, ended = (
                torch.from_numpy(at).to(logprobs.device)
                for at in (
                    place[asked.pair_target[pairs]],
                    asked.pair_token[pairs],
                    batch.places,
                    ending,
                )
            )
            found.pair[pairs] = _probabilities(logprobs[rows, columns])
            found.end[batch.targets] = _probabilities(logprobs[:, ended][places]).sum(axis=1)
            found.top[batch.targets] = logprobs.argmax(dim=-1)[places].cpu().numpy()
            if visits is not None:
                visits[policy](batch, logprobs)
    return answers


def _scored(scores: Scores, whole: Batch, which: Sequence[int]) -> Iterator[tuple[Batch, int, torch.Tensor]]:
    """Score a batch with each policy, or its halves where memory does not suffice for those that are left."""

    def run(work: tuple[Batch, list[int]]) -> Iterator[tuple[Batch, int, torch.Tensor]]:
        batch, left = work
        for policy, scored in scores(batch.rows, tuple(left)):
            yield batch, policy, scored
            left.remove(policy)

    yield from in_halves(
        (whole, list(which)),
        len(whole.rows.tokens),
        run,
        lambda work: ((half, list(work[1])) for half in work[0].halves()),
    )


def _probabilities(logprobs: torch.Tensor) -> Floats:
    return np.exp(logprobs.cpu().numpy().astype(np.float64))
