"""Two policies and some goals on one partition of outcomes, as arrays of situations × outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from takeback.measure.measure import MeasureContext
from takeback.measure.shift import FLOOR, check_same_situations, partition
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.grouping import sum_by

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What base and tuned do in the m situations to which every one of the goals applies.

    A row of an array [m, k] is a situation, a column an outcome: its legal actions, then the illegality
    classes; a situation with fewer actions has 0 in the columns between. Undecided mass is divided among the
    classes as `shift` does.

    Attributes:
        goals: The goals' names.
        base: Base's probabilities, at least 1e-12 for every outcome that exists; rows add up to 1; [m, k].
        tuned: Tuned's probabilities; rows add up to 1; [m, k].
        utilities: Each goal's utility of each outcome, 0 for illegal ones; [goals, m, k].
        legal: Which outcomes are legal actions; [m, k].
        clusters: Each situation's cluster; [m].
        texts: Each situation's prompt.
        applies: To which of all n situations of the readouts the rows belong, in order; [n].
    """

    goals: tuple[str, ...]
    base: Floats
    tuned: Floats
    utilities: Floats
    legal: Bools
    clusters: Places
    texts: tuple[str, ...]
    applies: Bools

    @classmethod
    def of(
        cls,
        before: Readouts,
        after: Readouts,
        context: MeasureContext,
        goals: Sequence[str],
        if_legal: bool = False,
    ) -> Outcomes:
        """Lay out two policies, in situations with a legal action; `if_legal` leaves illegal outcomes out.

        Given a legal answer, situations in which one of the two has no legal mass are left out too.

        Raises:
            UnknownName: there is no such goal.
            TakebackError: the readouts or the context are of different situations, or no goal is given.
        """
        context.fits(before)
        check_same_situations(before, after)
        if not goals:
            raise TakebackError("no goal to ask about; name at least one")
        for goal in goals:
            if goal not in context.utilities:
                raise unknown_name("goal", goal, context.utilities)
        n, owner = len(before), context.owner
        counts = np.bincount(owner, minlength=n)
        applies = np.logical_and.reduce([counts > 0, *(context.applies[goal] for goal in goals)])
        if if_legal:
            for side in (before, after):
                applies &= sum_by(owner, side.probabilities, n) > 0
        flat = applies[owner]
        row = (np.cumsum(applies) - 1)[owner[flat]]
        column = (np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner])[flat]
        width = int(counts[applies].max(initial=0))
        classes = 0 if if_legal else before.masses.shape[1]
        shape = int(applies.sum()), width + classes

        def laid(values: Floats) -> Floats:
            table = np.zeros(shape)
            table[row, column] = values[: len(owner)][flat]
            if classes and len(values) > len(owner):
                table[:, width:] = values[len(owner) :].reshape(n, classes)[applies]
            return table

        legal = laid(np.ones(len(owner))) > 0
        exists = legal | (np.arange(shape[1]) >= width)
        base, tuned = (laid(side) for side in partition(before, after))
        return cls(
            goals=tuple(goals),
            base=_rows(np.where(exists, np.maximum(_rows(base), FLOOR), 0.0)),
            tuned=_rows(tuned),
            utilities=np.stack([laid(context.utilities[goal]) for goal in goals]),
            legal=legal,
            clusters=context.clusters[applies],
            texts=tuple(np.array(before.situations, dtype=object)[applies]),
            applies=applies,
        )

    def __len__(self) -> int:
        return len(self.base)

    @property
    def exists(self) -> Bools:
        """Which cells are outcomes at all; [m, k]."""
        return self.base > 0

    @property
    def utility(self) -> Floats:
        """The utility of the first goal; [m, k]."""
        return self.utilities[0]

    @cached_property
    def divergence(self) -> Floats:
        """KL(tuned || base) in nats; [m]."""
        return np.maximum(rel_entr(self.tuned, np.where(self.exists, self.base, 1.0)).sum(axis=1), 0.0)

    def halves(self, seed: int) -> Places:
        """Split the situations in two halves; see `halves_of`."""
        return halves_of(self.texts, self.clusters, seed)


def halves_of(texts: Sequence[str], clusters: Places, seed: int) -> Places:
    """Split situations in two halves, 0 and 1, by whole clusters; [m].

    The split depends on the seed and on which situations there are, not on their order. With one cluster
    all are in half 0.
    """
    order = np.argsort(np.array(texts), kind="stable")
    named = np.array(list(dict.fromkeys(clusters[order].tolist())), np.int64)
    drawn = np.random.default_rng(seed).permutation(named)
    sizes = np.bincount(clusters, minlength=int(drawn.max(initial=0)) + 1)[drawn]
    second = drawn[np.cumsum(sizes) - sizes / 2 >= len(texts) / 2]
    return np.isin(clusters, second if len(drawn) > 1 else []).astype(np.int64)


def _rows(table: Floats) -> Floats:
    """Make rows add up to 1."""
    return table / table.sum(axis=1, keepdims=True)
