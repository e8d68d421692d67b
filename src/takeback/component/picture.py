"""Pictures of component sets, layers by kinds: as text, and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape

from takeback.component.names import INDEXED_KINDS, LAYER_KINDS, TENSOR, Component

MOST_MARKS = 64
"""A kind with more members in a layer than this is drawn as a count."""

Place = tuple[int | None, str]
"""A layer, None outside them, and a kind."""


def as_text(marked: Mapping[Component, bool]) -> str:
    """Draw all components of a model, each by whether it is in a set: a line per layer, a mark for each."""
    return "\n".join([*text_map(_cells(marked, lambda _, mark: "■" if mark else "·")), _summary(marked)])


def as_html(marked: Mapping[Component, bool]) -> str:
    """Draw the same as an HTML table without scripts; hovering over a square tells its name."""
    cells = _cells(marked, _square)
    kinds, layers = _axes(cells)
    head = "".join(f"<th>{kind}{'…' if kind in INDEXED_KINDS else ''}</th>" for kind in kinds)
    rows = [[f"<td>{cells.get((layer, kind), '')}</td>" for kind in kinds] for layer in layers]
    body = "".join(f"<tr><th>L{n}</th>{''.join(row)}</tr>" for n, row in zip(layers, rows, strict=True))
    outside = " ".join(f"{kind} {cell}" for (layer, kind), cell in cells.items() if layer is None)
    return (
        f'<div style="font-family:monospace"><table><tr><th></th>{head}</tr>{body}</table>'
        f"<div>{outside}</div><div>{_summary(marked)}</div></div>"
    )


def text_map(cells: Mapping[Place, str]) -> list[str]:
    r"""Lay cells out as lines: one for each layer with a column for each kind, then what is in no layer.

    >>> print(*text_map({(0, "H"): "·■", (0, "MLP"): "·", (None, "EMBED"): "■"}), sep="\n")
        H   MLP
    L0  ·■  ·
    EMBED ■
    """
    kinds, layers = _axes(cells)
    table = [["", *kinds], *([f"L{n}", *(cells.get((n, kind), "") for kind in kinds)] for n in layers)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table] if layers else []
    outside = [f"{kind} {cell}" for (layer, kind), cell in cells.items() if layer is None]
    return [*lines, *([" ".join(outside)] if outside else [])]


def _cells(marked: Mapping[Component, bool], drawn: Callable[[Component, bool], str]) -> dict[Place, str]:
    groups: dict[Place, list[tuple[Component, bool]]] = {}
    for component, mark in marked.items():
        groups.setdefault((component.layer, component.kind), []).append((component, mark))
    return {
        place: f"{sum(mark for _, mark in there)}/{len(there)}"
        if len(there) > MOST_MARKS
        else "".join(drawn(*one) for one in there)
        for place, there in groups.items()
    }


def _summary(marked: Mapping[Component, bool]) -> str:
    return f"{sum(marked.values())} of {len(marked)} components"


def _axes(places: Iterable[Place]) -> tuple[list[str], list[int]]:
    """Return the kinds and the layers that there are, in order."""
    there = set(places)
    kinds = [
        kind
        for kind in (*LAYER_KINDS, TENSOR)
        if any(one == kind for layer, one in there if layer is not None)
    ]
    return kinds, sorted({layer for layer, _ in there if layer is not None})


def _square(component: Component, mark: bool) -> str:
    colour = "#c2410c" if mark else "#e7e5e4"
    style = f"display:inline-block;width:.8em;height:.8em;margin:1px;background:{colour}"
    return f'<span title="{escape(str(component))}{" (in the set)" if mark else ""}" style="{style}"></span>'
