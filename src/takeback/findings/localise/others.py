"""Other sources: what taking a set back does beside zeros, noise, a permuted change and other checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from takeback.draw.result import Result, as_table
from takeback.findings.localise.measured import MEASURED, SET, ends, mean, measured, named, tabled
from takeback.findings.localise.shares import Controls, told_from_zero
from takeback.findings.sweep.sets import NamedSet
from takeback.measure.bench import Answers, Bench
from takeback.measure.read import BASE, Ask

ZEROS = "zeros"
MATCHED = ("noise", "permuted")
"""Kinds of sources that are controls: as many components and parameters, and as large a ‖Δ‖."""

OTHERS = (ZEROS, *(f"{kind}:{seed}" for kind in MATCHED for seed in range(3)))
"""Sources that are asked by default beside base."""

COLUMNS: Mapping[str, str] = {
    **SET,
    "kind": "the source without its values: base, zeros, checkpoint, …; noise and permuted are controls",
    "source": "what the set is taken from; see `takeback.hybrid.sources`",
    **MEASURED,
    "beside": "the effect minus that of taking the same set from base, in the same situations",
    "beside_low": "lower end of its interval",
    "beside_high": "upper end of its interval",
}
"""What each column of the table means."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A set that is taken from a source."""

    named: NamedSet
    source: str

    @property
    def ask(self) -> Ask:
        """The hybrid."""
        return Ask(self.named.components, self.source)

    def row(self, answers: Answers, measure: str) -> dict[str, Any]:
        """Return a row of `COLUMNS`."""
        beside = mean(answers, answers.change(self.ask, measure, self.named.components))
        keys = {"kind": self.source.partition(":")[0], "source": self.source}
        return {**named(self.named), **keys, **measured(answers, self.ask, measure), **ends("beside", beside)}


@dataclass(frozen=True, eq=False, repr=False)
class OtherSources(Result):
    """Holds effects by source: a row of `COLUMNS` for each measure, set and source.

    Attributes:
        table: the sets from every source, then random sets from base.
        gains: tuned minus base, by measure; None where it can't be told from 0.
    """

    name = "sources"
    table: pd.DataFrame = field(metadata=as_table("sources", COLUMNS))
    gains: Mapping[str, float | None]


def other_sources(
    bench: Bench,
    sets: Sequence[NamedSet],
    controls: Controls,
    sources: Sequence[str] = OTHERS,
) -> OtherSources:
    """Measure what changes in tuned when each set is taken from base, and from each of some other sources.

    Noise and a permuted change share the set and ‖Δ‖ of each of its components with base; random sets, from
    base, share its size. Where base does no more than these, it is not the old values that matter. A
    `checkpoint:REF` of another arm or seed of the same base is a transplant.

    Raises:
        UnknownName: there is no such source.
        TakebackError: a checkpoint makes no pair with base, or an answer can't be had (see `Bench.answer`).
    """
    asked = [Taken(one, source) for one in sets for source in dict.fromkeys((BASE, *sources))]
    asked += [Taken(one, BASE) for one in controls.beside(bench.anatomy, sets)]
    whole = [bench.nothing, bench.anatomy.universe]
    answers = bench.answer([*whole, *(one.ask for one in asked)])
    rows = [one.row(answers, measure) for measure in bench.measures for one in asked]
    title = str(bench.pair)
    gains = {measure: _gain(answers, measure) for measure in bench.measures}
    return OtherSources(title, tabled(rows, COLUMNS), gains)


def _gain(answers: Answers, measure: str) -> float | None:
    bench = answers.bench
    gain = mean(answers, answers.change(bench.nothing, measure, bench.anatomy.universe))
    return gain.value if gain is not None and told_from_zero(gain) else None
