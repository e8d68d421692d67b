"""Pictures of a component set: layers × heads, as text for a terminal and as HTML for a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from takeback.component import INDEXED_KINDS, LAYER_KINDS, Component, ComponentSet

MOST_MARKS = 64
"""A kind with more members in a layer than this is drawn as a count."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Holds the components of one kind in one layer, and which of them are in the set."""

    components: tuple[Component, ...]
    marks: tuple[bool, ...]

    def __str__(self) -> str:
        if len(self.marks) > MOST_MARKS:
            return f"{sum(self.marks)}/{len(self.marks)}"
        return "".join("■" if mark else "·" for mark in self.marks)


@dataclass(frozen=True, slots=True)
class Grid:
    """Holds what a picture shows: a row of cells per layer, and the cells of what lies outside the layers."""

    kinds: tuple[str, ...]
    rows: tuple[tuple[int, tuple[Cell, ...]], ...]
    outside: tuple[Cell, ...]


def grid_of(components: ComponentSet) -> Grid:
    """Lay a set out in rows of layers and columns of kinds."""
    groups: dict[tuple[int | None, str], list[Component]] = {}
    for component in components.universe:
        groups.setdefault((component.layer, component.kind), []).append(component)

    def cell(layer: int | None, kind: str) -> Cell:
        there = tuple(groups.get((layer, kind), ()))
        return Cell(there, tuple(component in components for component in there))

    kinds = tuple(kind for kind in LAYER_KINDS if any(group[1] == kind for group in groups))
    layers = sorted({layer for layer, _ in groups if layer is not None})
    rows = tuple((layer, tuple(cell(layer, kind) for kind in kinds)) for layer in layers)
    return Grid(kinds, rows, tuple(cell(None, kind) for layer, kind in groups if layer is None))


def as_text(components: ComponentSet) -> str:
    """Draw a set with a line per layer; see `ComponentSet.picture`."""
    grid = grid_of(components)
    table = [("", *grid.kinds), *((f"L{layer}", *map(str, cells)) for layer, cells in grid.rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table] if grid.rows else []
    if grid.outside:
        lines.append(" ".join(f"{cell.components[0]} {cell}" for cell in grid.outside))
    return "\n".join([*lines, _summary(components)])


def as_html(components: ComponentSet) -> str:
    """Draw a set as an HTML table without scripts; hovering over a square tells its name."""
    grid = grid_of(components)
    head = "".join(f"<th>{_heading(kind)}</th>" for kind in grid.kinds)
    body = "".join(
        f"<tr><th>L{layer}</th>{''.join(f'<td>{_squares(cell)}</td>' for cell in cells)}</tr>"
        for layer, cells in grid.rows
    )
    outside = " ".join(f"{escape(str(cell.components[0]))} {_squares(cell)}" for cell in grid.outside)
    return (
        '<div style="font-family:monospace">'
        f"<table><tr><th></th>{head}</tr>{body}</table><div>{outside}</div><div>{_summary(components)}</div></div>"
    )


def _summary(components: ComponentSet) -> str:
    return f"{len(components)} of {len(components.universe)} components"


def _heading(kind: str) -> str:
    return f"{kind}…" if kind in INDEXED_KINDS else kind


def _squares(cell: Cell) -> str:
    if len(cell.marks) > MOST_MARKS:
        return str(cell)
    return "".join(map(_square, cell.components, cell.marks))


def _square(component: Component, mark: bool) -> str:
    colour = "#c2410c" if mark else "#e7e5e4"
    style = f"display:inline-block;width:.8em;height:.8em;margin:1px;background:{colour}"
    return f'<span title="{escape(str(component))}{" (in the set)" if mark else ""}" style="{style}"></span>'
