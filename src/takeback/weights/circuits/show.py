"""Circuits for people: layers × heads by raw and invariant change, beside what a random change would do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from takeback.component import Component
from takeback.draw.columns import Column, table_of
from takeback.draw.heatmap import Cell, Ends, heat_map, limit_of
from takeback.draw.numbers import count, listed, percent
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.weights.circuits.circuits import EVERYWHERE, GAUGES, NULLS, Circuits
from takeback.weights.noise import noise_of

TOP = 15

_FACTORS = {"OV": "output and value weights", "QK": "query and key weights"}
_OWNERS = {"OV": "head", "QK": "head", "gate": "MLP", "write": "MLP"}
_GAUGE_HEAD = ("circuit", "what it is, and what its change ignores")
_NOTE = (
    "Raw is the root of the summed squares of ‖ΔW‖ / ‖W‖ of a circuit's two factors; invariant is the norm "
    "of the circuit's difference over its norm in base. “Over random” is how far that exceeds the larger of "
    "two random changes of the same size in each factor: Δ's entries permuted within the component, and a "
    "Gaussian. Invariant values in brackets are no larger than random."
)


@section_of.register
def _(found: Circuits) -> Section:
    """Draw what circuits did: maps of OV and of QK, the largest changes, and all rows folded."""
    rest = found.table[~found.table["circuit"].isin(list(_FACTORS))]
    largest = found.table.sort_values("change", ascending=False, na_position="last").head(TOP)
    return Section(
        title="Circuits, whatever coordinates they are written in",
        words=_sentences(found),
        figures=(
            *(figure for circuit in _FACTORS for figure in _sizes(found, circuit)),
            *(_over_random(found, circuit) for circuit in _FACTORS),
        ),
        tables=(_table(largest),),
        folded=(
            ("MLPs, experts, routers and constants", _table(rest)),
            ("All circuits", _table(found.table)),
            ("Each circuit and its gauge", Table(_GAUGE_HEAD, tuple(GAUGES.items()), _GAUGE_HEAD)),
        ),
        notes=(_NOTE, EVERYWHERE),
    )


def _sentences(found: Circuits) -> tuple[str, ...]:
    """Say in plain words what moved, and how it compares with raw and with random changes."""
    heads = found.heads.dropna(subset=["raw", "change"])
    if not (heads["raw"] > 0).any():
        return ("No head's weights changed.",)
    own = heads[heads["cast"] == 0]
    if own.empty:
        return ("All of it is a cast to 16 bits: every head's weights are base's, rounded.",)
    words = [
        f"Whatever the coordinates, the circuits of {count(len(heads), 'head')} changed by "
        f"{percent(_median(heads['change']))} (median; their weights by {percent(_median(heads['raw']))}).",
    ]
    if len(own) < len(heads):
        words.append(f"All but {listed(list(own['component']))} are base's, rounded to 16 bits.")
    ranked, which, told = _beyond_noise(own)
    words.append(told)
    if ranked["raw"].nunique() > 2 and ranked["change"].nunique() > 2:
        agreement = ranked["raw"].corr(ranked["change"], method="spearman")
        words.append(f"Raw and invariant change of {which} have a Spearman correlation of {agreement:.2f}.")
    for circuit, owner in _OWNERS.items():
        over = excess(found.table[found.table["circuit"] == circuit]).dropna()
        if len(over):
            words.append(
                f"{circuit}: {_signed(_median(over))} over a random change of the same size in the median "
                f"{owner}, from {_signed(float(over.min()))} to {_signed(float(over.max()))}."
            )
    moved = found.table["reassigned"].max()
    if not pd.isna(moved) and moved > 0:
        words.append(f"Up to {percent(float(moved))} of an MLP's neurons changed their places.")
    return tuple(words)


def _beyond_noise(heads: pd.DataFrame) -> tuple[pd.DataFrame, str, str]:
    """Return the heads that moved more than equal noise in all entries would have them, and say which.

    Where noise of one size explains no heads, none of them can be said to be above it, and all are returned.
    """
    squares, entries = heads["moved"].to_numpy(np.float64) ** 2, heads["entries"].to_numpy(np.int64)
    noise = noise_of(squares, entries)
    if noise is None:
        return (
            heads,
            count(len(heads), "head"),
            f"Most changed, since noise of one size explains no heads: {listed(list(heads['component']))}.",
        )
    clear = heads[noise.above]
    reach = f"noise of σ = {noise.sigma:.3g} in every entry, which reaches {noise.reach[0]:.3g} σ in a head"
    if clear.empty:
        return clear, "", f"No head stands out from {reach}."
    which = f"the {count(len(clear), 'head')} above noise"
    return clear, which, f"Most changed, beyond {reach}: {listed(list(clear['component']))}."


def excess(rows: pd.DataFrame) -> pd.Series:
    """Return how far the invariant change exceeds the larger null, relative to it; missing where it is 0."""
    null = rows[[*NULLS]].max(axis=1)
    return (rows["change"] / null.where(null > 0)) - 1


def _sizes(found: Circuits, circuit: str) -> tuple[Figure, Figure]:
    rows = found.table[found.table["circuit"] == circuit]
    random = (excess(rows) <= 0).fillna(value=False)
    marks = [
        f"({text})" if low else text for text, low in zip(map(_percent, rows["change"]), random, strict=True)
    ]
    return (
        _map(f"{circuit}, raw: {_FACTORS[circuit]}", rows, "raw", list(map(_percent, rows["raw"]))),
        _map(f"{circuit}, invariant", rows, "change", marks),
    )


def _map(title: str, rows: pd.DataFrame, column: str, labels: list[str]) -> Figure:
    cells = _cells(rows["component"], rows[column], labels)
    most = limit_of(cell.value for cell in cells.values())
    return Figure.of(title, heat_map(cells, Ends(most, percent(most)), label=title))


def _over_random(found: Circuits, circuit: str) -> Figure:
    rows = found.table[found.table["circuit"] == circuit]
    over = excess(rows)
    title = f"{circuit}, invariant: how far over a random change"
    cells = _cells(rows["component"], over, [_signed(value) for value in over])
    most = limit_of(cell.value for cell in cells.values())
    return Figure.of(title, heat_map(cells, Ends(most, _signed(most), _signed(-most)), "diverging", title))


def _cells(names: pd.Series, values: pd.Series, labels: list[str]) -> dict[Component, Cell]:
    return {
        Component.parse(name): Cell(None if pd.isna(value) else float(value), f"{name}: {label}", label)
        for name, value, label in zip(names, values, labels, strict=True)
    }


def _table(rows: pd.DataFrame) -> Table:
    return table_of(
        rows.assign(over=excess(rows)),
        Column("component"),
        Column("circuit"),
        Column("raw", percent),
        Column("invariant", percent, "change"),
        Column("permuted Δ", percent, "permuted"),
        Column("Gaussian Δ", percent, "gaussian"),
        Column("over random", _signed, "over"),
        Column("reassigned", percent),
    )


def _percent(value: float) -> str:
    """Write a value of a column, where it can be missing."""
    return percent(None if pd.isna(value) else float(value))


def _signed(value: Any) -> str:
    text = _percent(value)
    return f"+{text}" if not pd.isna(value) and value > 0 else text


def _median(values: pd.Series) -> float:
    return float(values.astype(float).median())
