"""A diff for people: tables in the terminal, layers × heads as text and as SVG, a page for a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from takeback.checkpoint.pair import summary
from takeback.component import LAYER_KINDS, Component
from takeback.draw.heatmap import Cell, Ends, heat_map, limit_of
from takeback.draw.numbers import number, percent
from takeback.draw.page import Figure, Section
from takeback.draw.page import Table as PageTable
from takeback.run.errors import unknown_name
from takeback.run.tables import records
from takeback.weights.entries.diff import Diff
from takeback.weights.entries.moments import TOLERANCES, column_of

if TYPE_CHECKING:
    from rich.table import Table

SHADES = "░▒▓█"
TOP = 15
_ROWS = 200
"""Components that a page lists at most: neurons are many."""

_NOTE = '* the tolerance of arXiv 2505.11711; "in bf16" is after both sides are rounded to bfloat16'
_MAGNITUDES = ("parameters", "delta_norm", "base_norm", "max_abs", "mean_abs")


def print_diff(found: Diff) -> None:
    """Print what differs besides values, the totals, the most changed components, the layers and a map."""
    from rich.console import Console

    console = Console()
    whole = found.total.iloc[0]
    console.print(f"[bold]{escape_markup(found.base)} → {escape_markup(found.tuned)}[/bold]")
    if found.differences:
        console.print(f"They also differ in: {escape_markup(summary(found.differences))}")
    cosine = "–" if pd.isna(whole["cosine"]) else f"{whole['cosine']:.7g}"
    norms = [number(whole[name], 4) for name in ("delta_norm", "base_norm")]
    console.print(f"‖Δ‖ {norms[0]}, ‖W‖ {norms[1]}, cosine of W and W+Δ {cosine}")
    console.print(_table("layer", pd.concat([found.layers, found.total]), found))
    components = found.components.rename(columns={"component": "name"})
    changed = components[components["delta_norm"] > 0]
    if not len(changed):
        return console.print("No entry differs: the two hold the same weights.")
    largest = changed.sort_values("delta_norm", ascending=False, kind="stable")[:TOP]
    console.print(f"\n{len(changed)} of {len(components)} components changed; those with most of ‖Δ‖²:")
    console.print(_table("component", largest, found))
    console.print(_NOTE, style="dim")
    console.print()
    console.print(as_text(found, "relative"), markup=False, highlight=False)


def as_text(found: Diff, measure: str) -> str:
    """Draw one measure with a line per layer; see `Diff.picture`."""
    values = _values(found, measure)
    most = limit_of(values.values())
    kinds = [kind for kind in LAYER_KINDS if any(part.kind == kind for part in values)]
    layers = sorted({part.layer for part in values if part.layer is not None})
    table = [["", *kinds]]
    for layer in layers:
        cells = ["".join(_shade(values[part], most) for part in _of(values, layer, kind)) for kind in kinds]
        table.append([f"L{layer}", *cells])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table] if layers else []
    outside = [f"{part} {_shade(value, most)}" for part, value in values.items() if part.layer is None]
    legend = f"{found.columns[measure]}: · none, {' '.join(SHADES)} in quarters up to {most:.3g}"
    return "\n".join([*lines, *([" ".join(outside)] if outside else []), legend])


def as_svg(found: Diff, measure: str) -> str:
    """Draw one measure as SVG; see `Diff.svg`."""
    values = _values(found, measure)
    most = limit_of(values.values())
    write = number if measure in _MAGNITUDES else percent
    cells = {part: Cell(value, f"{part}: {_exact(value)}", write(value)) for part, value in values.items()}
    return heat_map(cells, Ends(most, write(most)), label=found.columns[measure])


def as_section(found: Diff) -> Section:
    """Show the diff on a page; see `Diff.section`."""
    whole = records(found.total)[0]
    words = (
        f"‖Δ‖ is {number(whole['delta_norm'])}, {percent(whole['relative'])} of ‖W‖.",
        f"Of {whole['parameters']:,} entries {percent(whole['changed_bitwise'])} changed as stored, and "
        f"{percent(whole['changed_bf16'])} still differ after both sides are rounded to bfloat16.",
    )
    figures = tuple(Figure.of(found.columns[name], as_svg(found, name)) for name in ("relative", "share"))
    rows = found.components.sort_values("share", ascending=False, kind="stable").head(_ROWS)
    folded = ((f"Components, up to {_ROWS} with most of ‖Δ‖²", _page_table(rows, found)),)
    layers = _page_table(found.layers.rename(columns={"name": "component"}), found)
    return Section("Where the weights moved", words, figures, (layers,), folded)


def escape_markup(text: str) -> str:
    """Return text that rich prints as it is."""
    from rich.markup import escape as escaped

    return escaped(text)


def _table(title: str, rows: pd.DataFrame, found: Diff) -> Table:
    from rich.table import Table

    beyond = {column_of(one): f"by > {one:.0e}".replace("e-0", "e-") for one in found.atoms.tolerances[:1]}
    if TOLERANCES[0] in found.atoms.tolerances[:1]:
        beyond[column_of(TOLERANCES[0])] += "*"
    fractions = {"share": "of ‖Δ‖²", "changed_bitwise": "changed bits", "changed_bf16": "in bf16", **beyond}
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(title)
    for head in ("parameters", "‖Δ‖/‖W‖", *fractions.values(), "max |Δ|"):
        table.add_column(head, justify="right")
    for row in records(rows):
        relative = "–" if row["relative"] is None else f"{row['relative']:.2g}"
        parts = [percent(row[name]) for name in fractions]
        table.add_row(row["name"], f"{row['parameters']:,}", relative, *parts, f"{row['max_abs']:.2g}")
    return table


def _values(found: Diff, measure: str) -> dict[Component, float | None]:
    """Return one measure of everything a map shows; an MLP cut into neurons is shown as one."""
    if measure not in found.columns:
        raise unknown_name("measure", measure, found.columns)
    place, parts = found.tally.parts.without_neurons()
    shown = found.by_component.grouped(place, len(parts)).measures(found.whole)[measure]
    values = [None if pd.isna(value) else value for value in shown]
    return dict(zip(parts.components(), values, strict=True))


def _of(values: dict[Component, Any], layer: int, kind: str) -> list[Component]:
    return [part for part in values if part.layer == layer and part.kind == kind]


def _shade(value: float | None, most: float) -> str:
    if value is None:
        return "?"
    if not value or not most:
        return "·"
    return SHADES[min(len(SHADES) - 1, int(abs(value) / most * len(SHADES)))]


def _page_table(rows: pd.DataFrame, found: Diff) -> PageTable:
    names = list(found.columns)
    cells = [(str(row["component"]), *(_cell(name, row[name]) for name in names)) for row in records(rows)]
    return PageTable(("component", *names), tuple(cells), ("component",))


def _cell(name: str, value: Any) -> str:
    if name == "parameters":
        return f"{value:,}"
    return _exact(value) if name in _MAGNITUDES or name == "cosine" else percent(value)


def _exact(value: Any) -> str:
    return "–" if pd.isna(value) else f"{value:.4g}"
