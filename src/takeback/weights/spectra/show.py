"""Spectra for people: what they say in sentences, with figures and tables that hold the nulls."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.forest import Dot, ForestRow, forest
from takeback.draw.numbers import ABSENT, number, percent
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.weights.spectra.rank import LEVELS
from takeback.weights.spectra.spectra import Spectra

CURVES = 4
"""Kinds of matrices whose energy is drawn: those with most of ‖Δ‖², each by the matrix that changed most."""

_ALONE = 6
"""Layers up to which each has a dot of its own; of more, one dot shows the mean and the range."""

_SIDES = ("left", "right")
_NULL = "Gaussian"
"""What stands over each column of a null, with a blank more each time, since headings are told apart."""

_HEAD = (
    *("matrix", "number", "of ‖Δ‖²", "k90 / full", _NULL, "permuted", "stable rank", f"{_NULL} "),
    *("share left", "null", "share right", "null ", "turned, max", f"{_NULL}  ", "drift", f"{_NULL}   "),
)
_NARROW = ("matrix", "k90 / full", _NULL, "share left", "null", "share right", "null ")
"""The columns that fit a terminal: k90 and the shares, each beside a Gaussian's."""

_GAUSSIAN, _PERMUTED = -1, 2


@section_of.register
def _(found: Spectra) -> Section:
    """Draw ranks against a Gaussian's, and the share inside W's leading subspaces against its nulls."""
    whole = found.whole
    if whole.empty:
        return Section("Shape of the change", ("No matrix changed.",))
    words = tuple(_sentences(whole))
    placed = whole[whole["leading_rank"].notna()]
    shares = [_shares(placed, side) for side in _SIDES] if len(placed) else []
    figures = [_ranks(whole), *shares, *_curves(whole)]
    table = Table(_HEAD, tuple(_cells(kind, group, whole) for kind, group in _kinds(whole)), ("matrix",))
    every = tuple(
        _cells(str(row["tensor"]), whole[whole.index == place], whole) for place, row in whole.iterrows()
    )
    notes = (
        "Grey is chance: a Gaussian Δ of equal norm, and Δ with its entries permuted within the matrix. W's "
        f"leading subspaces are the smallest with {percent(found.options.energy)} of ‖W‖². Left is the side "
        "of rows as stored: a layer's outputs (in GPT-2 its inputs), an embedding's tokens. Angles mean "
        "little where the relative gap at k is small; the Parquet table has it for each matrix.",
    )
    return Section(
        "Shape of the change",
        (*words, *_parts_sentence(found.parts)),
        tuple(figures),
        (table,),
        (("Every matrix", Table(_HEAD, every, ("matrix",))),),
        notes,
        terminal=(*words, table.only(*_NARROW)),
    )


def _sentences(whole: pd.DataFrame) -> Iterator[str]:
    """Say what the rows of whole matrices show, each number beside its null."""
    ratio = (whole["k90"] / whole["k90_gaussian"]).dropna()
    if len(ratio):
        yield (
            f"90% of ‖Δ‖² lies in {percent(float((whole['k90'] / whole['full_rank']).median()))} of the "
            f"directions of a matrix (median of {len(ratio)}), where a Gaussian matrix needs "
            f"{percent(float((whole['k90_gaussian'] / whole['full_rank']).median()))}: "
            f"{number(float(ratio.median()), 2)} times as many, from {number(float(ratio.min()), 2)} to "
            f"{number(float(ratio.max()), 2)}."
        )
    placed = whole["leading_rank"].notna()
    if not placed.all():
        yield f"{int((~placed).sum())} of {len(whole)} matrices are zero in base: W has no subspaces there."
    for side in _SIDES if placed.any() else ():
        name = f"share_{side}"
        above = int((whole[name] > whole[f"{name}_gaussian_high"]).sum())
        below = int((whole[name] < whole[f"{name}_gaussian_low"]).sum())
        yield (
            f"W's leading {side} subspaces hold {percent(_weighted(whole, name))} of ‖Δ‖², a "
            f"Gaussian's {percent(_weighted(whole, f'{name}_gaussian'))}, Δ's with its entries permuted "
            f"{percent(_weighted(whole, f'{name}_permuted'))}: above a Gaussian's 95% interval in {above} of "
            f"{len(whole)} matrices, below it (off the principal directions) in {below}."
        )
    if whole["rotation_left_max"].notna().any():
        yield (
            f"W's singular values drift by {percent(_weighted(whole, 'drift'))} of ‖Δ‖², under a Gaussian Δ "
            f"by {percent(_weighted(whole, 'drift_gaussian'))}; the leading left subspaces turn by up to "
            f"{number(float(whole['rotation_left_max'].median()), 1)}° (median), with a Gaussian Δ by "
            f"{number(float(whole['rotation_left_max_gaussian'].median()), 1)}°."
        )


def _parts_sentence(parts: pd.DataFrame) -> Iterator[str]:
    known = parts[parts["k90"].notna()]
    if len(known):
        ratio = float((known["k90"] / known["k90_gaussian"]).median())
        above = int((known["share_left"] > known["share_left_gaussian_high"]).sum())
        yield (
            f"In the {len(known)} parts that components own (such as a head's rows of the queries) 90% of "
            f"‖Δ‖² takes {number(ratio, 2)} times a Gaussian's directions (median); the share in the "
            f"part's own leading left subspace is above a Gaussian's 95% interval in {above}."
        )


def _ranks(whole: pd.DataFrame) -> Figure:
    rows: list[ForestRow] = []
    for kind, group in _kinds(whole):
        known = group["k90"].fillna(group["k90_high"]) / group["full_rank"]
        dots = _dots(group, known, known)
        null = group["k90_gaussian"] / group["full_rank"]
        rows.append(ForestRow(kind, dots, _ends(null), f"Gaussian: {percent(float(null.mean()))}"))
    note = "One dot a layer, lower layers above (of a sketch the upper bound); grey: a Gaussian of its shape."
    picture = forest(rows, 0, "k90 / full rank", None, "energy rank of the change by kind of matrix")
    return Figure.of("Directions that hold 90% of ‖Δ‖²", picture, note)


def _shares(whole: pd.DataFrame, side: str) -> Figure:
    """Draw shares against the Gaussian's mean, each matrix's own: 0 is chance, 1 twice as much."""
    name = f"share_{side}"
    rows: list[ForestRow] = []
    for kind, group in _kinds(whole):
        mean = group[f"{name}_gaussian"]
        low, high = (_doublings(group[f"{name}_gaussian_{end}"] / mean) for end in ("low", "high"))
        null = (float(low.min()), 0.0, float(high.max()))
        title = f"Gaussian: {percent(_weighted(group, f'{name}_gaussian'))}"
        dots = _dots(group, _doublings(group[name] / mean), group[name])
        rows.append(ForestRow(kind, dots, null, title))
    note = (
        "0 is chance, 1 twice as much; left of the grey band, 95% of Gaussian Δ, is off the principal part."
    )
    axis = "log₂ (share of ‖Δ‖² / a Gaussian's mean share)"
    return Figure.of(
        f"‖Δ‖² inside W's leading {side} subspace",
        forest(rows, 1, axis, None, f"share in the leading {side} subspace"),
        note,
    )


def _curves(whole: pd.DataFrame) -> Iterator[Figure]:
    """Draw the energy of the matrices that changed most, one of each kind, through their known ranks."""
    known = whole[whole["k90_permuted"].notna()]
    total = known.groupby("matrix")["delta_norm"].max().sort_values(ascending=False)
    for kind in total.index[:CURVES]:
        row = known[known["matrix"] == kind].sort_values("delta_norm").iloc[-1]
        series = [
            Series(_GAUSSIAN, _energy(row, "_gaussian")),
            Series(_PERMUTED, _energy(row, "_permuted"), quiet=True),
            Series(0, _energy(row, "")),
        ]
        axes = Axes("directions / full rank", (0.0, 1.0), (0.0, 1.0), lambda value: percent(value, 0))
        place = "" if pd.isna(row["layer"]) else f", layer {row['layer']}"
        note = (
            "Share of ‖Δ‖² held. Blue: Δ; grey rings: a Gaussian, over permuted Δ (green) where they agree."
        )
        yield Figure.of(f"{kind}{place}", line_plot(series, axes, f"energy of the change of {kind}"), note)


def _energy(row: pd.Series, null: str) -> tuple[Point, ...]:
    full = float(row["full_rank"])
    points = [(1 / full, 1 / float(row[f"stable_rank{null}"]))]
    points += [(float(row[f"{name}{null}"]) / full, energy) for name, energy in LEVELS.items()]
    ordered = sorted({(0.0, 0.0), *points, (1.0, 1.0)})
    return tuple(Point(x, y, title=f"{percent(y)} in {percent(x)} of the directions") for x, y in ordered)


def _dots(group: pd.DataFrame, values: pd.Series, told: pd.Series) -> tuple[Dot, ...]:
    """Return a dot for each matrix, whose tooltip tells a share, or one dot with the range of many."""
    if len(values) > _ALONE:
        low, high = float(values.min()), float(values.max())
        title = f"{len(values)} matrices: {percent(float(told.min()))} to {percent(float(told.max()))}"
        return (Dot(float(values.mean()), low, high, title),)
    return tuple(
        Dot(float(value), None, None, f"{tensor}: {percent(float(share))}")
        for tensor, value, share in zip(group["tensor"], values, told, strict=True)
    )


def _kinds(whole: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the matrices of each kind with theirs, in the order of the first."""
    for kind in dict.fromkeys(whole["matrix"]):
        yield str(kind), whole[whole["matrix"] == kind].sort_values("layer")


def _cells(name: str, group: pd.DataFrame, whole: pd.DataFrame) -> tuple[str, ...]:
    """Return a row of the tables: means over matrices, shares and drift weighted by ‖Δ‖²."""
    full = group["full_rank"]
    of_all = float((group["delta_norm"] ** 2).sum() / (whole["delta_norm"] ** 2).sum())
    ranks = [_percent(group[name] / full) for name in ("k90", "k90_gaussian", "k90_permuted")]
    stable = [_number(group[name]) for name in ("stable_rank", "stable_rank_gaussian")]
    shares = [
        percent(_weighted(group, f"share_{side}{null}")) for side in _SIDES for null in ("", "_gaussian")
    ]
    turned = [_number(group[name], "°") for name in ("rotation_left_max", "rotation_left_max_gaussian")]
    drift = [percent(_weighted(group, name)) for name in ("drift", "drift_gaussian")]
    return (name, str(len(group)), percent(of_all), *ranks, *stable, *shares, *turned, *drift)


def _weighted(rows: pd.DataFrame, name: str) -> float:
    """Return the mean of a measure weighted by ‖Δ‖² over the rows where it is known, NaN where in none."""
    known = rows[rows[name].notna()]
    weights = known["delta_norm"] ** 2
    return float((known[name] * weights).sum() / weights.sum()) if len(known) else math.nan


def _doublings(ratios: pd.Series) -> pd.Series:
    """Return log₂ of ratios; below a thousandth they are drawn as one."""
    return ratios.astype(float).clip(lower=1e-3).map(math.log2)


def _percent(values: pd.Series) -> str:
    return percent(float(values.mean())) if values.notna().any() else ABSENT


def _number(values: pd.Series, unit: str = "") -> str:
    return f"{number(float(values.mean()), 1)}{unit}" if values.notna().any() else ABSENT


def _ends(null: pd.Series) -> tuple[float, ...]:
    return (float(null.min()), float(null.max()))
