"""Readouts of listed answers: the log-probability of each, and the distribution that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.listed import GIVEN, Listing
from takeback.policies.readout import Readouts
from takeback.run.grouping import sum_by

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class AnswerReadouts(Readouts):
    """What one policy thinks of listed answers, those of situation i in `span(i)`.

    `probabilities` are those of a situation's answers against each other, and add up to 1. Of choices they
    are the softmax of normalised log-probabilities. Of a pool they are self-normalised importance weights
    p / q, where q is the even mixture of the policies that drew it (Veach and Guibas 1995, "Optimally
    combining sampling techniques for Monte Carlo rendering", SIGGRAPH), with the bias of a ratio taken off:
    sums over the pool, weighted by them, estimate what the policy's own answers would give. `greedy` is the
    likeliest answer.

    A mean by weights w has the bias −Σ w² (f − Σ w f) to first order (Cochran 1977, "Sampling Techniques",
    section 6.8), so that each weight becomes w (1 + w − Σ w²): none is below 0, and they add up to 1.

    Attributes:
        logprobs: the log-probability of each answer, in nats, shape (all answers,).
        tokens: how many tokens each has, shape (all answers,).
        followed: 1 where greedy decoding gives the answer, shape (all answers,).
        unconditional: the log-probability of each without its prompt, 0 where it is not asked for.
        sides: who drew each answer.
        own: the log-probability of each under the side that drew it.
        offsets: what is taken from log-probabilities: log q, infinite of given answers; of choices 0, or the
            unconditional log-probability where the arena normalises by it.
        lengths: what log-probabilities are divided by, as the arena normalises choices.
    """

    NUMBERS: ClassVar = ("logprobs", "tokens", "followed", "unconditional")
    OF_ACTIONS: ClassVar = ("probabilities", *NUMBERS, "sides", "own", "offsets", "lengths")

    logprobs: Floats
    tokens: Ints
    followed: NDArray[np.bool_]
    unconditional: Floats
    sides: NDArray[np.str_]
    own: Floats
    offsets: Floats
    lengths: Floats

    @classmethod
    def of(
        cls,
        arena: Any,
        told: Sequence[tuple[str, str, tuple[str, ...]]],
        listings: Sequence[Listing],
        numbers: Mapping[str, Any],
    ) -> AnswerReadouts:
        """Put together what is known of the situations with what a policy gave each answer.

        Args:
            arena: a listed arena.
            told: each situation's text, cluster and answers.
            listings: each situation with its answers.
            numbers: arrays by name, as in `NUMBERS`.
        """
        texts, clusters, actions = zip(*told, strict=True)
        answers = [answer for listing in listings for answer in listing.answers]
        n, sides = len(texts), np.array([answer.side for answer in answers])
        drawn = sides != GIVEN
        mixture = np.array([answer.log_mixture for answer in answers])
        of_choices = numbers["unconditional"] * (arena.normalisation == "unconditional")
        blank = cls(
            arena=arena.name,
            situations=texts,
            clusters=clusters,
            actions=actions,
            probabilities=np.zeros(len(answers)),
            illegal=(),
            masses=np.zeros((n, 0)),
            undecided=np.zeros(n),
            greedy=np.zeros(n, np.int64),
            drawn_legal=np.ones(n),
            samples=0,
            errors=np.zeros((n, 0)),
            lower_bound=np.zeros(n, np.bool_),
            sides=sides,
            own=np.array([answer.log_own for answer in answers]),
            offsets=np.where(drawn, mixture, np.inf) if drawn.any() else of_choices,
            lengths=_lengths(arena.normalisation, [answer.text for answer in answers], numbers["tokens"]),
            **{name: numbers[name] for name in cls.NUMBERS},
        )
        return blank.at(numbers["logprobs"])

    def at(self, logprobs: Floats) -> AnswerReadouts:
        """Return the readouts of a policy that gives the answers these log-probabilities."""
        moved = replace(self, logprobs=logprobs)
        weights = moved.weights
        if self.drawn.any():
            weights = weights * (1 + weights - moved._squares[self.owner])
        greedy = _likeliest(moved._scores, self.owner, len(self))
        return replace(moved, probabilities=weights, greedy=greedy)

    @cached_property
    def weights(self) -> Floats:
        """The softmax of each situation's scores; `probabilities` before a pool's bias is taken off."""
        return _softmax(self._scores, self.owner, len(self))

    def by_logprob(self, slopes: Floats) -> Floats:
        """Return by how much Σ slope x probability grows with each log-probability, shape (answers,)."""
        weights, owner, n = self.weights, self.owner, len(self)
        if self.drawn.any():
            expected = sum_by(owner, weights * slopes, n)
            slopes = slopes * (1 + 2 * weights - self._squares[owner]) - 2 * weights * expected[owner]
        return weights * (slopes - sum_by(owner, weights * slopes, n)[owner]) / self.lengths

    @cached_property
    def _scores(self) -> Floats:
        return self.logprobs / self.lengths - self.offsets

    @cached_property
    def _squares(self) -> Floats:
        return sum_by(self.owner, self.weights**2, len(self))

    @property
    def drawn(self) -> NDArray[np.bool_]:
        """Which answers a policy drew, shape (all answers,)."""
        return self.sides != GIVEN

    def effective(self) -> Floats:
        """Return the effective sample size of each situation as a share of its drawn answers, shape (n,).

        It is (Σ w)² / Σ w² (Kong 1992, "A note on importance sampling using standardized weights").
        """
        counts = np.bincount(self.owner[self.drawn], minlength=len(self))
        return 1 / np.where(self._squares > 0, self._squares, np.inf) / np.maximum(counts, 1)


def _lengths(normalisation: str, texts: Sequence[str], tokens: Ints) -> Floats:
    """Return what log-probabilities of answers are divided by."""
    match normalisation:
        case "token":
            lengths = tokens
        case "byte":
            lengths = np.array([len(text.encode()) for text in texts])
        case "character":
            lengths = np.array([len(text) for text in texts])
        case _:
            lengths = np.ones(len(texts))
    return np.maximum(lengths, 1).astype(np.float64)


def _softmax(scores: Floats, owner: Ints, n: int) -> Floats:
    top = np.full(n, -np.inf)
    np.maximum.at(top, owner, scores)
    top = np.where(np.isfinite(top), top, 0.0)
    weights = np.exp(scores - top[owner])
    total = np.bincount(owner, weights, minlength=n)
    return weights / np.where(total > 0, total, 1.0)[owner]


def _likeliest(scores: Floats, owner: Ints, n: int) -> Ints:
    """Return the place of each situation's answer with the highest score, the first of equals."""
    order = np.lexsort((-np.arange(len(scores)), scores, owner))
    last = np.zeros(n, np.int64)
    last[owner[order]] = order
    starts = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n))[:-1]])
    return last - starts
