"""A diff for people: tables in the terminal, layers × heads as text and as SVG, a page for a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from takeback.checkpoint.pair import summary
from takeback.component import LAYER_KINDS, Component
from takeback.diff.measure import COLUMNS, Diff, measures
from takeback.diff.moments import Moments
from takeback.draw.heatmap import Cell, Ends, heat_map, limit_of
from takeback.draw.numbers import number, percent
from takeback.errors import unknown_name

if TYPE_CHECKING:
    from rich.table import Table

SHADES = "░▒▓█"
TOP = 15

_HEADS = ("parameters", "‖Δ‖/‖W‖", "of ‖Δ‖²", "changed bits", "in bf16", "by > 1e-5*", "max |Δ|")
_NOTE = '* the tolerance of arXiv 2505.11711; "in bf16" is after both sides are rounded to bfloat16'


def print_diff(found: Diff) -> None:
    """Print what differs besides values, the totals, the most changed components, the layers and a map."""
    from rich.console import Console

    console = Console()
    whole = found.whole
    console.print(f"[bold]{escape_markup(found.base)} → {escape_markup(found.tuned)}[/bold]")
    if found.differences:
        console.print(f"They also differ in: {escape_markup(summary(found.differences))}")
    cosine = "–" if whole.cosine is None else f"{whole.cosine:.7g}"
    console.print(
        f"‖Δ‖ {number(whole.delta_norm, 4)}, ‖W‖ {number(whole.base_norm, 4)}, cosine of W and W+Δ {cosine}"
    )
    layers = found.summed(_layer_of)
    console.print(_table("layer", {**layers, "all": whole}, whole))
    changed = [(str(part), moments) for part, moments in found.by_component.items() if moments.delta_square]
    largest = dict(sorted(changed, key=lambda item: -item[1].delta_square)[:TOP])
    console.print(
        f"\n{len(changed)} of {len(found.by_component)} components changed; those with most of ‖Δ‖²:"
    )
    console.print(_table("component", largest, whole))
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
    legend = f"{COLUMNS[measure]}: · none, {' '.join(SHADES)} in quarters up to {most:.3g}"
    return "\n".join([*lines, *([" ".join(outside)] if outside else []), legend])


def as_svg(found: Diff, measure: str) -> str:
    """Draw one measure as SVG; see `Diff.svg`."""
    values = _values(found, measure)
    most = limit_of(values.values())
    write = percent if measure not in ("parameters", "delta_norm", "base_norm", "max_abs") else number
    cells = {part: Cell(value, f"{part}: {_exact(value)}", write(value)) for part, value in values.items()}
    return heat_map(cells, Ends(most, write(most)), label=COLUMNS[measure])


def as_html(found: Diff) -> str:
    """Draw the diff for a notebook: the totals and two heat maps."""
    whole = measures(found.whole, found.whole)
    names = [name for name in COLUMNS if name != "share"]
    head = "".join(f'<th title="{escape(COLUMNS[name])}">{name}</th>' for name in names)
    row = "".join(f"<td>{_cell(name, whole[name])}</td>" for name in names)
    maps = "".join(
        f"<figure><figcaption>{escape(COLUMNS[name])}</figcaption>{as_svg(found, name)}</figure>"
        for name in ("relative", "share")
    )
    title = f"<p><b>{escape(found.base)} → {escape(found.tuned)}</b></p>"
    return f"<div>{title}<table><tr>{head}</tr><tr>{row}</tr></table>{maps}</div>"


def escape_markup(text: str) -> str:
    """Return text that rich prints as it is."""
    from rich.markup import escape as escaped

    return escaped(text)


def _table(title: str, rows: dict[str, Moments], whole: Moments) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(title)
    for head in _HEADS:
        table.add_column(head, justify="right")
    for name, moments in rows.items():
        relative = "–" if moments.relative is None else f"{moments.relative:.2g}"
        fractions = (moments.share(whole), moments.changed_bitwise, moments.changed_bf16, moments.changed_1e5)
        parts = [percent(value) for value in fractions]
        table.add_row(name, f"{moments.parameters:,}", relative, *parts, f"{moments.max_abs:.2g}")
    return table


def _values(found: Diff, measure: str) -> dict[Component, float | None]:
    """Return one measure of everything a map shows; an MLP cut into neurons is shown as one."""
    if measure not in COLUMNS:
        raise unknown_name("measure", measure, COLUMNS)
    shown = found.summed(_shown_as)
    return {part: measures(moments, found.whole)[measure] for part, moments in shown.items()}


def _shown_as(component: Component) -> Component:
    return Component("MLP", component.layer) if component.kind in ("N", "MLPB") else component


def _layer_of(component: Component) -> str:
    return str(component) if component.layer is None else f"L{component.layer}"


def _of(values: dict[Component, Any], layer: int, kind: str) -> list[Component]:
    return [part for part in values if part.layer == layer and part.kind == kind]


def _shade(value: float | None, most: float) -> str:
    if value is None:
        return "?"
    if not value or not most:
        return "·"
    return SHADES[min(len(SHADES) - 1, int(abs(value) / most * len(SHADES)))]


def _cell(name: str, value: float | None) -> str:
    return f"{value:,}" if name == "parameters" else _exact(value)


def _exact(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
