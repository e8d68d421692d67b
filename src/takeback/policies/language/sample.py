"""Sampled illegality, for large vocabularies: seeded draws from exact next-token distributions."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from takeback.policies.language.packing import Batch
from takeback.policies.language.plan import ReadoutPlan
from takeback.policies.language.rounds import Round, Scores, ask
from takeback.policies.language.trie import ROOT

Ints = NDArray[np.int64]

_LOTS = 2**20
"""Random numbers that are kept at most: many draws of a situation are at the same length."""


@dataclass(eq=False)
class Sampler:
    """Draws answers while rounds are scored; draws that meet at a prefix share its distribution.

    A draw depends on the seed, the situation's place, the draw's number and its length only, not on batches.

    Attributes:
        counts: How often each outcome was drawn, shape (outcomes,).
        listed: How often a spelling of a legal action that the readout sums was drawn, shape (situations,).
    """

    plan: ReadoutPlan
    samples: int
    seed: int
    counts: Ints = field(init=False)
    listed: Ints = field(init=False)
    _waiting: dict[tuple[int, int], Ints] = field(init=False)
    _summed: set[tuple[int, int]] = field(init=False)
    _lots: dict[tuple[int, int], NDArray[np.float64]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        situations = len(self.plan.texts)
        self.counts = np.zeros(self.plan.judge.outcomes, np.int64)
        self.listed = np.zeros(situations, np.int64)
        self._waiting = {(situation, ROOT): np.arange(self.samples) for situation in range(situations)}
        legal = self.plan.legal
        complete = np.flatnonzero(legal.end >= 0)
        where = (legal.round.situations[complete].tolist(), legal.round.nodes[complete].tolist())
        self._summed = set(zip(*where, strict=True))

    def visit(self, asked: Round, batch: Batch, logprobs: torch.Tensor) -> None:
        """Move on every draw that waits at a target of a scored batch, parents before children."""
        for target, place in zip(batch.targets.tolist(), batch.places.tolist(), strict=True):
            key = (int(asked.situations[target]), int(asked.nodes[target]))
            if key in self._waiting:
                self._move(key, self._waiting.pop(key), logprobs[place])

    def finish(self, scores: Scores, policy: int) -> None:
        """Score what draws still wait for, round by round, until every answer has ended or died."""
        tree, nothing = self.plan.tree, np.zeros(0, np.int64)
        while self._waiting:
            situations, nodes = (np.array(column) for column in zip(*self._waiting, strict=True))
            asked = Round.of(tree, self.plan.prompts, (situations, nodes), (nothing, nothing))
            visit = partial(self.visit, asked)
            ask(scores, [policy], asked, tree.vocabulary.ends, {policy: visit})

    def _move(self, key: tuple[int, int], draws: Ints, logprobs: torch.Tensor) -> None:
        situation, node = key
        tree, vocabulary = self.plan.tree, self.plan.tree.vocabulary
        text = tree.text(node)
        longest = self.plan.longest is not None and tree.length(node) >= self.plan.longest
        for token, drawn in self._next(key, draws, logprobs):
            known = token < len(vocabulary.texts)
            if known and (vocabulary.special[token] or (vocabulary.ends[token] and text)):
                self.counts[self.plan.judge(situation, tree.answer(node))] += len(drawn)
                self.listed[situation] += len(drawn) * (key in self._summed)
            elif not longest and known and tree.goes_on(node, token):
                self._waiting[situation, tree.child(node, token)] = drawn
            else:
                outcome = self.plan.judge.unended(situation, tree.answer(node))
                self.counts[outcome] += len(drawn)

    def _next(self, key: tuple[int, int], draws: Ints, logprobs: torch.Tensor) -> list[tuple[int, Ints]]:
        """Return the next tokens that are drawn, ascending, each with the draws that take it."""
        situation, node = key
        uniform = self._lots_of(situation, self.plan.tree.length(node))[draws]
        cumulative = np.cumsum(np.exp(logprobs.cpu().numpy().astype(np.float64)))
        tokens = np.searchsorted(cumulative, uniform * cumulative[-1], side="right")
        if len(draws) == 1:
            return [(int(tokens[0]), draws)]
        return [(int(token), draws[tokens == token]) for token in np.unique(tokens)]

    def _lots_of(self, situation: int, length: int) -> NDArray[np.float64]:
        """Return a number for each draw of a situation, by which it takes its next token at a length."""
        found = self._lots.get((situation, length))
        if found is None:
            if len(self._lots) * self.samples >= _LOTS:
                self._lots.clear()
            found = np.random.default_rng([self.seed, situation, length]).random(self.samples)
            self._lots[situation, length] = found
        return found
