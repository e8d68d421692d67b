"""What a run's course looks like: sentences, curves beside a random walk, maps of components, tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from takeback.component import Component
from takeback.draw.columns import Column, table_of
from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.heatmap import Cell, Ends, heat_map, limit_of
from takeback.draw.numbers import ABSENT, number, percent, short
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.run.tables import records
from takeback.weights.runs.path import PATH_MEASURES
from takeback.weights.runs.weight_path import WeightPath

CURVES = 3
"""Components whose curves are drawn beside the whole's: those that moved most."""

_HEADS = dict(
    zip(PATH_MEASURES, ("straightness", "first direction", "R² linear", "R² multiples"), strict=True)
)
_MAPS = {
    "straightness": "Straightness of the path",
    "multiple_r2": "R² of multiples of the final change",
}


@section_of.register
def _(found: WeightPath) -> Section:
    """Draw how the components moved: sentences, curves beside a random walk, maps, tables."""
    totals = _totals(found)
    return Section(
        "Along the run",
        tuple(_told(row, found.base) for row in _level(found, "all")),
        figures=(*_curves(found), *_maps(found)),
        tables=(totals,),
        folded=(("Every component, the mean over runs", _components(found)),),
        notes=(
            "Rings are a random walk in many dimensions, seen at the same steps. Where it ends explains "
            "it too: with many snapshots straight motion has R² = 2/3, and one direction holds 61%.",
            "Snapshots hide what happens between them: with more of them a path is longer and less straight.",
        ),
        terminal=(totals,),
    )


def _told(row: dict[str, Any], base: str) -> str:
    straight, linear = (
        f"{number(row[name], 2)} (random walk {number(row[f'{name}_null'], 2)})"
        for name in ("straightness", "linear_r2")
    )
    return (
        f"{row['run']}: from {base} the weights moved by {percent(row['relative'], 1)} of their norm. The "
        f"path through {row['snapshots']} snapshots has straightness {straight}, constant speed explains "
        f"R² = {linear} of it, and its first direction holds {percent(row['principal'])} "
        f"({percent(row['principal_null'])})."
    )


def _curves(found: WeightPath) -> list[Figure]:
    """Draw how far and which way the whole moved, and which way the components did that moved most."""
    components = found.paths[found.paths["level"] == "component"]
    most = components.groupby("scope", sort=False)["share"].mean().nlargest(CURVES).index
    drawn = [("all", "progress", "Distance from the start, ‖Δ_t‖ / ‖Δ_T‖")]
    drawn += [(str(scope), "cosine_final", "Cosine with the final change") for scope in ("all", *most)]
    return [
        Figure.of(
            f"{title}: {scope}",
            _curve(found, scope, measure, title),
            "A curve per run; rings are a random walk.",
        )
        for scope, measure, title in drawn
    ]


def _curve(found: WeightPath, scope: str, measure: str, title: str) -> str:
    rows = records(found.table[found.table["scope"] == scope])
    runs = dict.fromkeys(row["run"] for row in rows)
    series = [
        Series(0, _points([row for row in rows if row["run"] == run], measure, str(run))) for run in runs
    ]
    walk = _points([row for row in rows if row["run"] == next(iter(runs))], f"{measure}_null", "random walk")
    return line_plot([Series(-1, walk), *series], Axes("step", y_include=(0.0, 1.0)), f"{title}: {scope}")


def _points(rows: list[dict[str, Any]], measure: str, name: str) -> tuple[Point, ...]:
    return tuple(
        Point(row["step"], row[measure], title=f"{name}, step {row['step']}: {number(row[measure])}")
        for row in rows
        if row[measure] is not None
    )


def _maps(found: WeightPath) -> list[Figure]:
    means = _means(found, [name for measure in _MAPS for name in (measure, f"{measure}_null")])
    figures: list[Figure] = []
    for measure, title in _MAPS.items():
        cells = {
            Component.parse(row["scope"]): Cell(
                row[measure],
                f"{row['scope']}: {number(row[measure])}, a random walk {number(row[f'{measure}_null'])}",
                ABSENT if row[measure] is None else short(row[measure], 2),
            )
            for row in means
        }
        limit = max(1.0, limit_of(row[measure] for row in means))
        note = f"Mean over runs; a random walk has {number(means[0][f'{measure}_null'], 2)}."
        figures.append(Figure.of(title, heat_map(cells, Ends(limit, "1"), label=title), note))
    return figures


def _totals(found: WeightPath) -> Table:
    rows: list[tuple[str, ...]] = []
    for row in _level(found, "all"):
        real = (percent(row["relative"], 1), *(number(row[name], 2) for name in PATH_MEASURES))
        null = (ABSENT, *(number(row[f"{name}_null"], 2) for name in PATH_MEASURES))
        rows += [(row["run"], *real), ("– random walk", *null)]
    return Table(("run", "‖Δ‖/‖W‖", *_HEADS.values()), tuple(rows), ("run",))


def _components(found: WeightPath) -> Table:
    return table_of(
        _means(found, ["relative", "share", *PATH_MEASURES]),
        (
            Column("component", None, "scope"),
            Column("‖Δ‖/‖W‖", percent, "relative"),
            Column("of ‖Δ‖²", percent, "share"),
            *(Column(head, number, name, digits=2) for name, head in _HEADS.items()),
        ),
    )


def _level(found: WeightPath, level: str) -> list[dict[str, Any]]:
    return records(found.paths[found.paths["level"] == level])


def _means(found: WeightPath, measures: list[str]) -> list[dict[str, Any]]:
    """Return each component's means over runs."""
    components: pd.DataFrame = found.paths[found.paths["level"] == "component"]
    return records(components.groupby("scope", sort=False)[measures].mean().reset_index())
