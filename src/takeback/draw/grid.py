"""Grids: rows of names in groups, columns side by side, every cell coloured, some of them outlined."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from takeback.draw.heatmap import LEGEND, Cell, Ends, legend, square
from takeback.draw.svg import FAINT, INK, coordinate, drawing, element, text

_HEIGHT, _LETTER, _GAP, _WIDEST, _ROOM = 15.0, 6.6, 8.0, 52.0, 440.0


def grid(
    groups: Mapping[str, Sequence[str]],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], Cell],
    ends: Ends,
    outlined: Collection[tuple[str, str]] = (),
    label: str = "grid",
) -> str:
    """Draw cells by (row, column), coloured around 0.

    Args:
        groups: the names of rows from above, by the heading of their group; an empty heading is not drawn.
        columns: the names of columns from the left.
        cells: what to draw; a value of None is drawn as missing.
        ends: the value at which the scale is full, and the words at its ends.
        outlined: cells with a frame around them.
        label: what the picture shows, for a reader who can't see it.

    >>> cells = {("a", "10"): Cell(-0.5, "a at 10"), ("a", "20"): Cell(0.25, "a at 20")}
    >>> picture = grid({"layer 0": ["a"]}, ["10", "20"], cells, Ends(0.5, "more", "less"), [("a", "20")])
    >>> "<title>a at 10</title>" in picture, picture.count(">layer 0<"), picture.count('fill="none"')
    (True, 1, 2)
    """
    names = [*groups, *(name for rows in groups.values() for name in rows)]
    left = _LETTER * max(map(len, names), default=0) + 14
    width = max(10.0, min(_WIDEST, _ROOM / max(1, len(columns))))
    every = 1 + int(_LETTER * max(map(len, columns), default=0) // width)
    parts = [
        text(left + (place + 0.5) * width, 12, name, "middle", size=10)
        for place, name in enumerate(columns)
        if place % every == 0
    ]
    y = 18.0
    frames: list[str] = []
    for heading, rows in groups.items():
        if heading:
            parts.append(text(4, y + 13, heading, colour=INK))
            parts.append(
                element("line", x1=left, x2=left + len(columns) * width, y1=y + 9, y2=y + 9, stroke=FAINT)
            )
            y += _HEIGHT + 2
        for name in rows:
            parts.append(text(left - 6, y + 11, name, "end", size=10))
            for place, column in enumerate(columns):
                box = (left + place * width, y, width - 1, _HEIGHT - 1)
                parts.append(square(cells.get((name, column)), box, ends.limit, "diverging"))
                if (name, column) in outlined:
                    frames.append(_frame(box))
            y += _HEIGHT
        y += _GAP
    parts += [*frames, *legend((left, y + 4), ends, "diverging")]
    return drawing(max(left + len(columns) * width, left + LEGEND) + 10, y + 32, parts, label)


def _frame(box: tuple[float, float, float, float]) -> str:
    x, y, width, height = box
    path = f"M{coordinate(x)} {coordinate(y)}h{coordinate(width)}v{coordinate(height)}h{coordinate(-width)}z"
    return element("path", d=path, fill="none", stroke=INK, stroke_width=1.6)
