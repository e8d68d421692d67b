"""Localisation curves: what remains of a change, or appears, as components are taken one after the other.

An order is made on some situations and judged on others. A good one loses the change early when it takes
back, and shows it early when it grafts; random orders are the control of all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.component import ComponentSet
from takeback.draw.result import Result, as_table
from takeback.findings.localise.orders import RANDOM, Order
from takeback.findings.localise.shares import (
    at_least,
    carried,
    changes_of,
    hybrids_of,
    share_of,
    taken_back,
)
from takeback.measure.bench import Answers, Bench

MOST = 48
"""Sets along a curve at most; with more components they lie closer together where a curve begins."""

AGAINST = ("components", "parameters")

COLUMNS: Mapping[str, str] = {
    "measure": "what was measured",
    "direction": "take back: necessity; graft: sufficiency",
    "order": "what the order goes by; random is the control",
    "draw": "which random order; 0 for others",
    "n_components": "how many components are taken",
    "parameters": "the share of all parameters that they are",
    "added": "the component that came last, missing at the start",
    "components": "which they are",
    "selected": "share of the change that remains (take back) or appears (graft), in the situations that "
    "orders and sets are selected on",
    "share": "the same in the situations to evaluate on",
    "se": "standard error of the share, clustered",
    "low": "lower end of its interval",
    "high": "upper end of its interval",
    "against": "what the area is under the curve against: the share of components, or of parameters",
    "area": "area under the curve of share (trapezoids, from 0 to 1): a good order has a small one when it "
    "takes back and a large one when it grafts",
    "p": "(1 + random orders that do at least as well) / (1 + random orders), missing without them",
}
"""What each column of the tables means."""

POINTS = tuple(COLUMNS)[: tuple(COLUMNS).index("against")]
AREAS = ("measure", "direction", "order", "draw", "against", "area", "se", "low", "high", "p")


@dataclass(frozen=True, eq=False)
class Halves:
    """A bench twice, on situations to select on and on others to evaluate on."""

    selection: Bench
    evaluation: Bench

    @classmethod
    def of(cls, bench: Bench, seed: int = 0) -> Halves:
        """Split a bench's situations; no cluster has some in both."""
        selection, evaluation = (bench.some(places) for places in bench.halves(seed))
        return cls(selection, evaluation)


@dataclass(frozen=True, eq=False, repr=False)
class Curves(Result):
    """Holds localisation curves: a row for each set along each, and one for the area under each.

    Attributes:
        orders: what was followed.
        points: the columns `POINTS` of `COLUMNS`.
        areas: the columns `AREAS` of `COLUMNS`.
    """

    name = "curves"
    orders: tuple[Order, ...]
    points: pd.DataFrame = field(metadata=as_table("curves", COLUMNS))
    areas: pd.DataFrame = field(metadata=as_table("areas"))


def curves(
    halves: Halves,
    orders: Sequence[Order],
    most: int = MOST,
) -> Curves:
    """Follow orders of the components, measuring what their first few carry together.

    Every set is read in both halves: `smallest_sets` chooses by the one and is judged by the other. For n
    components that is up to 2 × (n − 1) hybrids for each distinct order, in each half.

    Raises:
        TakebackError: a measure's change can't be told from 0 (see `changes_of`).
    """
    changes_of(halves.evaluation)
    universe = halves.evaluation.anatomy.universe
    counts = counts_of(len(universe), most)
    paths = [[ComponentSet(order.components[:count], universe) for count in counts] for order in orders]
    asks = hybrids_of(halves.evaluation, [])
    asks += [
        taken_back(one, order.direction) for order, path in zip(orders, paths, strict=True) for one in path
    ]
    selected, evaluated = (half.answer(asks) for half in (halves.selection, halves.evaluation))
    points = [_points(selected, evaluated, *one) for one in zip(orders, paths, strict=True)]
    areas = [_areas(evaluated, *one) for one in zip(orders, paths, strict=True)]
    pair = halves.evaluation.pair
    return Curves(
        str(pair),
        tuple(orders),
        _typed(pd.DataFrame([row for rows in points for row in rows])[list(POINTS)]),
        _ranked([row for rows in areas for row in rows]),
    )


def counts_of(components: int, most: int = MOST) -> list[int]:
    """Return how many components the sets along a curve have: all counts, or `most` + 1 of them.

    >>> counts_of(4), counts_of(100, 5)
    ([0, 1, 2, 3, 4], [0, 4, 16, 36, 64, 100])
    """
    if components <= most:
        return list(range(components + 1))
    counts = np.round(components * np.linspace(0, 1, most + 1) ** 2).astype(int)
    return sorted(set(counts.tolist()))


def trapezoids(places: Iterable[float]) -> NDArray[np.float64]:
    """Return the weights with which values at these places, from 0 to 1, add up to the area under them.

    >>> trapezoids([0.0, 0.5, 1.0]).tolist()
    [0.25, 0.5, 0.25]
    """
    gaps = np.diff(np.fromiter(places, np.float64))
    return (np.append(gaps, 0.0) + np.insert(gaps, 0, 0.0)) / 2


def _points(
    selected: Answers, evaluated: Answers, order: Order, path: Sequence[ComponentSet]
) -> Iterable[dict[str, Any]]:
    anatomy = evaluated.bench.anatomy
    whole = anatomy.parameters(anatomy.universe)
    for components in path:
        hybrid = taken_back(components, order.direction)
        found = share_of(evaluated, hybrid, order.measure)
        yield {
            **_keys(order),
            "n_components": len(components),
            "parameters": anatomy.parameters(components) / whole,
            "added": str(order.components[len(components) - 1]) if components else None,
            "components": str(components),
            "selected": share_of(selected, hybrid, order.measure).value,
            "share": found.value,
            **{name: getattr(found, name) for name in ("se", "low", "high")},
        }


def _areas(evaluated: Answers, order: Order, path: Sequence[ComponentSet]) -> Iterable[dict[str, Any]]:
    anatomy = evaluated.bench.anatomy
    for against in AGAINST:
        sizes = [len(one) if against == "components" else anatomy.parameters(one) for one in path]
        weights = trapezoids(size / sizes[-1] for size in sizes)
        hybrids = (taken_back(one, order.direction) for one in path)
        found = share_of(evaluated, dict(zip(hybrids, weights.tolist(), strict=True)), order.measure)
        yield {
            **_keys(order),
            "against": against,
            "area": found.value,
            **{name: getattr(found, name) for name in ("se", "low", "high")},
        }


def _ranked(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Make the table of areas, with how many random orders do as well as each other order."""

    def lane(row: dict[str, Any]) -> tuple[str, ...]:
        return row["measure"], row["direction"], row["against"]

    random: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows:
        if row["order"] == RANDOM:
            random[lane(row)].append(carried(row["area"], row["direction"]))
    for row in rows:
        good = carried(row["area"], row["direction"])
        row["p"] = None if row["order"] == RANDOM else at_least(random[lane(row)], good)
    return _typed(pd.DataFrame(rows)[list(AREAS)])


def _keys(order: Order) -> dict[str, Any]:
    return {
        "measure": order.measure,
        "direction": order.direction,
        "order": order.name,
        "draw": order.draw,
    }


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    floats = ("parameters", "selected", "share", "se", "low", "high", "area", "p")
    kinds = {"draw": "Int64", "n_components": "Int64", "added": "string"} | dict.fromkeys(floats, "Float64")
    return table.astype({name: kind for name, kind in kinds.items() if name in table})
