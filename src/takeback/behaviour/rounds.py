"""One round of scoring: which nodes are asked, which of their next tokens matter, and the model's answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from takeback.behaviour.packing import Batch, pack
from takeback.behaviour.policy import next_token_logprobs
from takeback.behaviour.trie import TokenTree

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
class Answers:
    """Conditional probabilities of each pair's token and of an end at each target; its top token."""

    pair: Floats
    end: Floats
    top: Ints


def ask(model: PreTrainedModel, asked: Round, ends: NDArray[np.bool_], visit: Visit | None = None) -> Answers:
    """Score a round, batch by batch."""
    pair = np.zeros(len(asked.pair_target))
    end = np.zeros(len(asked.situations))
    top = np.zeros(len(asked.situations), np.int64)
    place = np.zeros(len(asked.situations), np.int64)
    ending = torch.from_numpy(np.flatnonzero(ends))
    for batch, pairs in zip(asked.batches, asked.pairs_of, strict=True):
        logprobs = next_token_logprobs(model, batch.rows).flatten(0, 1)
        place[batch.targets] = batch.places
        places = torch.from_numpy(batch.places).to(logprobs.device)
        cells = torch.from_numpy(
            place[asked.pair_target[pairs]] * logprobs.shape[1] + asked.pair_token[pairs]
        )
        pair[pairs] = _probabilities(logprobs.flatten()[cells.to(logprobs.device)])
        end[batch.targets] = _probabilities(logprobs[:, ending.to(logprobs.device)][places]).sum(axis=1)
        top[batch.targets] = logprobs.argmax(dim=-1)[places].cpu().numpy()
        if visit is not None:
            visit(batch, logprobs)
    return Answers(pair, end, top)


def _probabilities(logprobs: torch.Tensor) -> Floats:
    return np.exp(logprobs.cpu().numpy().astype(np.float64))
