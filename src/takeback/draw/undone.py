"""What a gain is and what takes it away: base and tuned on one line, below it a row for each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from takeback.draw.colour import arm_colour
from takeback.draw.forest import Dot
from takeback.draw.heatmap import Cell, limit_of, square
from takeback.draw.svg import CONTROL, FAINT, INK, SOFT, Scale, coordinate, drawing, element, mark, text

_WIDTH, _LEFT, _RIGHT = 450.0, 42.0, 440.0
_CELLS, _WRITTEN, _LETTER = 215.0, 40.0, 6.2
"""Room for the squares of single components, and for what is written beside a bar; pixels of a letter."""

_MOST = 40
"""Columns of squares; of more components a layer has only its bar."""


@dataclass(frozen=True)
class Undone:
    """A layer: its name, a square for each of its components by column, and what all of it does together.

    `whole` is None where that was not measured, `written` says it in short. `controls` are the values of the
    random sets that match the layer, in words `told`.
    """

    name: str
    cells: Mapping[str, Cell]
    whole: Dot | None = None
    written: str = ""
    controls: tuple[float, ...] = ()
    told: str = ""


def undone_map(gain: tuple[Dot, Dot], layers: Sequence[Undone], place: int, heading: str, label: str) -> str:
    """Draw a gain, from base to tuned, and below what each layer and its components take away of it.

    Squares have their full colour at the largest of them, or at a quarter of the largest bar if that is more.

    Args:
        gain: the measure of base and of tuned.
        layers: what is taken back, the first layer on top.
        place: the arm's, which gives the colour.
        heading: what the bars say.
        label: what the picture shows, for a reader who can't see it.

    >>> gain = Dot(0.4, None, None, "base 0.4"), Dot(0.7, None, None, "tuned 0.7")
    >>> cells, whole = {"H0": Cell(-0.1, "L0.H0: 10%", "10%")}, Dot(0.4, 0.3, 0.5, "L0.*: 40%")
    >>> layers = [Undone("L0.*", cells, whole, "40%")]
    >>> picture = undone_map(gain, layers, 0, "the layer", "a gain")
    >>> [words in picture for words in ("<title>L0.H0: 10%</title>", ">40%<", ">base 0.4<")]
    [True, True, True]
    """
    parts = _gain(*gain, place)
    columns = list(dict.fromkeys(name for layer in layers for name in layer.cells))
    columns = columns if len(columns) <= _MOST else []
    size = min(43.0, _CELLS / max(1, len(columns)))
    height = 26.0 if size > 30 and len(layers) <= 12 else 18.0 if len(layers) <= 24 else 12.0
    left = max(_LEFT, 12 + _LETTER * max((len(layer.name) for layer in layers), default=0))
    if size >= 16:
        parts += [text(left + (n + 0.5) * size, 76, name, "middle", 10) for n, name in enumerate(columns)]
    start = left + size * len(columns) + (14 if columns else 0)
    bars = Scale(*_range(layers), start, _RIGHT - _WRITTEN)
    parts.append(text(start, 76, heading, size=10))
    wholes = limit_of(layer.whole.value for layer in layers if layer.whole)
    limit = max(wholes / 4, limit_of(cell.value for layer in layers for cell in layer.cells.values()))
    y = 82.0
    for layer in layers:
        parts.append(text(left - 7, y + height / 2 + 4, layer.name, "end", min(11.0, height - 2), INK))
        for n, name in enumerate(columns):
            box = (left + n * size, y, size - 1, height - 1)
            parts.append(square(layer.cells.get(name), box, limit, "diverging"))
        parts += _bar(layer, bars, y + height / 2, min(10.0, height - 3), place)
        y += height
    parts.append(element("line", x1=bars(0), x2=bars(0), y1=82, y2=y, stroke=SOFT))
    return drawing(_WIDTH, y + 6, parts, label)


def _gain(before: Dot, after: Dot, place: int) -> list[str]:
    """Draw base and tuned on a line from 0 to 1, or as far as they reach."""
    line = Scale(min(0.0, before.value, after.value), max(1.0, before.value, after.value), 14, _RIGHT)
    start, end = line(before.value), line(after.value)
    parts = [element("line", x1=14, x2=_RIGHT, y1=28, y2=28, stroke=FAINT, stroke_width=2)]
    parts += [text(x, 46, f"{value:g}", "middle", 10) for x, value in ((14, line.low), (_RIGHT, line.high))]
    parts.append(
        element(
            "line", x1=start, x2=end, y1=28, y2=28, stroke=arm_colour(place), stroke_width=6, opacity=0.45
        )
    )
    parts.append(mark(start, 28, -1, SOFT, before.title, 5))
    parts.append(mark(end, 28, place, arm_colour(place), after.title, 5.5))
    parts.append(text(min(max(start, 60), 380), 47, before.title, "middle"))
    parts.append(text(min(max(end, 60), 380), 15, after.title, "middle", colour=INK))
    return parts


def _range(layers: Sequence[Undone]) -> tuple[float, float]:
    values = [value for layer in layers for value in layer.controls]
    wholes = [layer.whole for layer in layers if layer.whole]
    ends = [end for one in wholes for end in (one.value, one.low, one.high) if end is not None]
    high, low = (pick([0.0, *values, *ends]) for pick in (max, min))
    return low, high if high > low else low + 1.0


def _bar(layer: Undone, scale: Scale, middle: float, thick: float, place: int) -> list[str]:
    if layer.whole is None:
        return []
    zero, end = scale(0), scale(layer.whole.value)
    bar = element(
        "rect", x=min(zero, end), y=middle - thick / 2, width=abs(end - zero), height=thick,
        fill=arm_colour(place), opacity=0.85, title=layer.whole.title,
    )  # fmt: skip
    parts = [bar]
    reach = max(zero, end)
    if layer.controls:
        ticks = "".join(
            f"M{coordinate(scale(value))} {coordinate(middle - thick / 2 - 1)}v{coordinate(thick + 2)}"
            for value in layer.controls
        )
        grey = element("path", d=ticks, stroke=CONTROL, stroke_width=1.6)
        parts.append(element("g", grey, title=layer.told))
        reach = max(reach, scale(max(layer.controls)))
    if layer.whole.low is not None and layer.whole.high is not None:
        low, high = (coordinate(scale(end)) for end in (layer.whole.low, layer.whole.high))
        path = f"M{low} {coordinate(middle)}H{high}"
        parts.append(element("path", d=path, stroke=INK, stroke_width=1.3))
        reach = max(reach, scale(layer.whole.high))
    parts.append(text(reach + 5, middle + 4, layer.written, colour=INK))
    return parts
