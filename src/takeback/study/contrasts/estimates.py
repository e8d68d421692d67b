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
from takeback.run.sign_flips import WeightedContrast, weighted_contrast
from takeback.run.tables import records
from takeback.study.contrasts.quantities import Quantities

Floats = NDArray[np.float64]

COLUMNS: Final[Mapping[str, str]] = {
    "contrast": "its name in the plan",
    "source": "where the numbers are from: weights, take back, graft, or behaviour of the whole model",
    "component": "the component; empty for the whole model",
    "measure": "what is contrasted",
    "estimate": "weighted sum over arms, mean over seeds",
    "low": "lower end of its 95% interval over training runs (Student's t, not corrected)",
    "high": "upper end",
    "p": "two-sided p-value over training runs, of this component alone",
    "p_family": "the same by the largest statistic over all components of this contrast, source and measure",
    "p_family_flips": "the same by sign flips, of two arms too: for arms that spread differently",
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
    "p",
    "p_family",
    "p_family_flips",
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
    """

    values: Floats
    seeds: tuple[int, ...]
    components: tuple[str, ...]


class QuantityTable:
    """Quantities by source and measure, to take families of components from."""

    def __init__(self, table: pd.DataFrame) -> None:
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
        return SharedRuns(values, tuple(seeds), tuple(map(str, rows.columns)))


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
    measured = QuantityTable(found.table)
    random = {(row["source"], row["measure"]): row["value"] for row in records(found.random_sets)}
    rows: list[dict[str, Any]] = []
    told: dict[str, list[str]] = {}
    for name, weights in contrasts.items():
        seeds: set[int] = set()
        for source, measure in measured.names:
            family = measured.family(source, measure, list(weights))
            if family is None:
                continue
            seeds.add(len(family.seeds))
            tested = weighted_contrast(family.values, list(weights.values()), seed)
            about: dict[str, Any] = {"contrast": name, "source": source, "measure": measure}
            about["random_sets"] = random.get((source, measure))
            rows += [{**about, **row} for row in _rows(family, list(weights.values()), tested)]
        told.setdefault(_counted(seeds), []).append(name)
    words = tuple(f"{counted}: {', '.join(names)}" for counted, names in told.items())
    return typed(pd.DataFrame(rows, columns=list(COLUMNS)), _NUMBERS), words


def _rows(family: SharedRuns, weights: list[float], tested: WeightedContrast) -> Iterator[dict[str, Any]]:
    n = len(family.seeds)
    spread: Floats | None = None
    if n > 1:
        spread = np.sqrt(family.values.var(axis=1, ddof=1).mean(axis=0))
    error = float(np.sqrt(np.sum(np.square(weights)) / n))
    for place, (component, one) in enumerate(zip(family.components, tested.estimates, strict=True)):
        yield {
            "component": component,
            "estimate": one.value,
            "low": one.low,
            "high": one.high,
            "p": tested.p[place],
            "p_family": tested.p_family[place],
            "p_family_flips": tested.p_family_flips[place],
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
