"""A sweep within a budget: what is few is read exactly, and of what is many the strongest by attribution.

Nothing that was chosen is judged on the situations that chose it: attribution sees one half of them, the
exact readings of the strongest are on the other. A budget that does not hold every layer in every situation
is spent on fewer situations, then on blocks of layers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from takeback.component import Component
from takeback.findings.attribution import attribute
from takeback.findings.attribution.gradients import PlainlyRead
from takeback.findings.sweep.run import Sweep
from takeback.findings.sweep.sets import NamedSet, chosen_sets
from takeback.measure.bench import Bench
from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file
from takeback.run.json_text import read_object
from takeback.run.reading import fields_of
from takeback.run.stats import mean_estimate

FEW: Final = ("each layer", "each kind")
"""The families of which every set is read."""

MANY: Final = ("each head", "each mlp", "each mixer", "each tensor")
"""The families of which the strongest are."""

BLOCKS: Final = (6, 3)
"""How many blocks of layers stand for the layers where a budget does not hold these, the finest first."""

LEAST: Final = 4
"""The fewest situations that are told of."""

GRADIENTS: Final = 6
"""What attribution costs, in hybrids: a pass forwards and backwards at one point, modules run again."""

_UNITS: Final[Mapping[str, float]] = {"s": 1.0, "m": 60.0, "h": 3600.0}

COLUMNS: Final[Mapping[str, str]] = {
    "family": "the family of the set",
    "set": "its name",
    "measure": "what the effect is on",
    "effect": "mean over the choosing half of the effect of taking it back, estimated by attribution; by "
    "gradients of weights alone where activations are not attributed",
    "low": "lower end of its 95% interval over situations, missing with gradients of weights",
    "high": "upper end of it",
    "n": "number of situations",
    "read": "whether its exact effect was then read, on the other half; the others were left out",
}
"""What each column of the table of estimates means."""


@dataclass(frozen=True)
class Budget:
    """How much may be read: a time in seconds, or a number of hybrids.

    >>> Budget.parse("10m"), Budget.parse("300")
    (Budget(seconds=600.0, hybrids=None), Budget(seconds=None, hybrids=300))
    >>> Budget.parse("10m").number(each=2.0)
    300
    """

    seconds: float | None = None
    hybrids: int | None = None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read `90s`, `10m`, `1.5h`, or a number of hybrids.

        Raises:
            TakebackError: it is none of these.
        """
        found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smh]?)", text.strip())
        if found is None or float(found[1]) <= 0 or (not found[2] and "." in found[1]):
            raise TakebackError(
                f"a budget is a time such as 90s, 10m or 2h, or a number of hybrids, not {text!r}"
            )
        if found[2]:
            return cls(seconds=float(found[1]) * _UNITS[found[2]])
        return cls(hybrids=int(found[1]))

    def number(self, each: float) -> int:
        """Return how many hybrids it holds if each takes so many seconds."""
        return int(self.seconds / max(each, 1e-9)) if self.seconds is not None else int(self.hybrids or 0)


@dataclass(frozen=True, eq=False)
class Budgeted:
    """A sweep planned within a budget.

    Attributes:
        few: every layer and kind, on all situations; where the budget does not hold them, on fewer, or blocks
            of layers.
        strongest: the strongest heads and MLPs with their random sets, on the half that did not choose them;
            None where the budget holds none.
        estimated: every head and MLP; see `COLUMNS`. None where the budget holds no estimates.
    """

    few: Sweep
    strongest: Sweep | None = None
    estimated: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def left_out(self) -> int:
        """How many sets were estimated and not read."""
        if self.estimated is None:
            return 0
        first = self.estimated["measure"].iloc[0]
        return int((~self.estimated.loc[self.estimated["measure"] == first, "read"]).sum())


def hybrids_within(what: Sweep, size: Budget, kept: Path) -> int:
    """Return how many hybrids a budget holds; of a time, as a file says that was written when first asked.

    How long a hybrid takes is never the same twice, and a killed sweep goes on with the plan that it had.

    Raises:
        TakebackError: the file is no budget of a sweep, or a model can't be loaded.
    """
    if size.seconds is None:
        return size.number(0)
    asked = {"seconds": size.seconds, "bench": what.bench.identity}
    if kept.exists():
        with fields_of(kept, "a sweep's budget", "remove it"):
            found = read_object(kept)
            if {name: found[name] for name in asked} == asked:
                return int(found["hybrids"])
    _ = what.bench.ends  # which are read first, and tell how long a hybrid takes
    number = size.number(what.bench.timed())
    with atomic_file(kept) as draft:
        draft.write_text(json.dumps({**asked, "hybrids": number}), encoding="utf-8")
    return number


def within(what: Sweep, number: int) -> Budgeted:
    """Plan a sweep of everything within a number of hybrids.

    Args:
        what: the sweep, of which bench, norms, controls and seed are kept; its measures, the first above all,
            say what is strong.
        number: the hybrids, in all situations of the bench; neither base and tuned nor answers drawn anew are
            counted.

    Raises:
        TakebackError: blocks of layers and kinds in `LEAST` situations are more, the pair are policy
            networks, or a measure has no slopes.
    """
    bench = what.bench
    if bench.of_networks:
        raise TakebackError("a budget is for language models; a whole sweep of a network takes seconds")
    few = replace(what, requests=tuple(one for one in FEW if _has(what, one)))
    left = number - len(few.hybrids) - GRADIENTS
    if left < 0:
        return Budgeted(_coarse(few, number))
    choosing, judging = bench.halves(what.seed)
    many = chosen_sets(bench.anatomy, [one for one in MANY if _has(what, one)])
    estimated = _estimated(bench.some(choosing), many)
    first = estimated[estimated["measure"] == bench.measures[0]]
    order = np.argsort(-first["effect"].abs().to_numpy(np.float64), kind="stable")
    strongest = _fitting(what, bench.some(judging), [many[place] for place in order], left)
    kept = {one.name for one in strongest.given or ()} if strongest else set[str]()
    return Budgeted(few, strongest, estimated.assign(read=estimated["set"].isin(kept)))


def _coarse(few: Sweep, number: int) -> Sweep:
    """Plan layers and kinds; with one control each in half of the situations or more; or blocks of layers.

    Raises:
        TakebackError: not even blocks of layers fit in `LEAST` situations.
    """
    bench = few.bench
    every, enough = len(bench.situations), min(LEAST, len(bench.situations))
    layers = replace(few, controls=1)
    kinds = [one for one in few.sets if one.family == FEW[1]]
    blocks = [
        replace(layers, requests=None, given=(*_blocks(bench, count), *kinds))
        for count in BLOCKS
        if count < bench.anatomy.layers
    ] or [layers]
    smaller = [(one, enough) for one in blocks]
    for plan, least in ((few, every), (layers, max(enough, every // 2)), *smaller):
        if (fitting := number * every // len(plan.hybrids)) >= least:
            return replace(plan, bench=bench.first(min(fitting, every)))
    needed = -(-len(blocks[-1].hybrids) * enough // every)
    least = f"blocks of layers and kinds in {enough} of them, is as much as {needed:,}"
    raise TakebackError(
        f"the budget holds {number:,} hybrids in all {every} situations; the least that is told, {least}: "
        "raise it, or name --sets in its place"
    )


def _blocks(bench: Bench, count: int) -> list[NamedSet]:
    """Return the layers, which are more than so many, in blocks of neighbours."""
    layers = sorted({one.layer for one in bench.anatomy.universe if one.layer is not None})
    ends = [(block[0], block[-1]) for block in np.array_split(layers, count)]
    names = [f"L{first}.*" if first == last else f"L{first}-{last}.*" for first, last in ends]
    return [NamedSet("block of layers", name, bench.anatomy.parse(name)) for name in names]


def _has(what: Sweep, family: str) -> bool:
    try:
        return bool(what.bench.anatomy.named_sets(family))
    except TakebackError:
        return False


def _fitting(what: Sweep, bench: Bench, ordered: Sequence[NamedSet], number: int) -> Sweep | None:
    """Return the sweep of as many of the first sets as fit into a number of hybrids, controls included."""
    for count in range(min(len(ordered), number // 2), 0, -1):
        some = replace(what, bench=bench, given=tuple(ordered[:count]))
        if len(some.hybrids) <= number:
            return some
    return None


def _estimated(bench: Bench, sets: Sequence[NamedSet]) -> pd.DataFrame:
    """Estimate the effect of taking back each set: the sum of what its components are estimated to do."""
    try:
        found = attribute(bench, "near")
    except PlainlyRead:
        return _estimated_by_weights(bench, sets)
    rows = []
    for measure in bench.measures:
        of: Mapping[Component, np.ndarray] = {one: found.of(one, measure) for one in found.components}
        for named in sets:
            effect = np.sum([of[component] for component in named.components], axis=0)
            kept = np.isfinite(effect)
            told = mean_estimate(effect[kept], bench.clusters[kept])
            about = {"family": named.family, "set": named.name, "measure": measure}
            rows.append({**about, "effect": told.value, "low": told.low, "high": told.high, "n": told.n})
    return pd.DataFrame(rows)


def _estimated_by_weights(bench: Bench, sets: Sequence[NamedSet]) -> pd.DataFrame:
    found = attribute(bench, "gradient")
    of = {one: place for place, one in enumerate(found.components)}
    rows: list[dict[str, object]] = []
    for measure in bench.measures:
        for named in sets:
            places = [of[component] for component in named.components]
            about = {"family": named.family, "set": named.name, "measure": measure}
            effect, known = float(found.means[measure][places].sum()), len(bench.situations)
            rows.append({**about, "effect": effect, "low": np.nan, "high": np.nan, "n": known})
    return pd.DataFrame(rows)
