"""A scene: what the page knows of a pair before anything is clicked, in plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from takeback.anatomy import Anatomy
from takeback.arenas import Readable
from takeback.arenas.rows import ChoiceRows, DrawnRows, OpenRows, PooledRows
from takeback.component import Component
from takeback.draw.board import BEFORE, style
from takeback.draw.colour import STEPS, variables
from takeback.hybrid.sources import SOURCES
from takeback.lab.effects import moved
from takeback.lab.selection import OFFERED
from takeback.lab.situations import significant
from takeback.measure.bench import Bench
from takeback.measure.measures import measures_of
from takeback.run.tables import records

SCHEMA: Final = 1

WEIGHTS: Final = {
    "delta_norm": ("‖Δ‖", "norm of the change of the component's weights"),
    "relative": ("‖Δ‖ / ‖W‖", "norm of the change over the norm in base"),
    "share": ("share of ‖Δ‖²", "share of the squared norm of the whole change"),
}
"""The columns of a diff by which the map is coloured: what heads them, and what they say."""

CIRCUITS: Final = {
    "change": ("invariant change", "change of the component's circuits, whatever coordinates they are in"),
    "raw": ("raw change", "‖Δ‖ / ‖W‖ of what the circuits are made of, as it is stored"),
}
"""The same of a table of circuits."""

NULL: Final = "permuted"
"""What chance gives a circuit: the change whose entries are permuted."""


@dataclass(frozen=True)
class Colouring:
    """A number for each component.

    Attributes:
        key: what another one of takes its place.
        group: `weights`, `effects` or `attribution`.
        title: what it is called.
        words: what it says.
        scale: `sequential` or `diverging`.
        values: by component's name; `low` and `high` are the ends of its interval and `null` is what chance
            gives, where they are known.
    """

    key: str
    group: str
    title: str
    words: str
    scale: str
    values: Mapping[str, float | None]
    low: Mapping[str, float | None] | None = None
    high: Mapping[str, float | None] | None = None
    null: Mapping[str, float | None] | None = None

    def told(self, anatomy: Anatomy) -> dict[str, Any]:
        """Return it as columns in the order of components."""
        names = [str(one) for one in anatomy.universe]

        def column(given: Mapping[str, float | None] | None) -> list[float | None] | None:
            return None if given is None else significant(given.get(name) for name in names)

        about = {name: getattr(self, name) for name in ("key", "group", "title", "words", "scale")}
        columns = {name: column(getattr(self, name)) for name in ("values", "low", "high", "null")}
        known = [abs(value) for value in columns["values"] or () if value is not None]
        return {**about, "limit": max(known, default=0.0), **columns}


def scene_of(
    bench: Bench, colourings: Iterable[Colouring], sets: Sequence[Mapping[str, Any]], arms: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the scene of a bench; see `docs/lab.md`. What views there are, who shows it adds.

    Args:
        bench: the pair in its situations.
        colourings: what the map can be coloured by.
        sets: sets that are offered.
        arms: what else can stand in base's place, beside the named sources.
    """
    every = {measure.name: measure for measure in (*bench.asked.values(), *measures_of(bench.arena))}
    offered = [
        {"name": form.partition(":")[0], "words": SOURCES[form], "numbers": form.split(":")[1:]}
        for form in OFFERED
    ]
    others = [{"name": arm, "words": f"the weights of {arm}", "numbers": []} for arm in arms]
    return {
        "schema": SCHEMA,
        "title": str(bench.pair),
        "base": bench.pair.base.ref,
        "tuned": bench.pair.tuned.ref,
        "arena": bench.arena.name,
        "words": asdict(bench.arena.words),
        "components": components_of(bench.anatomy),
        **grid_of(bench.anatomy),
        "colourings": [one.told(bench.anatomy) for one in colourings],
        "measures": [one.account for one in every.values()],
        "kinds": list(bench.ends["tuned"].illegal),
        "sources": [*offered, *others],
        "sets": [dict(one) for one in sets],
        **situations_of(bench),
        "typed": typed_of(bench),
        "draws": isinstance(bench.arena, PooledRows | DrawnRows),
        "draw": drawing(),
    }


def drawing() -> dict[str, Any]:
    """Return the colours and shapes of all figures."""
    colours = {"light": variables(dark=False), "dark": variables(dark=True)}
    return {**colours, "steps": STEPS, "before": BEFORE, "board": style()}


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
    """Return the rows and columns of the map: layers, and what these have by kind and index."""
    inside = [one for one in anatomy.universe if one.layer is not None]
    layers = sorted({one.layer for one in inside if one.layer is not None})
    columns: dict[str, Component] = {}
    for one in sorted(inside, key=lambda one: one.place()[2:]):
        columns.setdefault(one.within, one)
    return {
        "rows": [{"layer": layer, "title": f"L{layer}"} for layer in layers],
        "columns": [{"title": title, "kind": one.kind, "index": one.index} for title, one in columns.items()],
    }


def situations_of(bench: Bench) -> dict[str, Any]:
    """Return what is listed of situations, as columns: how far training changed each, and its features."""
    before, after = bench.ends["base"], bench.ends["tuned"]
    choice = bench.context.choice
    features = {name: has.astype(np.int64).tolist() for name, has in choice.items()}
    return {
        "situations": {"text": list(after.situations), **moved(before, after), "features": features},
        "features": list(choice),
    }


def typed_of(bench: Bench) -> dict[str, str] | None:
    """Return what can be typed to see more than the situations."""
    if isinstance(bench.arena, Readable):
        return {"what": "position", "example": bench.ends["tuned"].situations[0]}
    if isinstance(bench.arena, ChoiceRows | PooledRows | DrawnRows | OpenRows):
        return {"what": "prompt", "example": ""}
    return None


def moved_colourings(components: pd.DataFrame) -> list[Colouring]:
    """Return how far the weights of components moved, from the table of a diff."""
    rows = records(components)
    return [
        Colouring(
            f"weights {name}", "weights", title, words, "sequential",
            {row["component"]: row[name] for row in rows},
        )
        for name, (title, words) in WEIGHTS.items()
    ]  # fmt: skip


def circuit_colourings(components: pd.DataFrame) -> list[Colouring]:
    """Return how far circuits moved, and what chance gives, from `Circuits.components`."""
    rows = records(components)
    null = {row["component"]: row[NULL] for row in rows}
    return [
        Colouring(
            f"circuits {name}", "weights", title, words, "sequential",
            {row["component"]: row[name] for row in rows},
            null=null if name == "change" else None,
        )
        for name, (title, words) in CIRCUITS.items()
    ]  # fmt: skip
