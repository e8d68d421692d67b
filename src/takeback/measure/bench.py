"""The bench: two policies in an arena on the same situations, asked for hybrids; none is read twice.

All that is told of a change (effects, necessity, interactions, strength, …) is arithmetic on what it gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from takeback.anatomy import Anatomy
from takeback.arenas import Arena
from takeback.checkpoint import Checkpoint, Pair, Placement
from takeback.checkpoint.placement import ONE
from takeback.component import ComponentSet
from takeback.hybrid.live import Source
from takeback.measure.effects import noise_floor
from takeback.measure.measure import Measure, MeasureContext, Numbers, own_measure
from takeback.measure.measures import find_measures, measures_of
from takeback.measure.pool import with_answers
from takeback.measure.read import (
    LEGAL_ACTIONS,
    SIDES,
    Ask,
    SpelledAnswers,
)
from takeback.measure.readings import Count, Places, Readings
from takeback.measure.setup import Setup
from takeback.measure.sides import held
from takeback.measure.standard import utility
from takeback.measure.store import Key, Store
from takeback.measure.thin import drawn_rows, is_thin, told_by_both
from takeback.policies.language.ended import IllegalAnswer
from takeback.policies.policy import Policy, View
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.own import is_reference
from takeback.run.parts import Shard
from takeback.run.stats import Estimate, cluster_codes, mean_estimate, ratio_estimate
from takeback.run.threads import cpu_threads

_CACHED = ("ends", "context", "asked", "tolerance", "floor")
"""What a bench works out and does not send elsewhere."""

Floats = NDArray[np.float64]


class Bench:
    """Two policies in an arena on some situations; it is asked for hybrids, and what about them.

    Models are loaded when a hybrid has to be read that was not read before; benches made of this one (`some`,
    `first`, `about`) share them and all that was read.

    Attributes:
        situations: what hybrids are read on.
        asked: the measures it is asked about by name; what is relative to another policy is from base.
    """

    def __init__(
        self,
        pair: Pair,
        arena: Arena[Any],
        situations: Iterable[Any],
        measures: Iterable[str | Numbers | Measure] = (),
        setup: Setup | None = None,
    ) -> None:
        self.situations, self._named, self._every = tuple(situations), tuple(measures), False
        self.places: Places = np.arange(len(self.situations))
        self._readings = Readings(pair, arena, self.situations, setup or Setup())
        self._drawn: list[Bench] = []

    @classmethod
    def held_out(
        cls,
        pair: Pair,
        arena: Arena[Any],
        measures: Sequence[str | Numbers | Measure] = (),
        drawn: tuple[int, int] = (192, 0),
        setup: Setup | None = None,
    ) -> Bench:
        """Ask about measures on held-out situations; without measures, about the utility that changed most.

        Of an open arena base and tuned answer first: what they said is the pool that all hybrids are read on.

        Args:
            pair: base and tuned.
            arena: where they act.
            measures: names of measures, or own ones: a function, a `Measure`, or where it is.
            drawn: how many situations, and the seed they are drawn with.
            setup: how it works.

        Raises:
            TakebackError: there are fewer situations, or a pool can't be drawn.
        """
        bench = cls.answering(pair, arena, arena.situations("held-out", *drawn), measures, setup)
        return bench if measures else bench.about(_most_changed(bench))

    @classmethod
    def answering(
        cls,
        pair: Pair,
        arena: Arena[Any],
        situations: Sequence[Any],
        measures: Iterable[str | Numbers | Measure] = (),
        setup: Setup | None = None,
        others: Mapping[str, Checkpoint] | None = None,
    ) -> Bench:
        """Ask about measures, maybe none, on situations; of an open arena the sides and others answer first.

        Raises:
            TakebackError: a pool can't be drawn.
        """
        setup = setup or Setup()
        sides = {"base": pair.base, "tuned": pair.tuned, **(others or {})}
        place, asked = with_answers(arena, situations, sides, setup)
        return cls(pair, place, asked, measures, setup)

    def __getstate__(self) -> dict[str, Any]:
        """Leave models and readouts here."""
        kept = {name: value for name, value in vars(self).items() if name not in _CACHED}
        return {**kept, "_drawn": []}

    @property
    def setup(self) -> Setup:
        """How it works."""
        return self._readings.setup

    @property
    def pair(self) -> Pair:
        """Base and tuned."""
        return self._readings.reader.pair

    @property
    def arena(self) -> Arena[Any]:
        """Where they act."""
        return self._readings.reader.arena

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
    def clusters(self) -> Places:
        """The cluster of each situation as a number, shape (n,)."""
        return cluster_codes([str(self.arena.cluster(one)) for one in self.situations], len(self.situations))

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the measures."""
        return tuple(self.asked)

    @cached_property
    def asked(self) -> Mapping[str, Measure]:
        """The measures themselves by name, in their order."""
        return {measure.name: measure for measure in find_measures(self._named, self.arena)}

    @cached_property
    def context(self) -> MeasureContext:
        """What measures need of the arena and of base."""
        context = MeasureContext.of(
            self.ends["base"], self.arena, tuple(self.asked.values()), self.situations
        )
        return replace(context, before=self.ends["base"])

    @cached_property
    def tolerance(self) -> float:
        """How finely illegal mass is decided: as the finest of the measures needs."""
        every = measures_of(self.arena) if self._every or not self.asked else ()
        finest = (measure.unsorted for measure in (*every, *self.asked.values()))
        return min([LEGAL_ACTIONS, *finest])

    @cached_property
    def ends(self) -> dict[str, Readouts]:
        """The readouts of base and tuned, which effects are relative to."""
        asks = {"base": Ask(self.anatomy.universe), "tuned": Ask(self.nothing)}
        return dict(zip(asks, self.read(asks.values()), strict=True))

    @cached_property
    def floor(self) -> Mapping[str, float] | None:
        """How large an effect of each measure is that rounding alone makes; None in fp32, where it is none.

        It is what tuned gives when every situation is read alone, in batches that are as different as can be.
        """
        if not self.placement.reduced:
            return None
        alone = self._readings.alone(Ask(self.nothing), self.places, self.tolerance)
        return noise_floor(self.ends["tuned"], alone, self.context)

    @cached_property
    def identity(self) -> str:
        """The identity of what hybrids do in the situations."""
        return self._readings.identity(self.places)

    @property
    def store(self) -> Store:
        """What was read of all situations that this bench, or the one it was made of, began with."""
        return self._readings.store

    def policy(self, side: str) -> Policy:
        """Return the live policy of base or tuned."""
        return self._readings.reader.policy(side)

    def weights(self, side: str) -> Source:
        """Return what gives the slices of base or tuned."""
        return self._readings.reader.weights(side)

    @property
    def placement(self) -> Placement:
        """Where models run, settled."""
        return self._readings.reader.placement

    def view(self, ask: Ask) -> View:
        """Return a hybrid as policies take it."""
        return self._readings.reader.view(ask)

    @property
    def plan(self) -> Any:
        """The situations made ready to be read by such policies."""
        return self._readings.reader.plan(self.places.tolist())

    @property
    def steps(self) -> Any:
        """What all readouts expand to decide illegal mass; see the kinds of policies."""
        return self._readings.reader.steps(self.plan, self._readings.marks(self.places, self.tolerance))

    @property
    def seconds_each(self) -> float | None:
        """About how long a hybrid takes, by those that were read here; None where none was."""
        return self._readings.seconds_each(len(self.situations))

    def timed(self) -> float:
        """Return about how many seconds a hybrid takes; where none was read here yet, tuned is, once more.

        Raises:
            TakebackError: a model can't be loaded.
        """
        return self._readings.timed(Ask(self.nothing), self.places, self.tolerance)

    def halves(self, seed: int = 0) -> tuple[Places, Places]:
        """Split the situations in two: the places to select on, and those to evaluate on.

        A cluster is never split.
        """
        order = np.random.default_rng(seed).permutation(int(self.clusters.max()) + 1)
        sizes = np.bincount(self.clusters)[order]
        first = order[np.cumsum(sizes) <= len(self.situations) / 2]
        chosen = np.isin(self.clusters, first)
        return np.flatnonzero(chosen), np.flatnonzero(~chosen)

    def some(self, places: Places) -> Bench:
        """Return the same bench on some of the situations, in their order here."""
        return self._like(places=self.places[np.sort(places)])

    def first(self, number: int) -> Bench:
        """Return the same bench on the first few situations, or on all if there are not more."""
        return self._like(places=self.places[:number])

    def about(self, *measures: str) -> Bench:
        """Return the same bench about other measures."""
        given = (one for one in self._named if not isinstance(one, str) or is_reference(one))
        own = {own_measure(one).name: one for one in given}
        return self._like(named=tuple(own.get(name, name) for name in measures), every=False)

    def about_all(self) -> Bench:
        """Return the same bench about every measure of the arena, beside its own."""
        return self._like(every=True)

    def unread(self, asks: Iterable[Ask | ComponentSet]) -> int:
        """Count the hybrids that would have to be read for these: what asking for them costs."""
        return self._readings.unread(map(Ask.of, asks), self.places, self.tolerance)

    def read(self, asks: Iterable[Ask | ComponentSet]) -> list[Readouts]:
        """Return what hybrids do in the situations; those not read before are read now.

        Raises:
            TakebackError: a source does not fit, or a model can't be loaded.
        """
        wanted = [Ask.of(ask) for ask in asks]
        self.gather(wanted)
        return [self._readings.of(ask, self.places, self.tolerance) for ask in wanted]

    def answer(self, asks: Iterable[Ask | ComponentSet]) -> Answers:
        """Return each of the measures of hybrids in every situation.

        Raises:
            UnknownName: there is no such measure.
            TakebackError: a source does not fit, or a model can't be loaded.
        """
        wanted = {ask.key: ask for ask in map(Ask.of, asks)}
        asked = self.asked.values()
        self.gather(wanted.values())
        sides = {Ask(side).key for side in (self.nothing, self.anatomy.universe)}
        numbers: dict[Key, Floats] = {}
        for ask in self._readings.by_part(wanted.values(), self.tolerance):
            readouts = self._readings.of(ask, self.places, self.tolerance)
            each = [measure.of(readouts, self.context) for measure in asked]
            numbers[ask.key] = np.stack([np.where(one.applies, one.numbers, np.nan) for one in each])
            if is_thin(self.arena, readouts) and ask.key not in sides:
                self._draw_anew(ask, numbers[ask.key])
        return Answers(self, {key: numbers[key] for key in wanted})

    @property
    def drawn(self) -> Bench:
        """The same bench on answers that hybrids draw anew, with the same luck, for one on a pool."""
        if not self._drawn:
            arena: Any = self.arena
            self._drawn.append(self.on(drawn_rows(arena), [one.row for one in self._readings.situations]))
        return self._drawn[0]._like(places=self.places)

    def on(self, arena: Arena[Any], situations: Iterable[Any]) -> Bench:
        """Return a bench of the pair on other situations, with the models of this one if it holds both."""
        return Bench(self.pair, arena, situations, (), self.sharing)

    @property
    def sharing(self) -> Setup:
        """How what works with the same models is set up: it finds them in memory if both are held."""
        if self.placement.hold == ONE:
            return self.setup
        both = {self.pair.base.digest: "base", self.pair.tuned.digest: "tuned"}
        return replace(self.setup, load=held({one: self.policy(name) for one, name in both.items()}))

    def _draw_anew(self, ask: Ask, numbers: Floats) -> None:
        """Put what a hybrid draws in the place of what a pool too thin for it weighs.

        It is told as its difference from what the side that it was built from draws, beside that side's
        pooled number: so all hybrids of a bench stand on one scale.
        """
        arena: Any = self.arena
        names = told_by_both(arena, self.measures)
        side = self.anatomy.universe if ask.built[0] == "base" else self.nothing
        pooled, drawn = self.answer([side]), self.drawn.about(*names).answer([ask, side])
        for name in names:
            moved = pooled.of(side, name) + drawn.change(ask, name, side)
            numbers[self.measures.index(name)] = moved

    def by_token(self, ask: Ask, arena: Any, situations: Sequence[Any]) -> SpelledAnswers:
        """Return answers that an arena lists token by token, with what a hybrid gives each.

        Raises:
            TakebackError: the source does not fit, or the pair are no language models.
        """
        with cpu_threads(self.setup.threads):
            return self._readings.reader.by_token(ask, arena, situations)

    def illegal(self, ask: Ask) -> list[list[IllegalAnswer]]:
        """Return a hybrid's answers in each situation that are no legal action, the likeliest first.

        There are none where kinds of answers are not enumerated.
        """
        return self._readings.illegal(ask, self.places, self.tolerance)

    def gather(
        self, asks: Iterable[Ask | ComponentSet], shard: Shard | None = None, count: Count | None = None
    ) -> None:
        """Read hybrids that were not read yet, and keep what is read; or one shard's share of them.

        `count` is told how many hybrids of how many are done, in place of a progress bar.
        """
        self._readings.read(map(Ask.of, asks), self.places, self.tolerance, shard, count)

    def release(self) -> None:
        """Let go of the last source's tensors, for other benches to have the memory."""
        self._readings.reader.release()

    def kept_in(self, out: Path) -> Bench:
        """Return the same bench with its store in an output folder or run."""
        other = self._like()
        other._readings, other._drawn = self._readings.kept_in(out), []
        return other

    def forget(self) -> None:
        """Remove what was read from the store's folder, or from memory."""
        self.store.forget()

    def _like(
        self,
        places: Places | None = None,
        named: tuple[str | Numbers | Measure, ...] | None = None,
        every: bool | None = None,
    ) -> Bench:
        """Return a bench that shares models and store."""
        other = type(self).__new__(type(self))
        other._readings, other._drawn = self._readings, self._drawn
        other._named = self._named if named is None else named
        other._every = self._every if every is None else every
        other.places = self.places if places is None else places
        other.situations = tuple(self._readings.situations[place] for place in other.places)
        return other


@dataclass(frozen=True, eq=False)
class Answers:
    """What hybrids answered: for each a number in every situation for every measure.

    Attributes:
        bench: what was asked.
        numbers: by `Ask.key`, shape (measures, situations); NaN where a measure does not apply.
    """

    bench: Bench
    numbers: Mapping[Key, Floats]

    def __or__(self, other: Answers) -> Answers:
        return Answers(self.bench, {**self.numbers, **other.numbers})

    def __contains__(self, ask: Ask) -> bool:
        return ask.key in self.numbers

    def of(self, ask: Ask | ComponentSet, measure: str) -> Floats:
        """Return a hybrid's numbers in all situations, shape (n,), NaN where the measure does not apply.

        Raises:
            UnknownName: the hybrid or the measure was not asked.
        """
        ask = Ask.of(ask)
        if measure not in self.bench.measures:
            raise unknown_name("measure", measure, self.bench.measures)
        if ask.key not in self.numbers:
            raise unknown_name("answered hybrid", " from ".join(ask.key), map(" from ".join, self.numbers))
        return self.numbers[ask.key][self.bench.measures.index(measure)]

    def change(self, ask: Ask | ComponentSet, measure: str, relative_to: Ask | ComponentSet) -> Floats:
        """Return what a hybrid has more than another, in all situations; NaN where it does not apply."""
        return self.of(ask, measure) - self.of(relative_to, measure)

    def mean(self, numbers: Floats, places: Places | None = None, confidence: float = 0.95) -> Estimate:
        """Estimate the mean over situations (or some `places` of them), clustered; NaN is left out."""
        kept = self._kept(places, numbers)
        return mean_estimate(numbers[kept], self.bench.clusters[kept], confidence)

    def ratio(
        self, over: Floats, under: Floats, places: Places | None = None, confidence: float = 0.95
    ) -> Estimate:
        """Estimate a ratio of means over situations, clustered; NaN on either side is left out."""
        kept = self._kept(places, over + under)
        return ratio_estimate(over[kept], under[kept], self.bench.clusters[kept], confidence)

    def _kept(self, places: Places | None, numbers: Floats) -> Places:
        places = np.arange(len(numbers)) if places is None else places
        kept = places[np.isfinite(numbers[places])]
        if not len(kept):
            raise TakebackError("the measure applies to none of these situations; take more situations")
        return kept


def _most_changed(bench: Bench) -> str:
    """Return the utility whose change from base to tuned is the most standard errors from 0."""
    goals = [utility(goal) for goal in bench.arena.goals]
    if not goals:
        raise TakebackError(f"nothing says what answers in {bench.arena.name} are worth; name a measure")
    bench = bench.about(*(measure.name for measure in goals))
    found: dict[str, float] = {}
    for measure in goals:
        base, tuned = (measure.of(bench.ends[side], bench.context) for side in SIDES)
        kept = base.applies & tuned.applies
        if kept.sum() > 1:
            change = tuned.numbers[kept] - base.numbers[kept]
            estimate = mean_estimate(change, bench.clusters[kept])
            found[measure.name] = abs(estimate.value) / estimate.se if estimate.se else 0.0
    if not found:
        raise TakebackError("no goal applies to these situations; name a measure")
    return max(found, key=found.__getitem__)
