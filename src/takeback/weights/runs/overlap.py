"""Overlap of what two fine-tunes changed, against changes that fall independently within strata.

A stratum is what one component owns of (a block of) a tensor, at weights of one binary exponent: how many of
its entries change, and how many changes bfloat16 shows, depends on both. With a and b of n entries changed,
independent sets share a hypergeometric number: mean ab/n, variance ab(n−a)(n−b) / (n²(n−1)).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from takeback.weights.runs.gram import Matrix

DEFINITIONS = ("stored", "bf16")
"""What counts as changed: the stored value (0 and -0 are equal), or that rounded to bfloat16."""

_SETS = ("changed_i", "changed_j", "both", "expected", "variance")
OVERLAP_SUMS = (
    *(f"{name}_{definition}" for definition in DEFINITIONS for name in _SETS),
    *("agree", "agree_expected", "agree_variance"),
)
_ZERO = np.iinfo(np.int16).min


@dataclass(frozen=True)
class Changes:
    """Marks, as 0 and 1 in (fine-tunes, entries), which entries changed by either definition and which grew.

    Products of such marks count; in float32 they are exact for fewer than 2²⁴ entries.
    """

    stored: NDArray[np.float32]
    bf16: NDArray[np.float32]
    grew: NDArray[np.float32]

    @classmethod
    def of(cls, deltas: Matrix, visible: NDArray[np.bool_]) -> Changes:
        """Mark changes, (fine-tunes, entries), of which `visible` tells those that bfloat16 shows."""
        return cls(*(marks.astype(np.float32) for marks in (deltas != 0, visible, deltas > 0)))

    def ordered(self, order: NDArray[np.intp]) -> Changes:
        """Return the marks of entries in another order."""
        return Changes(self.stored[:, order], self.bf16[:, order], self.grew[:, order])

    def within(self, place: slice) -> Changes:
        """Return the marks of some entries."""
        return Changes(self.stored[:, place], self.bf16[:, place], self.grew[:, place])


def strata_of(weights: Matrix) -> NDArray[np.int16]:
    """Return the binary exponent of each weight, and for zeros a number of their own.

    >>> strata_of(np.array([1.0, -1.5, 0.25, 0.0])).tolist()
    [1, 1, -1, -32768]
    """
    return np.where(weights == 0, _ZERO, np.frexp(weights)[1]).astype(np.int16)


def permutation(strata: NDArray[np.int16], generator: np.random.Generator) -> NDArray[np.intp]:
    """Return a random order of entries in which each takes the place of one of its own stratum.

    >>> order = permutation(np.array([1, 2, 1, 2], np.int16), np.random.default_rng(0))
    >>> sorted(order[[0, 2]].tolist()), sorted(order[[1, 3]].tolist())
    ([0, 2], [1, 3])
    """
    random = generator.permutation(len(strata))
    source = np.empty(len(strata), np.intp)
    source[np.argsort(strata, kind="stable")] = random[np.argsort(strata[random], kind="stable")]
    return source


def visible_in_bf16(weights: Matrix, deltas: Matrix) -> NDArray[np.bool_]:
    """Return whether changes survive that base and sum are rounded to bfloat16, (fine-tunes, entries)."""
    before = torch.from_numpy(weights).bfloat16()
    return (torch.from_numpy(weights + deltas).bfloat16() != before).numpy()


def count_overlaps(one: Changes, other: Changes, strata: NDArray[np.int16]) -> dict[str, Matrix]:
    """Count what fine-tunes i of `one` and j of `other` share, with what independent changes would.

    Returns:
        `OVERLAP_SUMS`, (fine-tunes, fine-tunes) each; those of disjoint entries add.
    """
    order = np.argsort(strata, kind="stable")
    left = one.ordered(order)
    right = left if other is one else other.ordered(order)
    sums = {name: np.zeros((len(one.stored), len(other.stored))) for name in OVERLAP_SUMS}
    for place in _stretches(strata[order]):
        i, j = left.within(place), right.within(place)
        for definition in DEFINITIONS:
            found = _sets(getattr(i, definition), getattr(j, definition))
            for name, value in found.items():
                sums[f"{name}_{definition}"] += value
        for name, value in _signs(i, j).items():
            sums[name] += value
    return sums


def hypergeometric(entries: Matrix, first: Matrix, second: Matrix) -> tuple[Matrix, Matrix]:
    """Return mean and variance of how many entries two independent sets of given sizes share.

    >>> mean, variance = hypergeometric(*(np.array(size) for size in (10.0, 4.0, 5.0)))
    >>> float(mean), round(float(variance), 4)
    (2.0, 0.6667)
    """
    some = np.maximum(entries, 1.0)
    mean = first * second / some
    rest = (entries - first) * (entries - second)
    return mean, mean * rest / (some * np.maximum(entries - 1.0, 1.0))


def _sets(one: NDArray[np.float32], other: NDArray[np.float32]) -> dict[str, Matrix]:
    both = (one @ other.T).astype(np.float64)
    first = np.broadcast_to(one.sum(1, dtype=np.float64)[:, None], both.shape)
    second = np.broadcast_to(other.sum(1, dtype=np.float64)[None, :], both.shape)
    expected, variance = hypergeometric(np.full(both.shape, float(one.shape[1])), first, second)
    return {
        "changed_i": first,
        "changed_j": second,
        "both": both,
        "expected": expected,
        "variance": variance,
    }


def _signs(one: Changes, other: Changes) -> dict[str, Matrix]:
    """Count equal signs where both changed; expected if, with as many of each sign, they were independent."""
    both, first, second, grew = (
        (a @ b.T).astype(np.float64)
        for a, b in (
            (one.stored, other.stored),
            (one.grew, other.stored),
            (one.stored, other.grew),
            (one.grew, other.grew),
        )
    )
    mean, variance = hypergeometric(both, first, second)
    rest = both - first - second
    return {"agree": 2 * grew + rest, "agree_expected": 2 * mean + rest, "agree_variance": 4 * variance}


def _stretches(ordered: NDArray[np.int16]) -> Iterator[slice]:
    edges = [0, *(np.flatnonzero(np.diff(ordered)) + 1).tolist(), len(ordered)]
    return (slice(start, stop) for start, stop in pairwise(edges) if stop > start)
