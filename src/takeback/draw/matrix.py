"""Matrices: one row and one column per name, every value coloured and printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from takeback.draw.heatmap import LEGEND, Cell, Ends, legend, square
from takeback.draw.svg import FAINT, coordinate, drawing, element, text

_WIDTH, _HEIGHT, _LETTER = 42.0, 26.0, 7.4


def matrix(
    names: Sequence[str],
    cells: Mapping[tuple[str, str], Cell],
    ends: Ends,
    scale: str = "sequential",
    label: str = "matrix",
) -> str:
    """Draw a square of cells by (row, column); where there is no cell a small mark stands, as on a diagonal.

    Args:
        names: the rows from above, and the columns from the left.
        cells: what to draw; a value of None is drawn as missing.
        ends: the value at which the scale is full, and the words at its ends.
        scale: `sequential` from 0, or `diverging` around 0.
        label: what the picture shows, for a reader who can't see it.

    >>> picture = matrix(["a", "b"], {("a", "b"): Cell(0.5, "a with b", "0.5")}, Ends(1.0, "1"))
    >>> "<title>a with b</title>" in picture, picture.count(">a<"), picture.count(">b<")
    (True, 2, 2)
    """
    longest = _LETTER * max(map(len, names), default=0)
    left, top = longest + 10, 0.72 * longest + 16
    parts: list[str] = []
    for place, name in enumerate(names):
        parts.append(text(left - 6, top + place * _HEIGHT + _HEIGHT / 2 + 4, name, "end"))
        parts.append(_heading(left + (place + 0.5) * _WIDTH - 4, top - 6, name))
    for row, one in enumerate(names):
        for column, other in enumerate(names):
            x, y = left + column * _WIDTH, top + row * _HEIGHT
            box = (x, y, _WIDTH - 1, _HEIGHT - 1)
            drawn = square(cells.get((one, other)), box, ends.limit, scale)
            parts.append(drawn or element("circle", cx=x + _WIDTH / 2, cy=y + _HEIGHT / 2, r=1.5, fill=FAINT))
    bottom = top + len(names) * _HEIGHT + 8
    parts += legend((left, bottom), ends, scale)
    width = max(left + len(names) * _WIDTH + 0.72 * longest, left + LEGEND + 10)
    return drawing(width, bottom + 26, parts, label)


def _heading(x: float, y: float, name: str) -> str:
    turn = f"rotate(-45 {coordinate(x)} {coordinate(y)})"
    return element("g", text(x, y, name), transform=turn)
