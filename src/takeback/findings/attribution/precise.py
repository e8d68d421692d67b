"""Exact effects to a precision that is asked for: attribution on all situations, takebacks on some of them.

Situations are measured in random order, all clusters alike, until every interval is narrow enough.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from takeback.component import ComponentSet
from takeback.draw.result import Result, as_table
from takeback.findings.attribution.attribution import METHODS, attribute
from takeback.measure.bench import Bench, Floats, Places
from takeback.measure.measures import typed
from takeback.run.anytime import Means, predicted_means, schedule, spent
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.identity import identity
from takeback.run.parts import collect

CHUNK = 256
"""Situations that are predicted together at most: what a kill costs, and what memory holds."""

MEASURE_ONLY = "none"
"""The method that predicts nothing: what attribution is worth shows beside it."""

COLUMNS: Mapping[str, str] = {
    "set": "what is taken back from tuned",
    "measure": "what the effect is on",
    "effect": "estimated mean effect (taken back minus tuned) over what the situations were drawn from",
    "se": "its standard error",
    "low": "lower end of its interval; all intervals of the table hold together, wherever measuring stopped",
    "high": "upper end of it; intervals are no narrower than asked",
    "reached": "whether the interval is as narrow as asked",
    "n": "situations that were measured exactly",
    "weight": "λ, what attribution counts in the estimate: 1 taken as it is, 0 of no use",
    "exact": "mean exact effect on the n situations alone",
    "exact_low": "lower end of the interval without attribution, by the same rule",
    "exact_high": "upper end of it",
}
"""What each column of the table `precise` means."""

_NUMBERS = ("effect", "se", "low", "high", "weight", "exact", "exact_low", "exact_high")


@dataclass(frozen=True)
class Aim:
    """How precise effects should be, and in which steps to measure until they are.

    Attributes:
        precision: half the length that every interval should have at most.
        confidence: of all intervals together.
        first: clusters of situations that every set is measured in; fewer miss effects that are rare.
        growth: how much larger the part that was measured is at each look.
        seed: of the order in which situations are measured.
        method: of attribution, or `none` to measure only.
    """

    precision: float = 0.01
    confidence: float = 0.95
    first: int = 64
    growth: float = 1.5
    seed: int = 0
    method: str = "near"

    def __post_init__(self) -> None:
        if self.method not in (*METHODS, MEASURE_ONLY):
            raise unknown_name("attribution method", self.method, (*METHODS, MEASURE_ONLY))
        if not self.precision > 0:
            raise TakebackError(f"precision {self.precision:g} is not positive; try 0.01")


@dataclass(frozen=True, eq=False, repr=False)
class Precise(Result):
    """Effects of taking sets back, each with an interval; all intervals hold together.

    Attributes:
        bench: the pair, the situations and the measures.
        aim: what was asked for.
        table: a row for each measure and set; see `COLUMNS`.
        seconds: what predicting and measuring took, without parts that were there already.
    """

    name = "precise"
    bench: Bench
    aim: Aim
    table: pd.DataFrame = field(metadata=as_table("precise", COLUMNS))
    seconds: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Predicting:
    """Is the work of attribution: an item is some of the situations."""

    bench: Bench
    method: str
    name: str = "predictions"

    @property
    def identity(self) -> str:
        """The identity of the predictions."""
        return identity(self.bench.identity, list(self.bench.asked.values()), self.method, CHUNK)

    def items(self) -> list[str]:
        """Return the chunks of situations."""
        return [str(number) for number in range(-(-len(self.bench.situations) // CHUNK))]

    def rows(self, item: str) -> pd.DataFrame:
        """Return a row for each situation, a column for each measure and component."""
        every = np.arange(len(self.bench.situations))
        places = np.array_split(every, len(self.items()))[int(item)]
        found = attribute(self.bench.some(places), self.method)
        effects = [found.of(one, measure) for measure in self.bench.measures for one in found.components]
        return pd.DataFrame(dict(zip(map(str, range(len(effects))), effects, strict=True)))


def estimate(
    bench: Bench,
    aim: Aim | None = None,
    sets: Sequence[ComponentSet] | None = None,
) -> Precise:
    """Estimate the effect of taking each set back until all are precise; by default of each component alone.

    Attribution predicts every effect in every situation of the bench. Sets that are not precise yet are
    measured exactly in a growing random part of the situations, and both are combined without bias (see
    `predicted_means`). Where the bench has an output folder, a killed run goes on from what is kept there.

    An interval is one of the mean over all situations that might have been drawn: it counts the spread of the
    bench's own situations too, and with too few of them it stays wider than asked even when all are
    measured. All intervals hold together with the confidence asked, although each look decides what is
    measured on (see `spent`), as long as clusters are many and the first look meets effects that are rare.

    Raises:
        UnknownName: there is no such measure or method.
        TakebackError: no set, a measure has no slopes (`legal, greedy` and `legal, drawn`; method `none`
            measures them), or several workers have no output folder.
    """
    universe = bench.anatomy.universe
    chosen = tuple(ComponentSet([one], universe) for one in universe) if sets is None else tuple(sets)
    if not chosen:
        raise TakebackError("there is no set to measure; name at least one")
    run = _Run(bench, aim or Aim(), chosen)
    started = time.perf_counter()
    predicted = run.predicted()
    between = time.perf_counter()
    exact, predicted = run.measured(predicted)
    seconds = {"attribution": between - started, "exact": time.perf_counter() - between}
    return Precise(str(bench.pair), bench, run.aim, run.table(exact, predicted), seconds)


@dataclass(frozen=True)
class _Run:
    """An estimate under way; effects have shape (situations, measures, sets)."""

    bench: Bench
    aim: Aim
    sets: tuple[ComponentSet, ...]

    def predicted(self) -> Floats:
        """Predict the sets' effects: the sums of their components' attributions, or nothing."""
        if self.aim.method == MEASURE_ONLY:
            return np.zeros((len(self.bench.situations), len(self.bench.measures), len(self.sets)))
        work = Predicting(self.bench, self.aim.method)
        setup = self.bench.setup
        table = collect(work, setup.out, setup.workers, setup.threads)
        components = tuple(self.bench.anatomy.universe)
        each = table.to_numpy(np.float64).reshape(len(table), len(self.bench.measures), len(components))
        members = np.array([[one in chosen for chosen in self.sets] for one in components], np.float64)
        return each @ members

    def measured(self, predicted: Floats) -> tuple[Floats, Floats]:
        """Measure until every interval is narrow enough or no situation is left.

        Returns exact effects, NaN where they were not measured, and the predictions, NaN too where a hybrid
        that was measured turned out to have no value.
        """
        exact, predicted = np.full_like(predicted, np.nan), predicted.copy()
        order = np.random.default_rng(self.aim.seed).permutation(int(self.bench.clusters.max()) + 1)
        wide, before = np.arange(len(self.sets)), 0
        for look in self._looks:
            places = np.flatnonzero(np.isin(self.bench.clusters, order[before:look]))
            block = np.ix_(places, np.arange(exact.shape[1]), wide)
            exact[block] = self._effects(f"precise-{look}", places, wide)
            predicted[block] = np.where(np.isnan(exact[block]), np.nan, predicted[block])
            reach = self._means(exact, predicted).reach.reshape(-1, len(self.sets)).max(0)
            wide, before = np.flatnonzero(reach > self.aim.precision), look
            if not len(wide):
                break
        return exact, predicted

    def table(self, exact: Floats, predicted: Floats) -> pd.DataFrame:
        """Return the estimates with attribution and without; see `COLUMNS`."""
        powered, alone = (
            self._means(exact, given) for given in (predicted, np.where(np.isnan(predicted), np.nan, 0.0))
        )
        reached = powered.reach <= self.aim.precision
        powered, alone = (means.no_narrower(self.aim.precision) for means in (powered, alone))
        columns = {
            "set": [str(one) for one in self.sets] * len(self.bench.measures),
            "measure": np.repeat(self.bench.measures, len(self.sets)),
            "effect": powered.value,
            "se": powered.se,
            "low": powered.low,
            "high": powered.high,
            "reached": reached,
            "n": powered.n,
            "weight": powered.weight,
            "exact": alone.value,
            "exact_low": alone.low,
            "exact_high": alone.high,
        }
        return typed(pd.DataFrame(columns), _NUMBERS)

    @property
    def _looks(self) -> tuple[int, ...]:
        return schedule(int(self.bench.clusters.max()) + 1, self.aim.first, self.aim.growth)

    def _effects(self, name: str, places: Places, wide: Places) -> Floats:
        """Measure some sets exactly in some situations."""
        asked = [self.sets[place] for place in wide]
        part, nothing = self.bench.some(places), self.bench.nothing
        found = part.answer([nothing, *asked])
        changes = [[found.change(one, name, nothing) for one in asked] for name in part.measures]
        return np.array(changes).transpose(2, 0, 1)

    def _means(self, exact: Floats, predicted: Floats) -> Means:
        """Estimate a mean for each measure and set."""
        error = spent(self.aim.confidence, exact[0].size, len(self._looks))
        flat = (len(exact), -1)
        return predicted_means(exact.reshape(flat), predicted.reshape(flat), self.bench.clusters, error)
