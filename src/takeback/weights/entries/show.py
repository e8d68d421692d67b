"""A diff, and the steps of bfloat16, for people: tables, layers × heads as text and as SVG, a curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from takeback.checkpoint.pair import summary, told_besides
from takeback.draw.columns import Column, table_of
from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.numbers import ABSENT, count, listed, number, percent
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.run.tables import records
from takeback.weights.entries.diff import MAGNITUDES, Diff, four_digits
from takeback.weights.entries.moments import TOLERANCES, column_of
from takeback.weights.entries.ulps import Ulps
from takeback.weights.noise import LEVEL, noise_of

TOP = 15
_ROWS = 200
"""Components that a page lists at most: neurons are many."""

_NOTE = '* the tolerance of arXiv 2505.11711; "in bf16" is after both sides are rounded to bfloat16'

_STEPS = (1, 2, 4, 8)
"""Numbers of steps of which the share of entries that moved as many is drawn."""


@section_of.register
def _(found: Diff) -> Section:
    """Draw the totals, maps of ‖Δ‖/‖W‖ and of the share of ‖Δ‖², all components folded."""
    whole = records(found.total)[0]
    words = (
        f"‖Δ‖ is {number(whole['delta_norm'])}, {percent(whole['relative'])} of ‖W‖.",
        f"Of {whole['parameters']:,} entries {percent(whole['changed_bitwise'])} changed as stored, and "
        f"{percent(whole['changed_bf16'])} still differ after both sides are rounded to bfloat16.",
    )
    words = (*words, *farthest(found), *standing_out(found))
    figures = tuple(Figure.of(found.columns[name], found.svg(name)) for name in ("relative", "share"))
    measures = [Column(name, _writer(name)) for name in found.columns]
    rows = found.components.sort_values("share", ascending=False, kind="stable").head(_ROWS)
    components = table_of(rows, Column("component"), *measures)
    layers = table_of(found.layers, Column("component", None, "name"), *measures)
    folded = ((f"Components, up to {_ROWS} with most of ‖Δ‖²", components),)
    title = "Where the weights moved"
    return Section(title, words, figures, (layers,), folded, terminal=_on_terminal(found, whole))


def _on_terminal(found: Diff, whole: dict[str, Any]) -> tuple[str | Table, ...]:
    """Show what differs besides values, the totals, the layers, the most changed components and a map."""
    also = told_besides(one for one in found.differences if one.kind == "warning")
    if others := summary(one for one in found.differences if one.kind != "warning"):
        also.append(f"They also differ in: {others}")
    cosine = ABSENT if whole["cosine"] is None else f"{whole['cosine']:.7g}"
    delta, base = (number(whole[name], 4) for name in ("delta_norm", "base_norm"))
    layers = table_of(pd.concat([found.layers, found.total]), *_narrow("layer", found))
    head = (found.title, *also, f"‖Δ‖ {delta}, ‖W‖ {base}, cosine of W and W+Δ {cosine}", layers)
    components = found.components[~found.new].rename(columns={"component": "name"})
    changed = components[components["delta_norm"] > 0]
    if not len(changed):
        return (*head, "No entry differs: the two hold the same weights.")
    told = f"{len(changed)} of {len(components)} components changed; those with most of ‖Δ‖²:"
    largest = changed.sort_values("delta_norm", ascending=False, kind="stable")[:TOP]
    return (
        *head,
        "",
        *farthest(found),
        *standing_out(found),
        told,
        table_of(largest, *_narrow("component", found)),
        _NOTE,
        "",
        found.picture(),
    )


def farthest(found: Diff) -> tuple[str, ...]:
    """Say which layer moved farthest for its size, and which least, beside the whole model."""
    whole = records(found.total)[0]["relative"]
    rows = [row for row in records(found.layers) if row["relative"] is not None]
    if not whole or len(rows) < 2:
        return ()
    (least, *_, most) = sorted(rows, key=lambda row: row["relative"])
    times = [f"{row['relative'] / whole:.2g} times" for row in (most, least)]
    return (
        f"For its size {most['name']} moved farthest, {times[0]} as far as the whole model, and "
        f"{least['name']} least, {times[1]}.",
    )


def standing_out(found: Diff) -> tuple[str, ...]:
    """Say whether all of a change is a cast, or noise of one size, and what stands out from either."""
    parts, names = found.by_component, found.segments.parts.names()
    if not found.whole.differing[0]:
        return ()
    if cast := _cast(found):
        true = int(found.whole.off_cast[0])
        if not true:
            return (f"All of it is the cast to {cast}: tuned is base, rounded, in every entry.",)
        order = np.argsort(-parts.off_cast, kind="stable")
        most = [names[place] for place in order if parts.off_cast[place]]
        return (
            f"Tuned is base rounded to {cast} in all but {count(true, 'entry', 'entries')}; those are the "
            f"change that is no cast, in {listed(most)}.",
        )
    noise = noise_of(parts.delta_square, parts.parameters)
    if noise is None:
        return ()
    reach = (
        f"normal noise of σ = {noise.sigma:.3g} in every entry, which takes the root mean square of the "
        f"smallest component to {noise.reach[0]:.3g} σ and of the largest to {noise.reach[1]:.5g} σ (any "
        f"goes beyond in {percent(LEVEL)} of such changes)"
    )
    if noise.plain:
        return (f"Nothing stands out from noise of this size: {reach}.",)
    lines: list[str] = []
    for word, which in (("more", noise.above), ("less", noise.below)):
        order = np.flatnonzero(which)[
            np.argsort(-parts.delta_square[which] / parts.parameters[which], kind="stable")
        ]
        if len(order):
            lines.append(f"{word}: {listed([names[place] for place in order])}")
    return (f"Most components moved as under {reach}. Beyond it, {'; '.join(lines)}.",)


def _cast(found: Diff) -> str:
    """Return the type of 16 bits in which tuned is stored, if base is stored in one that holds more."""
    tuned = set(found.keys["dtype_tuned"])
    wider = found.keys["dtype_base"].isin(["float32", "float64"]).any()
    return tuned.pop() if wider and tuned in ({"bfloat16"}, {"float16"}) else ""


def _narrow(head: str, found: Diff) -> list[Column]:
    """Return the columns that fit a terminal."""
    return [
        Column(head, None, "name"),
        Column("parameters", "{:,}".format),
        Column("‖Δ‖/‖W‖", lambda value: ABSENT if value is None else f"{value:.2g}", "relative"),
        Column("of ‖Δ‖²", percent, "share"),
        *_bits(found),
        Column("max |Δ|", "{:.2g}".format, "max_abs"),
    ]


def _bits(found: Diff) -> list[Column]:
    """Return how entries moved; not where names need the room."""
    if any(found.segments.parts.tensors):
        return []
    tolerances = found.atoms.tolerances[:1]
    heads = [f"by > {one:.0e}".replace("e-0", "e-") + "*" * (one == TOLERANCES[0]) for one in tolerances]
    return [
        Column("changed bits", percent, "changed_bitwise"),
        Column("in bf16", percent, "changed_bf16"),
        *(Column(name, percent, column_of(one)) for name, one in zip(heads, tolerances, strict=True)),
    ]


def _writer(measure: str) -> Callable[..., str]:
    if measure == "parameters":
        return "{:,}".format
    return four_digits if measure in (*MAGNITUDES, "cosine") else percent


@section_of.register
def _(found: Ulps) -> Section:
    """Draw the share of entries that moved a step or more, by magnitude of the weight."""
    curves = [(place, _points(found.share(steps))) for place, steps in enumerate(_STEPS)]
    series = [Series(place, points) for place, points in curves if points]
    picture = line_plot(series, Axes("binary exponent of |w|", y_include=(0.0, 1.0)), "moved by steps")
    note = "From the highest curve down: at least 1, 2, 3 and 5 steps."
    title = "Fraction of entries that moved so many steps of bfloat16"
    counts = table_of(
        found.whole,
        Column("|w| from", lambda e: "0" if e is None else f"2^{e}", "exponent", words=False),
        Column("steps", _steps, "steps_low", "steps_high"),
        Column("entries", "{:,}".format),
    )
    return Section(
        "Steps of bfloat16",
        _sentences(found.whole),
        figures=(Figure.of(title, picture, note),),
        folded=(("Counts by magnitude", counts),),
    )


def _sentences(whole: pd.DataFrame) -> tuple[str, ...]:
    """Say in plain words how many entries moved, and by how much."""
    total, moved = int(whole["entries"].sum()), whole[whole["steps_low"] > 0]
    if not len(moved):
        return ("No entry moved by a step of bfloat16.",)
    entries = int(moved["entries"].sum())
    one, many = (
        int(moved.loc[rows, "entries"].sum()) / entries
        for rows in (moved["steps_high"] == 1, moved["steps_high"] > 4)
    )
    return (
        f"{percent(entries / total)} of {total:,} entries differ after rounding to bfloat16; "
        f"{percent(one)} of these by a single step, {percent(many)} by more than four.",
        "A step is 2^(e − 7) at a weight of binary exponent e: a Δ of one size is many steps of a small "
        "weight and may be none of a large one.",
    )


def _points(shares: dict[int | None, float]) -> tuple[Point, ...]:
    known = sorted((exponent, share) for exponent, share in shares.items() if exponent is not None)
    return tuple(Point(e, share, title=f"2^{e} ≤ |w|: {percent(share)}") for e, share in known)


def _steps(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"
