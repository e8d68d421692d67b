"""How far from its threshold a rule's number is, with an interval over training runs where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from takeback.run.errors import TakebackError
from takeback.run.stats import seeds_estimate
from takeback.study.conjectures.judge import TableSource, quantity_of
from takeback.study.conjectures.rule import (
    Aggregate,
    Arithmetic,
    ColumnName,
    Quantity,
    Relation,
    Rule,
    Signed,
)

CONTRASTS = "contrasts"


class Margin(NamedTuple):
    """A number that a rule compares, with its 95% interval over `n` training runs.

    `of` says which number it is: `left side`, `left side − right side`, or a row of the contrasts.
    """

    of: str
    value: float
    low: float
    high: float
    n: int


def margin(rule: Rule, tables: TableSource) -> Margin | None:
    """Return the number that a rule with one comparison compares, with its interval over training runs.

    A rule over means and shares gets the mean over seeds of the number that each seed gives, and Student's
    interval of that mean (`run.stats.seeds_estimate`); `abs` around a side is left out. A rule over one
    number of the contrasts gets estimate and interval of the row that holds it. Other rules have none.

    Raises:
        TakebackError: a table is damaged.

    Examples:
        >>> from types import SimpleNamespace
        >>> from takeback.study.conjectures.rule import parse_rule
        >>> rows = [("rl", 0, 0.3), ("rl", 1, 0.5), ("sft", 0, 0.1), ("sft", 1, 0.1)]
        >>> shifts = pd.DataFrame(rows, columns=["arm", "seed", "effect"]).assign(measure="legal")
        >>> tables = SimpleNamespace(planned={"seed": (0, 1)}, get=lambda name: shifts)
        >>> text = 'mean(shifts.effect, arm="{}", measure="legal")'
        >>> found = margin(parse_rule(f"{text.format('rl')} > {text.format('sft')}"), tables)
        >>> found.of, round(found.value, 3), found.n
        ('left side − right side', 0.3, 2)
    """
    statement = rule.statement
    if not isinstance(statement, Relation) or len(statement.operands) != 2:
        return None
    left, right = statement.operands
    for side, other in ((left, right), (right, left)):
        if isinstance(side, Aggregate) and side.table == CONTRASTS and isinstance(other, float | int):
            return _of_contrast(side, tables)
    readings = list(rule.readings())
    if not readings or any(one.function not in ("mean", "share") for one in readings):
        return None
    name = "left side − right side"
    if isinstance(right, float | int):
        name, number = "left side", _bare(left)
    else:
        number = Arithmetic("-", left, right)
    return _over_seeds(name, number, tables, readings)


def _over_seeds(name: str, number: Quantity, tables: TableSource, readings: list[Aggregate]) -> Margin | None:
    loaded = [tables.get(one.table) for one in readings]
    seeds = tables.planned.get("seed", ())
    if len(seeds) < 2 or any(table is None or "seed" not in table.columns for table in loaded):
        return None
    try:
        values = [quantity_of(number, _OneSeed(tables, seed)) for seed in seeds]
    except TakebackError:  # the rule is about some of the seeds
        return None
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    found = seeds_estimate(known)
    if found.low is None or found.high is None:
        return None
    return Margin(name, found.value, found.low, found.high, len(known))


def _of_contrast(reading: Aggregate, tables: TableSource) -> Margin | None:
    table = tables.get(CONTRASTS)
    if table is None or not isinstance(reading.of, ColumnName):
        return None
    for column, allowed in reading.filters:
        table = table[table[column].isin(allowed)]
    table = table[table[reading.of.name].notna()]
    if table.empty or (reading.function == "mean" and len(table) > 1):
        return None
    values = table[reading.of.name].to_numpy(dtype=np.float64)
    place = int(values.argmax() if reading.function == "most" else values.argmin())
    row: Mapping[Any, Any] = table.iloc[place].to_dict()
    numbers = [row[name] for name in ("estimate", "low", "high")]
    if any(pd.isna(one) for one in numbers):
        return None
    value, low, high = map(float, numbers)
    return Margin(f"{row['contrast']}, {row['component']}", value, low, high, int(row["n"]))


def _bare(side: Quantity) -> Quantity:
    return side.of if isinstance(side, Signed) and side.function == "abs" else side


@dataclass(frozen=True)
class _OneSeed:
    """The tables of a run with the rows of one seed, and of base, which has none."""

    tables: TableSource
    seed: object

    @property
    def planned(self) -> Mapping[str, tuple[object, ...]]:
        return self.tables.planned

    def get(self, name: str) -> pd.DataFrame | None:
        table = self.tables.get(name)
        if table is None:
            return None
        kept = table["seed"].isin([self.seed])
        if "arm" in table.columns:
            kept |= table["arm"].isin(["base"])
        return table[kept]
