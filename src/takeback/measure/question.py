"""What is asked of hybrids, and their answers: every measure in every situation.

All that is told of a change (necessity, interactions, strength, …) is arithmetic on these numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.anatomy import Anatomy
from takeback.arenas import Arena, Asked
from takeback.checkpoint import Pair
from takeback.component import ComponentSet
from takeback.hybrid.sources import source_of
from takeback.hybrid.walk import path_of
from takeback.measure.measure import TOLERANCE, Measure, Numbers
from takeback.measure.measures import find_measures, measures_of
from takeback.measure.read import BASE, SIDES, Reader, Sides
from takeback.measure.standard import LEGAL, utility
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.identity import identity
from takeback.run.jobs import Workers
from takeback.run.parts import collect
from takeback.run.stats import Estimate, cluster_codes, mean_estimate, ratio_estimate

PART = 32
"""Hybrids that are read together: they share what their paths have in common, and a kill costs no more."""

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Ask:
    """A hybrid: tuned with a set of components from a source, base unless said otherwise."""

    take_back: ComponentSet
    source: str = BASE

    @property
    def key(self) -> tuple[str, str]:
        """What it is called in tables: the set and the source."""
        return str(self.take_back), self.source


@dataclass(frozen=True, eq=False)
class Question:
    """What every hybrid of a pair is asked: some measures on some situations.

    Attributes:
        pair: base and tuned.
        arena: where they act.
        situations: what they are read on.
        measures: names of measures, such as `utility win`; what is relative to another policy is from base.
        threads: CPU threads for each process; answers depend on the number in their last bits.
        own: users' measures among them, where a name does not say where they are.
    """

    pair: Pair
    arena: Arena[Any]
    situations: tuple[Any, ...]
    measures: tuple[str, ...]
    threads: int = 1
    own: tuple[Measure, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("reader", "asked")}

    @cached_property
    def anatomy(self) -> Anatomy:
        """The anatomy of the pair."""
        return self.pair.anatomy()

    @property
    def of_networks(self) -> bool:
        """Whether the pair are policy networks, which have no circuits and need no attribution."""
        return self.pair.tuned.settings is None

    @property
    def nothing(self) -> ComponentSet:
        """The empty set."""
        return self.anatomy.universe - self.anatomy.universe

    @cached_property
    def clusters(self) -> NDArray[np.int64]:
        """The cluster of each situation as a number, shape (n,)."""
        return cluster_codes([str(self.arena.cluster(one)) for one in self.situations], len(self.situations))

    @cached_property
    def sides(self) -> Sides:
        """Both models, which `some` of the situations share."""
        return Sides(self.pair, self.arena)

    @cached_property
    def asked(self) -> Mapping[str, Measure]:
        """The measures themselves by name, in their order."""
        own = {measure.name: measure for measure in self.own}
        found = find_measures([own.get(name, name) for name in self.measures], self.arena)
        return {measure.name: measure for measure in found}

    @cached_property
    def reader(self) -> Reader:
        """What reads hybrids; illegal answers are sorted into kinds as finely as a measure needs it."""
        reader = Reader(self.sides, self.situations, min(measure.unsorted for measure in self.asked.values()))
        reader.context = replace(reader.context, own=tuple(self.asked.values()), before=reader.before["base"])
        return reader

    @cached_property
    def identity(self) -> str:
        """The identity of the answers of any hybrid."""
        asked = Asked(self.arena, self.situations)
        return identity(self.pair, asked, tuple(self.asked.values()), [PART, TOLERANCE, self.threads])

    def halves(self, seed: int = 0) -> tuple[Places, Places]:
        """Split the situations in two: the places to select on, and those to evaluate on.

        A cluster is never split.
        """
        order = np.random.default_rng(seed).permutation(int(self.clusters.max()) + 1)
        sizes = np.bincount(self.clusters)[order]
        first = order[np.cumsum(sizes) <= len(self.situations) / 2]
        chosen = np.isin(self.clusters, first)
        return np.flatnonzero(chosen), np.flatnonzero(~chosen)

    def some(self, places: Places) -> Question:
        """Return the same question on some of the situations."""
        return self._like(situations=tuple(self.situations[place] for place in places))

    def about(self, *measures: str) -> Question:
        """Return the same question about other measures."""
        return self._like(measures=measures)

    def _like(self, **changes: Any) -> Question:
        """Return a question of the same models, which are held once for both."""
        other = replace(self, **changes)
        vars(other)["sides"] = self.sides
        return other


@dataclass(frozen=True, eq=False)
class Answers:
    """What hybrids answered: for each a number in every situation for every measure.

    Attributes:
        question: what was asked.
        numbers: by `Ask.key`, shape (measures, situations); NaN where a measure does not apply.
    """

    question: Question
    numbers: Mapping[tuple[str, str], Floats]

    def __or__(self, other: Answers) -> Answers:
        return Answers(self.question, {**self.numbers, **other.numbers})

    def __contains__(self, ask: Ask) -> bool:
        return ask.key in self.numbers

    def of(self, ask: Ask | ComponentSet, measure: str) -> Floats:
        """Return a hybrid's numbers in all situations, shape (n,), NaN where the measure does not apply.

        Raises:
            UnknownName: the hybrid or the measure was not asked.
        """
        ask = ask if isinstance(ask, Ask) else Ask(ask)
        if measure not in self.question.measures:
            raise unknown_name("measure", measure, self.question.measures)
        if ask.key not in self.numbers:
            raise unknown_name("answered hybrid", " from ".join(ask.key), map(" from ".join, self.numbers))
        return self.numbers[ask.key][self.question.measures.index(measure)]

    def change(self, ask: Ask | ComponentSet, measure: str, relative_to: Ask | ComponentSet) -> Floats:
        """Return what a hybrid has more than another, in all situations; NaN where it does not apply."""
        return self.of(ask, measure) - self.of(relative_to, measure)

    def mean(self, numbers: Floats, places: Places | None = None, confidence: float = 0.95) -> Estimate:
        """Estimate the mean over situations (or some `places` of them), clustered; NaN is left out."""
        kept = self._kept(places, numbers)
        return mean_estimate(numbers[kept], self.question.clusters[kept], confidence)

    def ratio(
        self, over: Floats, under: Floats, places: Places | None = None, confidence: float = 0.95
    ) -> Estimate:
        """Estimate a ratio of means over situations, clustered; NaN on either side is left out."""
        kept = self._kept(places, over + under)
        return ratio_estimate(over[kept], under[kept], self.question.clusters[kept], confidence)

    def _kept(self, places: Places | None, numbers: Floats) -> Places:
        places = np.arange(len(numbers)) if places is None else places
        kept = places[np.isfinite(numbers[places])]
        if not len(kept):
            raise TakebackError("the measure applies to none of these situations; take more situations")
        return kept


@dataclass(frozen=True, eq=False)
class Valuation:
    """The work of answering: an item is some hybrids with like paths from one source."""

    question: Question
    asks: tuple[Ask, ...]
    name: str = "answers"

    @property
    def identity(self) -> str:
        """The identity of the answers."""
        pair = self.question.pair
        read = {ask.source for ask in self.asks if ask.source.startswith("checkpoint:")}
        others = {source: source_of(source, pair).digest for source in read}
        return identity(self.question.identity, [ask.key for ask in self.asks], others)

    def items(self) -> list[str]:
        """Return the groups of hybrids that are read together."""
        return [str(number) for number in range(len(self._groups))]

    def rows(self, item: str) -> pd.DataFrame:
        """Return a row for each hybrid and situation: ask, situation, then the measures."""
        question, group = self.question, self._groups[int(item)]
        reader = question.reader
        sets = [self.asks[place].take_back for place in group]
        tables: list[pd.DataFrame] = []
        read = reader.read("tuned", sets, self.asks[group[0]].source)
        for place, readouts in zip(group, read, strict=True):
            values = {name: one.of(readouts, reader.context) for name, one in question.asked.items()}
            columns = {name: np.where(one.applies, one.numbers, np.nan) for name, one in values.items()}
            tables.append(pd.DataFrame({"ask": place, "situation": np.arange(len(readouts)), **columns}))
        return pd.concat(tables, ignore_index=True)

    @cached_property
    def _groups(self) -> list[list[int]]:
        paths = [(ask.source, [str(part) for part in path_of(ask.take_back)]) for ask in self.asks]
        order = sorted(range(len(paths)), key=paths.__getitem__)
        groups: list[list[int]] = []
        for source in dict.fromkeys(paths[place][0] for place in order):
            members = [place for place in order if paths[place][0] == source]
            groups += [members[start : start + PART] for start in range(0, len(members), PART)]
        return groups


def answer(
    question: Question,
    asks: Iterable[Ask | ComponentSet],
    name: str = "answers",
    out: str | Path | None = None,
    workers: Workers = 1,
) -> Answers:
    """Read hybrids and return every measure of each in every situation.

    With `out`, finished parts are kept in that folder under `name`, so that a killed run goes on.

    Raises:
        UnknownName: there is no such measure.
        TakebackError: a source does not fit, or several workers have no `out`.
    """
    unique = {ask.key: ask for ask in _asks(asks)}
    work = Valuation(question, tuple(unique.values()), name)
    table = collect(work, out, workers, question.threads)
    numbers = table.sort_values(["ask", "situation"], kind="stable")[list(question.measures)].to_numpy(
        np.float64
    )
    cube = numbers.reshape(len(unique), len(question.situations), -1).transpose(0, 2, 1)
    return Answers(question, dict(zip(unique, cube, strict=True)))


def _asks(asks: Iterable[Ask | ComponentSet]) -> Iterator[Ask]:
    return (ask if isinstance(ask, Ask) else Ask(ask) for ask in asks)


def question_of(
    pair: Pair,
    arena: Arena[Any],
    measures: Sequence[str | Numbers | Measure] = (),
    situations: int = 192,
    seed: int = 0,
    threads: int = 1,
) -> Question:
    """Ask about measures on held-out situations; without measures, about the utility that changed most.

    Raises:
        UnknownName: there is no such measure.
        TakebackError: there are fewer situations, or a user's own measure can't be had.
    """
    found = find_measures(measures, arena)
    chosen = arena.situations("held-out", situations, seed)
    names, known = tuple(measure.name for measure in found), measures_of(arena)
    own = tuple(measure for measure in found if measure not in known)
    question = Question(pair, arena, tuple(chosen), names, threads, own)
    return question if measures else question.about(_most_changed(question))


def _most_changed(question: Question) -> str:
    """Return the utility whose change from base to tuned is the most standard errors from 0."""
    reader = question.about(LEGAL.name).reader
    found: dict[str, float] = {}
    for measure in map(utility, question.arena.goals):
        base, tuned = (measure.of(reader.before[side], reader.context) for side in SIDES)
        kept = base.applies & tuned.applies
        if kept.sum() > 1:
            change = tuned.numbers[kept] - base.numbers[kept]
            estimate = mean_estimate(change, question.clusters[kept])
            found[measure.name] = abs(estimate.value) / estimate.se if estimate.se else 0.0
    if not found:
        raise TakebackError("no goal applies to these situations; name a measure")
    return max(found, key=found.__getitem__)
