"""Readouts of listed answers: the log-probability of each, and the distribution that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.listed import GIVEN, Listed, Listing
from takeback.policies.readout import Readouts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class AnswerReadouts(Readouts):
    """What one policy thinks of listed answers, those of situation i in `span(i)`.

    `probabilities` are those of a situation's answers against each other, and add up to 1. Of choices they
    are the softmax of normalised log-probabilities. Of a pool they are self-normalised importance weights
    p / q, where q is the even mixture of the policies that drew it (Veach and Guibas 1995, "Optimally
    combining sampling techniques for Monte Carlo rendering", SIGGRAPH): sums over the pool, weighted by them,
    estimate what the policy's own answers would give. `greedy` is the likeliest answer.

    Attributes:
        logprobs: the log-probability of each answer, in nats, shape (all answers,).
        tokens: how many tokens each has, shape (all answers,).
        followed: 1 where greedy decoding gives the answer, shape (all answers,).
        unconditional: the log-probability of each without its prompt, 0 where it is not asked for.
        sides: who drew each answer.
        own: the log-probability of each under the side that drew it.
    """

    NUMBERS: ClassVar = ("logprobs", "tokens", "followed", "unconditional")
    OF_ACTIONS: ClassVar = ("probabilities", *NUMBERS, "sides", "own")

    logprobs: Floats
    tokens: Ints
    followed: NDArray[np.bool_]
    unconditional: Floats
    sides: NDArray[np.str_]
    own: Floats

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
        owner = np.repeat(np.arange(len(texts)), [len(some) for some in actions])
        scores = _scores(arena, answers, numbers)
        weights = _softmax(scores, owner, len(texts))
        n = len(texts)
        return cls(
            arena=arena.name,
            situations=texts,
            clusters=clusters,
            actions=actions,
            probabilities=weights,
            illegal=(),
            masses=np.zeros((n, 0)),
            undecided=np.zeros(n),
            greedy=_likeliest(scores, owner, n),
            drawn_legal=np.ones(n),
            samples=0,
            errors=np.zeros((n, 0)),
            lower_bound=np.zeros(n, np.bool_),
            sides=np.array([answer.side for answer in answers]),
            own=np.array([answer.log_own for answer in answers]),
            **{name: numbers[name] for name in cls.NUMBERS},
        )

    @property
    def drawn(self) -> NDArray[np.bool_]:
        """Which answers a policy drew, shape (all answers,)."""
        return self.sides != GIVEN

    def effective(self) -> Floats:
        """Return the effective sample size of each situation as a share of its drawn answers, shape (n,).

        It is (Σ w)² / Σ w² (Kong 1992, "A note on importance sampling using standardized weights").
        """
        counts = np.bincount(self.owner[self.drawn], minlength=len(self))
        squares = np.bincount(self.owner, self.probabilities**2, minlength=len(self))
        return 1 / np.where(squares > 0, squares, np.inf) / np.maximum(counts, 1)


def _scores(arena: Listed, answers: Sequence[Any], numbers: Mapping[str, Any]) -> Floats:
    """Return what the softmax is taken of: log-probabilities as the arena normalises them, or log p / q."""
    logprobs: Floats = numbers["logprobs"]
    if any(answer.side != GIVEN for answer in answers):
        given = np.array([answer.side == GIVEN for answer in answers])
        return np.where(given, -np.inf, logprobs - np.array([answer.log_mixture for answer in answers]))
    texts = [answer.text for answer in answers]
    match arena.normalisation:
        case "token":
            return logprobs / np.maximum(numbers["tokens"], 1)
        case "byte":
            return logprobs / np.maximum([len(text.encode()) for text in texts], 1)
        case "character":
            return logprobs / np.maximum([len(text) for text in texts], 1)
        case _:
            return logprobs - numbers["unconditional"]


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
