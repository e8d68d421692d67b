"""Probes: what can be read off a policy's hidden states, whatever it then chooses.

They are linear (Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes",
arXiv 1610.01644), fitted on training situations and asked on others, so that no symmetry orbit is on both
sides. What they find is a lower bound: a model may know what no linear map shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from takeback.arenas import Arena, Probed, able
from takeback.policies.policy import Policy
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.grouping import sum_by
from takeback.run.stats import cluster_codes

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

BETTER = "better move"
"""The probe for which of two moves is better; beside it stands one for each fact of the arena."""

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
"""Ridge penalties that are tried, each times the number of rows."""
FOLDS = 3
FIT = 1024
FIT_MOVES = 384
"""Situations that facts are learnt on, and how many of them the moves; fewer where few are asked about."""
_LOOK = 32
_LEAST = 2048
"""For an even draw of a rare fact 32 times as many situations are looked at, and no fewer than these."""


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear map from hidden states, fitted by ridge regression (Hoerl and Kennard 1970).

    Attributes:
        mean, scale: of each hidden unit in the states it was fitted on, shape (width,).
        weights: shape (width, outputs).
        offset: shape (outputs,).
        penalty: the one of `PENALTIES` that foretold best in cross-validation over whole clusters.
    """

    mean: Floats
    scale: Floats
    weights: Floats
    offset: Floats
    penalty: float

    def __call__(self, states: Floats) -> Floats:
        """Return the outputs for states of shape (n, width); shape (n, outputs)."""
        return (states - self.mean) / self.scale @ self.weights + self.offset

    @classmethod
    def fit(cls, states: Floats, targets: Floats, clusters: Places) -> Linear:
        """Fit targets, shape (n, outputs); clusters are numbers, and at least two are needed.

        >>> rng = np.random.default_rng(0)
        >>> states = rng.normal(size=(200, 3))
        >>> found = Linear.fit(states, states @ np.array([[1.0], [0.0], [-2.0]]), np.arange(200))
        >>> (found.weights[:, 0] / found.scale).round(2)
        array([ 1.,  0., -2.])

        Raises:
            TakebackError: there is one cluster only.
        """
        if len(np.unique(clusters)) < 2:
            raise TakebackError("a probe is tried on clusters it was not fitted on; give two or more")
        mean, scale = states.mean(axis=0), states.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        scaled, offset = (states - mean) / scale, targets.mean(axis=0)
        fold = np.unique(clusters, return_inverse=True)[1] % FOLDS
        losses = np.zeros(len(PENALTIES))
        for left in np.unique(fold):
            here, there = fold != left, fold == left
            wanted = targets[there] - offset
            for place, weights in enumerate(_ridge(scaled[here], targets[here] - offset)):
                losses[place] += ((scaled[there] @ weights - wanted) ** 2).sum()
        best = int(losses.argmin())
        weights = _ridge(scaled, targets - offset)[best]
        return cls(mean, scale, weights, offset, PENALTIES[best])


def _ridge(states: Floats, targets: Floats) -> list[Floats]:
    """Solve for every penalty, in the smaller of the two spaces: wide states cost no more than rows."""
    n, width = states.shape
    square = states.T @ states if width <= n else states @ states.T
    values, vectors = np.linalg.eigh(square)
    values = np.maximum(values, 0.0)
    given = vectors.T @ (states.T @ targets if width <= n else targets)
    solved = [vectors @ (given / (values + penalty * n)[:, None]) for penalty in PENALTIES]
    return solved if width <= n else [states.T @ one for one in solved]


@dataclass(frozen=True, eq=False)
class Exam:
    """What probes are asked: facts of situations, and which of two moves is better.

    A fact with two classes is asked of an even draw of both, so that guessing scores 1/2; the others, and the
    moves, are asked of the same situations.

    Attributes:
        arena: where policies act.
        situations: what facts are asked of.
        even: for each two-class fact the situations it is asked of.
        chosen: the situations whose moves are asked about.
        moved: what some legal actions of those lead to, end to end.
        owner: to which of `chosen` each belongs.
        utilities: for each goal the utility of each, shape (moved,).
        applies: for each goal the situations of `chosen` it applies to.
    """

    arena: Any
    situations: tuple[Any, ...]
    even: Mapping[str, tuple[Any, ...]]
    chosen: tuple[Any, ...]
    moved: tuple[Any, ...]
    owner: Places
    utilities: Mapping[str, Floats]
    applies: Mapping[str, NDArray[np.bool_]]

    @classmethod
    def of(
        cls,
        arena: Arena[Any],
        situations: Sequence[Any],
        split: str,
        seed: int = 0,
        asked: int | None = None,
        most: int | None = None,
    ) -> Exam:
        """Ask about these situations, and of rare facts about others of the same split.

        Args:
            arena: one that tells facts.
            situations: at least two.
            split: where an even draw comes from; as many situations as were given, at most `FIT` / 2.
            seed: of the even draw and of which moves are asked about.
            asked: so many of the situations are asked about moves; by default all.
            most: at most so many moves of each; by default all.

        Raises:
            TakebackError: the arena tells no facts, or there are no situations.
        """
        place = able(arena, Probed)
        some = tuple(situations)
        if len(some) < 2:
            raise TakebackError(f"an exam needs two situations or more, not {len(some)}")
        rng = np.random.default_rng(seed)
        chosen = some[:asked]
        counts = [len(arena.legal(one)) for one in chosen]
        owner = np.repeat(np.arange(len(chosen)), counts)
        reached = place.moved(chosen)
        usable = np.array([one is not None for one in reached], np.bool_)
        if most is not None:
            rank = np.lexsort((rng.random(len(owner)), ~usable, owner))
            first = np.cumsum(counts) - counts
            usable[rank[np.arange(len(owner)) - first[owner] >= most]] = False
        return cls(
            arena=arena,
            situations=some,
            even=_even_draws(arena, split, min(len(some), FIT // 2), seed),
            chosen=chosen,
            moved=tuple(one for one, kept in zip(reached, usable, strict=True) if kept),
            owner=owner[usable],
            utilities={name: goal.utility(chosen)[usable] for name, goal in arena.goals.items()},
            applies={name: np.asarray(g.applies(chosen), np.bool_) for name, g in arena.goals.items()},
        )

    @property
    def measures(self) -> tuple[str, ...]:
        """What is probed: the arena's facts and `BETTER`."""
        return (*self.truth, BETTER)

    @cached_property
    def truth(self) -> dict[str, NDArray[np.int64]]:
        """Each fact in its situations as class numbers, shape (n, parts)."""
        told = self.arena.facts(self.situations)
        return told | {name: self.arena.facts(some)[name] for name, some in self.even.items()}

    def asked_of(self, measure: str) -> tuple[Any, ...]:
        """Return the situations that a fact, or `BETTER`, is asked of."""
        if measure == BETTER:
            return self.chosen
        return self.even.get(measure, self.situations)

    def clusters(self, measure: str) -> Places:
        """Return the cluster of each situation that a fact, or `BETTER`, is asked of, as a number."""
        some = self.asked_of(measure)
        return cluster_codes([str(self.arena.cluster(one)) for one in some], len(some))

    def scored(self, measure: str, goal: str | None = None) -> Places:
        """Return the clusters of the situations that a score of `Probes.scores` is of."""
        clusters = self.clusters(measure)
        return clusters[self.known(goal or next(iter(self.utilities)))] if measure == BETTER else clusters

    def known(self, goal: str) -> NDArray[np.bool_]:
        """Tell in which of the `chosen` situations two moves that were asked about differ for a goal.

        Raises:
            UnknownName: there is no such goal.
        """
        if goal not in self.utilities:
            raise unknown_name("goal", goal, self.utilities)
        flat = np.zeros(len(self.owner))
        differs = ~np.isnan(order_accuracy(flat, self.utilities[goal], self.owner, len(self.chosen)))
        return differs & self.applies[goal]


@dataclass(frozen=True, eq=False)
class Probes:
    """Probes of one policy, to be asked of it or of its hybrids.

    Attributes:
        facts: by fact the map to scores of all classes of all its parts, end to end.
        classes: by fact the classes of each part.
        better: the map to the worth of what a move leads to, an output for each goal.
        goals: the names of these goals.
    """

    facts: Mapping[str, Linear]
    classes: Mapping[str, tuple[Places, ...]]
    better: Linear
    goals: tuple[str, ...]

    @classmethod
    def learnt(cls, policy: Policy, arena: Arena[Any], asked: int, seed: int = 0) -> Probes:
        """Fit probes on training situations, as many as suit an exam that asks about `asked`.

        Raises:
            TakebackError: the arena tells no facts.
        """
        lessons = arena.situations("train", min(FIT, 6 * asked), seed)
        return cls.fit(policy, Exam.of(arena, lessons, "train", seed, min(FIT_MOVES, 2 * asked)))

    @classmethod
    def fit(cls, policy: Policy, exam: Exam) -> Probes:
        """Fit one map to the classes of each fact, and one to utilities.

        A situation's moves count relative to each other: worth is fitted to differences of utility between
        its moves by differences of what the policy's hidden states are once they are made.
        """
        facts, classes = dict[str, Linear](), dict[str, tuple[Places, ...]]()
        for name, rows in exam.truth.items():
            states = policy.states(exam.arena, exam.asked_of(name))
            classes[name] = tuple(np.unique(part) for part in rows.T)
            hot = [part[:, None] == some for part, some in zip(rows.T, classes[name], strict=True)]
            targets = np.concatenate(hot, axis=1).astype(np.float64)
            facts[name] = Linear.fit(states, targets, exam.clusters(name))
        states = policy.states(exam.arena, exam.moved)
        worth = np.stack(list(exam.utilities.values()), axis=1)
        states, worth = (_relative(values, exam.owner, len(exam.chosen)) for values in (states, worth))
        better = Linear.fit(states, worth, exam.clusters(BETTER)[exam.owner])
        return cls(facts, classes, better, tuple(exam.utilities))

    def scores(self, policy: Policy, exam: Exam, goal: str | None = None) -> dict[str, Floats]:
        """Return how well each probe answers, a number for each situation that it is asked of.

        Of a fact it is the share of its parts that are told right; of `BETTER` the share of pairs of moves of
        different utility that are told apart (a tie is half), in situations that have such pairs and to which
        the goal (the arena's first) applies.

        Raises:
            UnknownName: there is no such goal.
        """
        found: dict[str, Floats] = {}
        read: dict[int, Floats] = {}
        for name, rows in exam.truth.items():
            asked = exam.asked_of(name)
            if id(asked) not in read:
                read[id(asked)] = policy.states(exam.arena, asked)
            found[name] = self._right(name, read[id(asked)], rows)
        goal = goal or self.goals[0]
        kept = exam.known(goal)
        return found | {BETTER: self.orders(policy.states(exam.arena, exam.moved), exam, goal)[kept]}

    def orders(self, moved: Floats, exam: Exam, goal: str) -> Floats:
        """Return the share of pairs told apart in each `chosen` situation, NaN where none differ; (n,).

        `moved` are the hidden states in what the exam's moves lead to.

        Raises:
            UnknownName: there is no such goal.
        """
        if goal not in self.goals:
            raise unknown_name("goal", goal, self.goals)
        worth = self.better(moved)[:, self.goals.index(goal)]
        return order_accuracy(worth, exam.utilities[goal], exam.owner, len(exam.chosen))

    def _right(self, name: str, states: Floats, rows: Places) -> Floats:
        scores, right, start = self.facts[name](states), np.zeros(len(rows)), 0
        for part, some in zip(rows.T, self.classes[name], strict=True):
            told = some[scores[:, start : start + len(some)].argmax(axis=1)]
            right += told == part
            start += len(some)
        return right / rows.shape[1]


def order_accuracy(worth: Floats, utility: Floats, owner: Places, situations: int) -> Floats:
    """Return the share of pairs of moves of different utility that `worth` puts in order.

    The shape is (situations,). Pairs of equal worth count half; NaN where no two utilities differ.

    >>> worth, utility = np.array([1.0, 3.0, 2.0]), np.array([0.0, 0.5, 1.0])
    >>> order_accuracy(worth, utility, np.zeros(3, np.int64), 1).round(3)
    array([0.667])
    """
    counts = np.bincount(owner, minlength=situations)
    column = np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
    tables = [np.full((situations, counts.max(initial=1)), np.nan) for _ in range(2)]
    for table, values in zip(tables, (worth, utility), strict=True):
        table[owner, column] = values
    told, true = (table[:, :, None] - table[:, None, :] for table in tables)
    pairs = true > 0
    right = np.where(pairs, (told > 0) + 0.5 * (told == 0), 0.0).sum(axis=(1, 2))
    number = pairs.sum(axis=(1, 2))
    return np.where(number > 0, right / np.maximum(number, 1), np.nan)


def _relative(values: Floats, owner: Places, situations: int) -> Floats:
    """Take each situation's mean away from its rows."""
    counts = np.maximum(np.bincount(owner, minlength=situations), 1)
    means = np.stack([sum_by(owner, column, situations) / counts for column in values.T], axis=1)
    return values - means[owner]


def _even_draws(arena: Any, split: str, n: int, seed: int) -> dict[str, tuple[Any, ...]]:
    """Draw situations for each two-class fact of one part: up to n / 2 of each class, in random order."""
    pool = arena.situations(split, max(_LOOK * n, _LEAST), seed)
    found: dict[str, tuple[Any, ...]] = {}
    for name, rows in arena.facts(pool).items():
        if rows.shape[1] == 1 and set(np.unique(rows)) <= {0, 1}:
            sides = [np.flatnonzero(rows[:, 0] == side) for side in (0, 1)]
            half = min(n // 2, *map(len, sides))
            if not half:
                raise TakebackError(f"all of {len(pool)} {split} situations are alike in {name!r}")
            places = np.concatenate([side[:half] for side in sides])
            places = np.random.default_rng(seed).permutation(places)
            found[name] = tuple(pool[place] for place in places)
    return found
