"""Localisation curves for people: a line for each order, random orders grey, and the areas under them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from takeback.draw.columns import Column, table_of
from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.numbers import count, number, percent, range_of, share
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.findings.localise.curves import AGAINST, Curves
from takeback.findings.localise.orders import ORDERS, RANDOM
from takeback.findings.localise.shares import GRAFT, TAKE_BACK
from takeback.run.tables import records

_SHOWS = {TAKE_BACK: "what remains as components are taken back", GRAFT: "what appears as they are grafted"}
_X = {"components": ("n_components", "components taken"), "parameters": ("parameters", "share of parameters")}
_BANDS = (
    "Bands are 95% intervals over situations, of one set at a time; the grey band holds all random orders. "
    "Orders, and what they are judged by, come from different situations."
)


@section_of.register
def _(found: Curves) -> Section:
    """Draw the curves of every measure in both directions, against components and against parameters."""
    return Section(
        title="Localisation curves",
        words=tuple(_sentences(found)),
        figures=tuple(_figures(found)),
        tables=tuple(_areas(found)),
        folded=(("What the orders go by", Table(("order", "by"), tuple(ORDERS.items()), ("order", "by"))),),
        notes=(
            _BANDS,
            "The area under a curve is the mean share over all sizes: small is good where components are "
            "taken back, large where they are grafted. p is the rank among random orders.",
        ),
    )


def _sentences(found: Curves) -> Iterator[str]:
    areas = found.areas[(found.areas["against"] == "components") & (found.areas["order"] != RANDOM)]
    for (measure, direction), rows in areas.groupby(["measure", "direction"], sort=False):
        back = direction == TAKE_BACK
        best = records(rows.sort_values("area", ascending=back))[0]
        random = _random(found, str(measure), str(direction), "components")["area"]
        shown, show = ("remains", "leave") if back else ("appears", "show")
        beside = (
            f"; {count(len(random), 'random order')} {show} {range_of(random, percent)}"
            if len(random)
            else ""
        )
        yield (
            f"{measure}, {direction}: by {best['order']} a mean share of {percent(best['area'])} "
            f"{shown}{beside}."
        )


def _figures(found: Curves) -> Iterator[Figure]:
    for (measure, direction), rows in found.points.groupby(["measure", "direction"], sort=False):
        for against in AGAINST:
            title = f"{measure}: {_SHOWS[str(direction)]}"
            column, name = _X[against]
            axes = Axes(name, y_include=(0.0, 1.0), write_y=lambda share: percent(share, 0))
            yield Figure.of(title, line_plot(list(_series(rows, column)), axes, title))


def _series(rows: pd.DataFrame, column: str) -> Iterator[Series]:
    random = rows[rows["order"] == RANDOM]
    if len(random):
        yield Series(-1, _mean_of_random(random, column), mark_every=0, band=True, dashed=True, name=RANDOM)
    names = [name for name in ORDERS if name != RANDOM]
    for name, curve in rows[rows["order"] != RANDOM].groupby("order", sort=False):
        points = tuple(_point(row, column) for row in records(curve))
        yield Series(names.index(str(name)), points, mark_every=3, band=True, name=str(name))


def _point(row: dict[str, Any], column: str) -> Point:
    title = (
        f"{row['order']}: {count(row['n_components'], 'component')}, with {row['added'] or 'none'} "
        f"{share(row['share'], row['low'], row['high'])}"
    )
    return Point(row[column], row["share"], row["low"], row["high"], title)


def _mean_of_random(rows: pd.DataFrame, column: str) -> tuple[Point, ...]:
    """Return the mean of all random orders and their least and most, where each is drawn as straight."""
    curves = [
        (one[column].to_numpy(np.float64), one["share"].to_numpy(np.float64))
        for _, one in rows.groupby("draw")
    ]
    places = np.linspace(0, max(x[-1] for x, _ in curves), 33)
    shares = np.array([np.interp(places, x, y) for x, y in curves])
    return tuple(
        Point(float(x), float(y.mean()), float(y.min()), float(y.max()), "random orders")
        for x, y in zip(places, shares.T, strict=True)
    )


def _areas(found: Curves) -> Iterator[Table]:
    """Write a table of areas for each measure and direction, with the random ones beside them."""
    real = found.areas[found.areas["order"] != RANDOM]
    for (measure, direction), lane in real.groupby(["measure", "direction"], sort=False):
        rows = records(lane.sort_values("against", kind="stable"))
        for row in rows:
            random = _random(found, str(measure), str(direction), row["against"])
            row["random"] = range_of(random["area"], percent)
        yield table_of(
            rows,
            Column(f"{measure}, {direction}", None, "order"),
            Column("against"),
            Column("area", share, "area", "low", "high"),
            Column("random orders", str, "random"),
            Column("p", number, digits=2),
        )


def _random(found: Curves, measure: str, direction: str, against: str) -> pd.DataFrame:
    areas = found.areas[found.areas["order"] == RANDOM]
    return areas[
        (areas["measure"] == measure) & (areas["direction"] == direction) & (areas["against"] == against)
    ]
