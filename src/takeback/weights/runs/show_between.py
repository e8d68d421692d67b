"""What between-runs measures look like: sentences, matrices of checkpoints, maps of components, tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from takeback.draw.heatmap import Cell, Ends, heat_map, limit_of
from takeback.draw.matrix import matrix
from takeback.draw.numbers import ABSENT, number, percent, short
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.run.tables import records
from takeback.weights.runs.between import Between
from takeback.weights.runs.similarity import COLUMNS, PERMUTED, partner

MOST_DRAWN = 24
"""Checkpoints that a matrix is drawn of at most."""

_HEADS = {
    "cosine": "cosine of Δ",
    "agreement": "same sign",
    "changed_i_bf16": "changed in bf16",
    "lift_bf16": "overlap / expected",
    "left": "left subspaces",
    "left_null": "left, random",
    "right": "right subspaces",
    "right_null": "right, random",
    "inside_i": "inside the other's",
    "inside_i_null": "inside, random",
}
_PRINTED = ("cosine", "agreement", "lift_bf16", "left", "left_null")
_PERCENT = ("changed_i_bf16", "agreement", "inside_i", "inside_i_null")
_MATRICES = {
    "cosine": "Cosine of the changes",
    "agreement": "Same sign, of the entries that both changed",
    "jaccard_bf16": "Overlap of what changed in bf16 (Jaccard)",
    "left": "Overlap of leading left subspaces",
}
_PAIRS = ("cosine", "agreement", "jaccard_bf16", "lift_bf16", "z_bf16", "lift_uniform_bf16", "left", "right")


@section_of.register
def _(found: Between) -> Section:
    """Draw a table of relations beside their controls, matrices and maps."""
    relations = _relations(found)
    return Section(
        "Between runs",
        tuple(_words(found)),
        figures=(*_matrices(found), *_maps(found)),
        tables=(relations,),
        folded=(("All pairs", _pairs(found)), ("What the measures mean", _meanings())),
        notes=(
            "Controls go through the same measures: the second change is permuted among weights of one "
            "component, tensor and binary exponent, so that it keeps its sizes and loses its places.",
            "Expected overlaps are those of sets that are independent within these strata. In bf16 a "
            "permuted change can overlap by more, since both round the same weights: compare with its row.",
        ),
        terminal=(relations.only("relation", "pairs", *(_HEADS[one] for one in _PRINTED)), _cosines(found)),
    )


def _words(found: Between) -> list[str]:
    everything = _everything(found)
    words = [f"{len(found.labels)} checkpoints tuned from {found.base}, compared in pairs."]
    for relation in found.relations:
        real, control = (everything[everything[name] == relation] for name in ("relation", "control_of"))
        words.append(
            f"{relation.capitalize()}: changes have a cosine of {_span(real)} (permuted {_span(control)}), "
            f"and of the entries that both changed {_mean(real, 'agreement')} moved the same way "
            f"({_mean(control, 'agreement')})."
        )
    most = [row["changed_i_stored"] for row in records(everything) if row["changed_i_stored"] is not None]
    if max(most, default=0.0) > 0.9:
        words.append(
            f"Up to {percent(max(most))} of the stored values changed: where nearly everything changes, "
            "overlap says little, and a large z only tells which few entries stayed."
        )
    return words


def _everything(found: Between) -> pd.DataFrame:
    return found.table[found.table["level"] == "all"]


def _relations(found: Between) -> Table:
    """Return the means over pairs of the whole models, each relation followed by its control."""
    everything = _everything(found)
    rows: list[tuple[str, ...]] = []
    for relation in found.relations:
        for name, column in ((relation, "relation"), (f"– {PERMUTED}", "control_of")):
            chosen = everything[everything[column] == relation]
            rows.append((name, str(len(chosen)), *(_mean(chosen, measure) for measure in _HEADS)))
    return Table(("relation", "pairs", *_HEADS.values()), tuple(rows), ("relation",))


def _cosines(found: Between) -> Table:
    rows = tuple(
        (str(row["i"]), *(_label(row[label.name]) for label in found.labels))
        for row in records(found.matrix("cosine").reset_index(names="i"))
    )
    return Table(("cosine", *(label.name for label in found.labels)), rows, ("cosine",))


def _matrices(found: Between) -> list[Figure]:
    """Draw each measure of all pairs, beside it the controls on the same scale."""
    figures: list[Figure] = []
    for measure, title in _MATRICES.items() if len(found.labels) <= MOST_DRAWN else ():
        real, control = (_values(found, measure, permuted) for permuted in (False, True))
        most = limit_of([*real.values(), *control.values()])
        for values, name in ((real, title), (control, f"The same, {PERMUTED}")):
            figures.append(Figure.of(name, _matrix(found, values, measure, most), f"{COLUMNS[measure]}."))
    return figures


def _values(found: Between, measure: str, permuted: bool) -> dict[tuple[str, str], float | None]:
    rows = records(found.matrix(measure, permuted=permuted).reset_index(names=""))
    return {
        (row[""], label.name): row[label.name]
        for row in rows
        for label in found.labels
        if row[""] != label.name
    }


def _matrix(found: Between, values: dict[tuple[str, str], float | None], measure: str, most: float) -> str:
    scale = "diverging" if measure == "cosine" else "sequential"
    cells = {
        (one, other): Cell(value, f"{one}, {other}: {number(value, 4)}", _label(value))
        for (one, other), value in values.items()
    }
    ends = Ends(most, number(most, 2), number(-most, 2) if scale == "diverging" else "0")
    return matrix([label.name for label in found.labels], cells, ends, scale, COLUMNS[measure])


def _maps(found: Between) -> list[Figure]:
    """Draw the cosine of each component: for each relation the mean over its pairs, then its control."""
    figures: list[Figure] = []
    for relation in found.relations:
        real, control = (found.by_component("cosine", relation, permuted) for permuted in (False, True))
        most = limit_of([*real.values(), *control.values()])
        for values, name in ((real, relation), (control, f"the same, {PERMUTED}")):
            cells = {
                part: Cell(value, f"{part}: {number(value, 4)}", _label(value))
                for part, value in values.items()
            }
            ends = Ends(most, number(most, 2), number(-most, 2))
            picture = heat_map(cells, ends, "diverging", f"cosine of changes, {name}")
            figures.append(Figure.of(f"Cosine by component: {name}", picture, "Mean over pairs."))
    return figures


def _pairs(found: Between) -> Table:
    words = ("i", "j", "relation")
    rows = (
        (*(row[name] for name in words), *(number(row[name]) for name in _PAIRS))
        for row in records(_everything(found))
    )
    return Table((*words, *_PAIRS), tuple(rows), words)


def _meanings() -> Table:
    return Table(("measure", "meaning"), tuple(COLUMNS.items()), ("measure", "meaning"))


def _mean(rows: pd.DataFrame, measure: str) -> str:
    """Write the mean of a measure; one of i is averaged with that of j."""
    both = [row for side in (measure, partner(measure)) for row in _known(rows, side)]
    mean = sum(both) / len(both) if both else None
    return percent(mean) if measure in _PERCENT else number(mean)


def _span(rows: pd.DataFrame) -> str:
    known = _known(rows, "cosine")
    if not known:
        return ABSENT
    low, high = short(min(known), 2), short(max(known), 2)
    return low if low == high else f"{low} to {high}"


def _known(rows: pd.DataFrame, measure: str) -> list[Any]:
    return rows[measure].dropna().tolist()


def _label(value: float | None) -> str:
    return ABSENT if value is None else short(value, 2)
