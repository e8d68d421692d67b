"""A scene: what the page knows of a pair before anything is clicked, in plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from takeback.anatomy import Anatomy
from takeback.arenas import Featured, Readable
from takeback.component import Component
from takeback.draw.board import BEFORE, style
from takeback.draw.colour import STEPS, variables
from takeback.hybrid.sources import SOURCES
from takeback.lab.situations import numbers
from takeback.measure.bench import Bench
from takeback.measure.measures import measures_of
from takeback.measure.shift import TOP_CHANGED, TOTAL_VARIATION, shift
from takeback.weights import Diff

SCHEMA = 1


@dataclass(frozen=True)
class Colouring:
    """A number for each component.

    Attributes:
        key: what another one of takes its place.
        group: `weights`, `effects` or `attribution`.
        title: what it is called.
        words: what it says.
        scale: `sequential` or `diverging`.
        values: by component's name; with it `low` and `high`, the ends of an interval, and `null`, what
            chance gives, where they are known.
    """

    key: str
    group: str
    title: str
    words: str
    scale: str
    values: Mapping[str, float]
    low: Mapping[str, float] | None = None
    high: Mapping[str, float] | None = None
    null: Mapping[str, float] | None = None

    def told(self, names: Sequence[str]) -> dict[str, Any]:
        """Return it as columns in the order of components."""

        def column(given: Mapping[str, float] | None) -> list[float | None] | None:
            if given is None:
                return None
            return significant([given.get(name, np.nan) for name in names])

        known = [abs(value) for value in self.values.values() if np.isfinite(value)]
        about = {name: getattr(self, name) for name in ("key", "group", "title", "words", "scale")}
        columns = {name: column(getattr(self, name)) for name in ("values", "low", "high", "null")}
        return {**about, "limit": max(known, default=0.0), **columns}


def significant(values: Iterable[float | None]) -> list[float | None]:
    """Return numbers to five significant digits, None for what is none."""
    return [None if value is None or not np.isfinite(value) else float(f"{value:.5g}") for value in values]


def scene_of(
    bench: Bench, colourings: Sequence[Colouring], sets: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the scene of a bench without what its view adds; see `docs/lab.md`."""
    anatomy, arena = bench.anatomy, bench.arena
    components = components_of(anatomy)
    every = {measure.name: measure for measure in (*bench.asked.values(), *measures_of(arena))}
    return {
        "schema": SCHEMA,
        "title": str(bench.pair),
        "base": bench.pair.base.ref,
        "tuned": bench.pair.tuned.ref,
        "words": asdict(arena.words),
        "components": components,
        **grid_of(anatomy),
        "colourings": [one.told(components["name"]) for one in colourings],
        "measures": [one.account for one in every.values()],
        "kinds": list(arena.kinds),
        "sources": [
            {"name": form.partition(":")[0], "words": words, "numbers": form.count(":")}
            for form, words in SOURCES.items()
        ],
        "sets": [dict(one) for one in sets],
        **situations_of(bench),
        "typed": typed_of(bench),
        "draw": {
            "light": variables(dark=False),
            "dark": variables(dark=True),
            "steps": STEPS,
            "before": BEFORE,
            "board": style(),
        },
    }


def components_of(anatomy: Anatomy) -> dict[str, list[Any]]:
    """Return the components as columns, in canonical order."""
    every = list(anatomy.universe)
    return {
        "name": [str(one) for one in every],
        "layer": [one.layer for one in every],
        "kind": [one.kind for one in every],
        "index": [one.index for one in every],
        "parameters": [anatomy.parameters(one) for one in every],
    }


def grid_of(anatomy: Anatomy) -> dict[str, Any]:
    """Return the rows and columns of the map: layers, and what they have by kind and index."""
    inside = [one for one in anatomy.universe if one.layer is not None]
    layers = sorted({one.layer for one in inside if one.layer is not None})
    columns: dict[str, Component] = {}
    for one in sorted(inside, key=lambda one: (*one.place()[2:4], one)):
        columns.setdefault(one.within, one)
    return {
        "rows": [{"layer": layer, "title": f"L{layer}"} for layer in layers],
        "columns": [{"title": title, "kind": one.kind, "index": one.index} for title, one in columns.items()],
    }


def situations_of(bench: Bench) -> dict[str, Any]:
    """Return what is listed of the situations, as columns: how far training changed each, and its features."""
    moved = shift(bench.ends["base"], bench.ends["tuned"])
    choice = bench.context.choice
    return {
        "situations": {
            "text": list(bench.ends["tuned"].situations),
            "distance": numbers(moved[TOTAL_VARIATION.name], 4),
            "flip": [int(value) for value in moved[TOP_CHANGED.name]],
            "features": {name: [int(one) for one in has] for name, has in choice.items()},
        },
        "features": list(choice),
    }


def typed_of(bench: Bench) -> dict[str, str] | None:
    """Return what can be typed to see more than the situations."""
    if isinstance(bench.arena, Readable):
        return {"what": "position", "example": bench.ends["tuned"].situations[0]}
    return None


def moved_colourings(found: Diff) -> list[Colouring]:
    """Return how far the weights of components moved."""
    rows = {str(row.component): row for row in found.components.itertuples()}
    told = (
        ("delta_norm", "‖Δ‖", "norm of the change of the component's weights"),
        ("relative", "‖Δ‖ / ‖W‖", "norm of the change over the norm in base"),
        ("share", "share of ‖Δ‖²", "share of the squared norm of the whole change"),
    )
    return [
        Colouring(
            f"weights:{name}", "weights", title, words, "sequential",
            {one: _number(getattr(row, name)) for one, row in rows.items()},
        )
        for name, title, words in told
    ]  # fmt: skip


def _number(value: Any) -> float:
    import pandas as pd

    return float("nan") if pd.isna(value) else float(value)


__all__ = ["Colouring", "Featured", "scene_of"]
