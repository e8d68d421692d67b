"""Heat maps: layers down the rows, the first on top, the components of a layer along the columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from takeback.component import INDEXED_KINDS, MOST_MARKS, TENSOR, Component
from takeback.draw.colour import STEPS, paint, step_of
from takeback.draw.svg import FAINT, coordinate, drawing, element, text

_LEFT, _TOP, _GAP = 30.0, 20.0, 5.0
LEGEND = 150.0

MOST_LETTERS = 11
"""A longer name below a square is cut."""

ACROSS = 32
"""Units in a row; a layer of more goes on in the next."""
_UNIT, _ALONE, _BESIDE = 10.0, 16.0, 40.0


@dataclass(frozen=True)
class Cell:
    """A value to colour, the words of its tooltip, and what is printed on it where there is room.

    A value of None is drawn as missing, which is neither zero nor blank.
    """

    value: float | None
    title: str
    label: str = ""


@dataclass(frozen=True)
class Ends:
    """What the ends of a colour scale mean, in words, and the value at its full end."""

    limit: float
    high: str
    low: str = "0"


@dataclass(frozen=True)
class _Columns:
    """Where each column of a layer's components begins, and how wide it is."""

    left: Mapping[str, float]
    width: Mapping[str, float]
    height: float
    end: float


def heat_map(
    cells: Mapping[Component, Cell], ends: Ends, scale: str = "sequential", label: str = "heat map"
) -> str:
    """Draw one square per component; those outside the layers stand in a row below.

    A layer of units is a block of rows of `ACROSS` units each.

    Args:
        cells: What to draw.
        ends: The value at which the scale is full, and the words at its ends.
        scale: `sequential` from 0, or `diverging` around 0.
        label: What the picture shows, for a reader who can't see it.

    >>> picture = heat_map({Component.parse("L0.H1"): Cell(0.5, "half")}, Ends(1.0, "all"))
    >>> "<title>half</title>" in picture, picture.count("<rect") > 1
    (True, True)
    """
    inside = sorted(component for component in cells if component.layer is not None)
    outside = sorted(component for component in cells if component.layer is None)
    units = bool(inside) and all(component.kind == "U" for component in inside)
    parts, y, end = (_blocks if units else _rows)(cells, inside, ends.limit, scale)
    y += 8 if outside and inside else 0
    for place, component in enumerate(outside):
        x = _LEFT + place * 66
        parts.append(square(cells[component], (x, y, 60, 22), ends.limit, scale))
        parts.append(text(x + 30, y + 35, _below(component), "middle", size=10))
    y += 52 if outside else 10
    width = max(end, _LEFT + 66 * len(outside), _LEFT + 190)
    return drawing(width, y + 26, [*parts, *legend((_LEFT, y), ends, scale)], label)


def limit_of(values: Iterable[float | None]) -> float:
    """Return the largest magnitude among the values that are there, or 0."""
    return max((abs(value) for value in values if value is not None), default=0.0)


def _rows(
    cells: Mapping[Component, Cell], inside: list[Component], limit: float, scale: str
) -> tuple[list[str], float, float]:
    """Draw layers as rows of the same columns; return also where they end, below and on the right."""
    layers = sorted({component.layer for component in inside if component.layer is not None})
    columns = _columns(inside)
    parts = [_heading(key, columns) for key in columns.left if not key.startswith(TENSOR + ":")]
    there = {(component.layer, component.within): cells[component] for component in inside}
    for place, layer in enumerate(layers):
        y = _TOP + place * (columns.height + 1)
        parts.append(text(_LEFT - 6, y + columns.height / 2 + 4, f"L{layer}", "end"))
        for key, x in columns.left.items():
            cell = there.get((layer, key))
            parts.append(square(cell, (x, y, columns.width[key], columns.height), limit, scale))
    return parts, _TOP + len(layers) * (columns.height + 1), columns.end


def _blocks(
    cells: Mapping[Component, Cell], inside: list[Component], limit: float, scale: str
) -> tuple[list[str], float, float]:
    """Draw layers of units as blocks of short rows; return also where they end, below and on the right."""
    parts: list[str] = []
    filled: dict[str, list[str]] = {}
    y = 4.0
    for _, group in groupby(inside, key=_layer):
        units = list(group)
        height = _UNIT if (units[-1].index or 0) >= ACROSS else _ALONE
        name = f"L{units[0].layer}.U"
        for first, row in groupby(units, key=lambda unit: (unit.index or 0) // ACROSS * ACROSS):
            parts.append(text(_BESIDE - 4, y + height / 2 + 3, f"{name}{first}", "end", size=9))
            for unit in row:
                x = _BESIDE + _UNIT * ((unit.index or 0) - first)
                cell, box = cells[unit], (x, y, _UNIT - 1, height - 1)
                if cell.value is None:
                    parts.append(square(cell, box, limit, scale))
                else:
                    fill, _ = paint(scale, step_of(cell.value, limit))
                    filled.setdefault(fill, []).append(_path(box, cell.title))
            name, y = "U", y + height
        y += _GAP + 2
    parts += [element("g", *paths, fill=fill) for fill, paths in filled.items()]
    return parts, y, _BESIDE + _UNIT * ACROSS


def _layer(component: Component) -> int | None:
    return component.layer


def _path(box: tuple[float, float, float, float], title: str) -> str:
    """Draw a small square in the colour of its group: there are thousands, and this is half as long."""
    x, y, width, height = map(coordinate, box)
    return element("path", d=f"M{x} {y}h{width}v{height}h-{width}z", title=title)


def _columns(components: list[Component]) -> _Columns:
    first = {component.within: component for component in reversed(components)}
    keys = sorted(first.values(), key=lambda component: component.place()[2:])
    narrow = 42.0 if len(keys) <= 9 else 30.0 if len(keys) <= 18 else 18.0 if len(keys) <= MOST_MARKS else 6.0
    left: dict[str, float] = {}
    width: dict[str, float] = {}
    x = _LEFT
    for _, group in groupby(keys, key=lambda one: one.kind if one.kind in INDEXED_KINDS else ""):
        for one in group:
            key, slim = one.within, one.kind in INDEXED_KINDS or one.kind == TENSOR
            left[key] = x
            width[key] = narrow if slim else max(narrow, 34.0)
            x += width[key] + 1
        x += _GAP
    return _Columns(left, width, 26.0 if narrow > 40 else 22.0 if narrow > 20 else 16.0, x)


def _heading(key: str, columns: _Columns) -> str:
    size = 11 if columns.width[key] > 24 else 8.5
    return text(columns.left[key] + columns.width[key] / 2, _TOP - 6, key, "middle", size=size)


def _below(component: Component) -> str:
    """Name a component outside the layers below its square; of a tensor, the module that holds it."""
    if component.tensor is None:
        return component.kind
    words = component.tensor.removesuffix(".weight").rpartition(".")[2]
    return words if len(words) <= MOST_LETTERS else f"{words[: MOST_LETTERS - 1]}…"


def square(cell: Cell | None, box: tuple[float, float, float, float], limit: float, scale: str) -> str:
    """Draw one cell in a box of x, y, width and height; nothing where there is no cell."""
    x, y, width, height = box
    if cell is None:
        return ""
    if cell.value is None:
        hollow = element("rect", x=x + 1, y=y + 1, width=width - 2, height=height - 2, title=cell.title)
        return element("g", hollow, fill="none", stroke=FAINT, stroke_dasharray="3 2")
    fill, ink = paint(scale, step_of(cell.value, limit))
    if not cell.label or width < 34:
        return element("rect", x=x, y=y, width=width, height=height, fill=fill, title=cell.title)
    square = element("rect", x=x, y=y, width=width, height=height, fill=fill)
    words = text(x + width / 2, y + height / 2 + 4, cell.label, "middle", colour=ink, size=10.5)
    return element("g", square, words, title=cell.title)


def legend(corner: tuple[float, float], ends: Ends, scale: str) -> list[str]:
    """Draw the scale, `LEGEND` wide, with the words at its ends."""
    x, y = corner
    steps = range(-STEPS if scale == "diverging" else 0, STEPS + 1)
    size = LEGEND / len(steps)
    parts = [
        element("rect", x=x + place * size, y=y, width=size + 0.3, height=7, fill=paint(scale, step)[0])
        for place, step in enumerate(steps)
    ]
    parts.append(element("rect", x=x, y=y, width=LEGEND, height=7, fill="none", stroke=FAINT))
    parts.append(text(x, y + 20, ends.low, size=10))
    if scale == "diverging":
        parts.append(text(x + LEGEND / 2, y + 20, "0", "middle", size=10))
    parts.append(text(x + LEGEND, y + 20, ends.high, "end", size=10))
    return parts
