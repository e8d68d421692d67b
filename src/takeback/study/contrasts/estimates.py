"""Contrasts of a run's quantities: every weighted sum over arms, for every measure and component."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.draw.numbers import count
from takeback.measure.measures import typed
from takeback.run.crossed import Crossed, crossed_estimate
from takeback.run.errors import TakebackError
from takeback.run.power import LEVEL, bound, noncentrality
from takeback.run.sign_flips import weighted_contrast
from takeback.run.tables import records
from takeback.study.comparison.measures import ROUNDING
from takeback.study.contrasts.quantities import Contributions, Quantities
from takeback.study.contrasts.together import InTable, Tested, together

Floats = NDArray[np.float64]

COLUMNS: Final[Mapping[str, str]] = {
    "contrast": "its name in the plan",
    "source": "where the numbers are from: weights, take back, graft, or behaviour of the whole model",
    "component": "the component; empty for the whole model",
    "measure": "what is contrasted",
    "estimate": "weighted sum over arms, mean over seeds",
    "low": "lower end of its 95% interval, over training runs and situations where what each situation adds "
    "was kept, else over training runs alone (not corrected)",
    "high": "upper end",
    "low_runs": "lower end of the 95% interval over training runs alone, in these situations (Student's t)",
    "high_runs": "upper end",
    "situations": "situations that low and high are over; missing where they are over training runs alone",
    "of_runs": "share of the estimate's variance that is from training runs",
    "of_situations": "share that is from situations; the rest is how runs differ by situation",
    "bound": "the largest size of an effect that low and high do not rule out",
    "detectable": "the smallest effect that this test sees in 80% of studies like this one at p_table 0.05, "
    "were it the only one; missing where none would be",
    "p": "two-sided p-value over training runs, of this component alone",
    "p_family": "the same by the largest statistic over all components of this contrast, source and measure",
    "p_family_flips": "the same by sign flips, of two arms too: for arms that spread differently",
    "p_table": "the same, right for all contrasts, measures and components of its table (step-down maxT over "
    "what is relabelled together, times the number of such groups)",
    "table": "which table of the page shows it: whole models, components, or other measures",
    "smallest_p_table": "the smallest p_table that so many seeds can give",
    "n": "seeds that all its arms have",
    "components": "of the family",
    "test": "permutation: runs dealt out to two arms; sign flips: signs of whole seeds",
    "smallest_p": "the smallest p that so many seeds can give",
    "between_seeds": "noise floor: standard deviation between seeds within an arm, pooled over its arms",
    "floor": "noise floor: standard error that the estimate has from that alone, were its arms independent",
    "random_sets": "noise floor: root mean square effect of the smallest random sets, all arms and seeds",
}
"""What each column means."""

_NUMBERS = (
    "estimate",
    "low",
    "high",
    "low_runs",
    "high_runs",
    "situations",
    "of_runs",
    "of_situations",
    "bound",
    "detectable",
    "p",
    "p_family",
    "p_family_flips",
    "p_table",
    "smallest_p_table",
    "smallest_p",
    "between_seeds",
    "floor",
    "random_sets",
)


@dataclass(frozen=True, eq=False)
class SharedRuns:
    """A measure in the training runs of some arms that share seeds.

    Attributes:
        values: shape (arms, seeds, components).
        seeds: those that all arms have.
        components: those that have a number in each of these runs.
        situations: what each situation adds, shape (arms, seeds, components, situations), its mean over
            situations being `values`; None where that was not kept.
        clusters: which situations belong together.
    """

    values: Floats
    seeds: tuple[int, ...]
    components: tuple[str, ...]
    situations: Floats | None = None
    clusters: NDArray[np.int64] | None = None

    def crossed(self, weights: Sequence[float], place: int) -> Crossed | None:
        """Estimate a weighted sum over arms for one component over runs and situations."""
        if self.situations is None:
            return None
        return crossed_estimate(np.tensordot(weights, self.situations[:, :, place], 1), self.clusters)


class QuantityTable:
    """Quantities by source and measure, to take families of components from."""

    def __init__(self, table: pd.DataFrame, situations: Contributions | None = None) -> None:
        self._situations = situations
        self._wide = {
            (str(source), str(measure)): rows.pivot(
                index=["arm", "seed"], columns="component", values="value"
            )
            for (source, measure), rows in table.groupby(["source", "measure"], sort=False)
        }

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """Every source and measure."""
        return tuple(self._wide)

    def family(self, source: str, measure: str, arms: Sequence[str]) -> SharedRuns | None:
        """Return one measure in the runs of some arms, None where they share no seed or no component.

        A seed counts if every arm has any number for it; a component if it has one in each of these runs.
        """
        wide = self._wide.get((source, measure))
        if wide is None:
            return None
        has = set(wide.index)
        seeds = sorted({seed for _, seed in has})
        seeds = [seed for seed in seeds if all((arm, seed) in has for arm in arms)]
        rows = wide.loc[[(arm, seed) for arm in arms for seed in seeds]].dropna(axis=1)
        if not seeds or rows.empty:
            return None
        values = rows.to_numpy(np.float64).reshape(len(arms), len(seeds), rows.shape[1])
        components = tuple(map(str, rows.columns))
        known = None
        if self._situations is not None:
            known = self._situations.of((source, measure), arms, seeds, components)
        if known is None:
            return SharedRuns(values, tuple(seeds), components)
        means = known.values.mean(axis=-1)
        means[np.abs(means) < ROUNDING] = 0.0
        if means.shape != values.shape or not np.allclose(
            means, values, 1e-4, 1e-6 * np.abs(known.values).max()
        ):
            raise TakebackError(
                f"what situations add to {measure} ({source}) does not come to its values; "
                "remove these tables and run the plan again"
            )
        return SharedRuns(values, tuple(seeds), components, known.values, known.clusters)


def estimate(
    found: Quantities, contrasts: Mapping[str, Mapping[str, float]], seed: int = 0
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Estimate every contrast of every measure and component.

    Seeds are paired, and only those are used that all arms of the contrast have.

    Args:
        found: the quantities of a run.
        contrasts: by name, the weight of each arm.
        seed: of flips or dealings, where there are too many to list.

    Returns:
        A table with the columns of `COLUMNS`, and in words how many seeds the contrasts have.
    """
    measured = QuantityTable(found.table, found.situations)
    random = {(row["source"], row["measure"]): row["value"] for row in records(found.random_sets)}
    families: list[SharedRuns] = []
    tested: list[Tested] = []
    told: dict[str, list[str]] = {}
    for name, weights in contrasts.items():
        seeds: set[int] = set()
        factors = tuple(weights.values())
        for source, measure in measured.names:
            family = measured.family(source, measure, list(weights))
            if family is None:
                continue
            seeds.add(len(family.seeds))
            one = weighted_contrast(family.values, factors, seed)
            about = name, source, measure, family.components, family.seeds, family.values, factors
            tested.append(Tested(*about, one))
            families.append(family)
        told.setdefault(_counted(seeds), []).append(name)
    words = [f"{counted}: {', '.join(names)}" for counted, names in told.items()]
    placed = together(tested, seed)
    rows = [
        {"random_sets": random.get((one.source, one.measure)), **row}
        for one, family, mine in zip(tested, families, placed, strict=True)
        for row in _rows(family, one, mine)
    ]
    words += [*_undecidable(tested, placed), *_over(families)]
    return typed(pd.DataFrame(rows, columns=list(COLUMNS)), _NUMBERS), tuple(words)


def _undecidable(tested: Sequence[Tested], placed: Sequence[InTable]) -> Iterator[str]:
    """Say of which tables nothing can stand out, however large it is."""
    for table in dict.fromkeys(one.table for one in tested):
        least = min(mine.smallest for one, mine in zip(tested, placed, strict=True) if one.table == table)
        if least > LEVEL:
            seeds = max(len(one.seeds) for one in tested if one.table == table)
            yield (
                f"{table}: {count(seeds, 'seed')} can't decide this table: no p over all of it is below "
                f"{least:.2g}, and {LEVEL} is asked for"
            )


def _over(families: Sequence[SharedRuns]) -> Iterator[str]:
    alone = sum(family.situations is None for family in families)
    if alone:
        some = "intervals" if alone == len(families) else f"{alone} of {len(families)} families' intervals"
        yield f"{some} are over training runs in the same situations: what each situation adds was not kept"


def _rows(family: SharedRuns, one: Tested, mine: InTable) -> Iterator[dict[str, Any]]:
    n, tested, weights = len(family.seeds), one.found, one.weights
    spread: Floats | None = None
    if n > 1:
        spread = np.sqrt(family.values.var(axis=1, ddof=1).mean(axis=0))
    error = float(np.sqrt(np.sum(np.square(weights)) / n))
    critical = None if mine.critical is None else noncentrality(mine.freedom, mine.critical)
    for place, (component, runs) in enumerate(zip(family.components, tested.estimates, strict=True)):
        crossed = family.crossed(weights, place)
        both = runs if crossed is None or crossed.both.low is None else crossed.both
        seen = None if tested.errors is None or critical is None else critical * tested.errors[place]
        yield {
            "contrast": one.name,
            "source": one.source,
            "measure": one.measure,
            "component": component,
            "estimate": runs.value,
            "low": both.low,
            "high": both.high,
            "low_runs": runs.low,
            "high_runs": runs.high,
            "situations": None if both is runs or family.situations is None else family.situations.shape[-1],
            "of_runs": None if crossed is None else crossed.of_runs,
            "of_situations": None if crossed is None else crossed.of_situations,
            "bound": bound(both),
            "detectable": seen,
            "p": tested.p[place],
            "p_family": tested.p_family[place],
            "p_family_flips": tested.p_family_flips[place],
            "p_table": mine.p[place],
            "table": one.table,
            "smallest_p_table": mine.smallest,
            "n": n,
            "components": len(family.components),
            "test": tested.test,
            "smallest_p": tested.smallest_p,
            "between_seeds": None if spread is None else spread[place],
            "floor": None if spread is None else spread[place] * error,
        }


def _counted(seeds: set[int]) -> str:
    if not seeds:
        return "arms without a seed in common yet"
    least, most = min(seeds), max(seeds)
    return count(most, "seed") if least == most else f"{least} to {most} seeds, by measure"
