"""Dot plots with intervals, and scatter plots: sets beside the random sets that match them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from takeback.draw.colour import arm_colour
from takeback.draw.numbers import percent
from takeback.draw.svg import (
    CONTROL,
    FAINT,
    INK,
    PAPER,
    SOFT,
    Scale,
    bottom_axis,
    coordinate,
    drawing,
    element,
    left_axis,
    mark,
    shape,
    spread,
    text,
)


@dataclass(frozen=True)
class Dot:
    """A measured value with its interval (None: unknown) and tooltip."""

    value: float
    low: float | None
    high: float | None
    title: str


@dataclass(frozen=True)
class ForestRow:
    """A set: a dot for each seed, and the values of the controls that match it. Without dots, a heading.

    The dots of a `control` are grey rings. `place` is the arm's, where rows are of several arms.
    """

    name: str
    dots: tuple[Dot, ...] = ()
    controls: tuple[float, ...] = ()
    control_title: str = ""
    control: bool = False
    place: int | None = None


@dataclass(frozen=True)
class Spot:
    """A point of a scatter plot: `family` gives the mark, None marks a control."""

    x: float
    y: float
    title: str
    family: int | None


def forest(
    rows: Sequence[ForestRow],
    place: int,
    axis: str,
    gain: float | None,
    label: str,
    ends: tuple[float, float] | None = None,
) -> str:
    """Draw sets below each other in the colour of the arm at `place`, their controls in grey.

    Args:
        rows: Sets and headings, from the top.
        place: The arm's place, for its colour.
        axis: The name of the horizontal axis.
        gain: What a share of 100% is on the upper axis, signed; None draws no upper axis.
        label: What the picture shows, for a reader who can't see it.
        ends: Where the axis begins and ends; what lies outside is drawn at the edge. None holds all values.
    """
    low, high = ends or _range(rows)
    scale = Scale(low, high, 116, 452)
    top = 38.0 if gain else 12.0
    heights = [_height(row) for row in rows]
    bottom = top + sum(heights) + 6
    parts = bottom_axis(scale, bottom, top, axis)
    if gain:
        parts += _share_axis(scale, top, gain)
    y = top
    for row, height in zip(rows, heights, strict=True):
        parts += _row(row, scale, y, height, place)
        y += height
    return drawing(468, bottom + 40, parts, label)


def scatter(spots: Sequence[Spot], place: int, names: tuple[str, str], label: str) -> str:
    """Draw effects against shares on a logarithmic axis; controls are hollow and grey.

    `names` are those of the horizontal axis and, above the picture, of the vertical one.
    """
    shares = [spot.x for spot in spots if spot.x > 0]
    least = min(shares, default=0.1)
    x_scale = Scale(least * 0.8, max(shares, default=1.0) * 1.25, 54, 446, log=True)
    low, high = spread([spot.y for spot in spots], (0.0,))
    y_scale = Scale(low, high, 248, 22)
    parts = bottom_axis(x_scale, 248, 22, names[0], lambda share: f"{100 * share:g}%")
    parts += left_axis(y_scale, 54, 452)
    parts.append(text(8, 12, names[1], colour=INK))
    parts.append(element("line", x1=54, x2=452, y1=y_scale(0), y2=y_scale(0), stroke=SOFT))
    controls = [_spot(spot, x_scale, y_scale) for spot in spots if spot.family is None]
    real = [_spot(spot, x_scale, y_scale) for spot in spots if spot.family is not None]
    parts.append(element("g", *controls, fill=PAPER, stroke=CONTROL, stroke_width=1.3))
    parts.append(element("g", *real, fill=arm_colour(place), stroke=PAPER, stroke_width=1))
    return drawing(460, 290, parts, label)


def _spot(spot: Spot, x: Scale, y: Scale) -> str:
    size = 3.2 if spot.family is None else 4
    return shape(x(spot.x), y(spot.y), spot.family or 0, spot.title, size)


def _range(rows: Sequence[ForestRow]) -> tuple[float, float]:
    values = [value for row in rows for value in (*(dot.value for dot in row.dots), *row.controls)]
    known = [end for row in rows for dot in row.dots for end in (dot.low, dot.high) if end is not None]
    return spread([*values, *known], (0.0,))


def _height(row: ForestRow) -> float:
    return 24.0 if not row.dots else 14.0 + 7.0 * len(row.dots)


def _share_axis(scale: Scale, top: float, gain: float) -> list[str]:
    """Draw the effect as a share of what training gained, on the upper edge."""
    low, high = sorted((scale.low / gain, scale.high / gain))
    shares = Scale(low, high, scale.start, scale.end)
    parts = [
        text((scale.start + scale.end) / 2, 12, "as a share of what training gained", "middle", colour=INK)
    ]
    for share in shares.ticks():
        x = scale(share * gain)
        parts.append(element("line", x1=x, x2=x, y1=top - 4, y2=top, stroke=SOFT))
        parts.append(text(x, top - 8, percent(share, 0), "middle"))
    return parts


def _row(row: ForestRow, scale: Scale, y: float, height: float, place: int) -> list[str]:
    place = place if row.place is None else row.place
    if not row.dots:
        return [element("g", text(4, y + 17, row.name, colour=INK), font_weight="600")]
    middle = y + height / 2
    parts = [text(108, middle + 4, row.name, "end", colour=INK)]
    if row.controls:
        left, right = (scale(end(row.controls)) for end in (min, max))
        band = element("rect", x=left - 2, y=middle - 5, width=right - left + 4, height=10, fill=FAINT)
        ticks = "".join(f"M{coordinate(scale(value))} {coordinate(middle - 5)}v10" for value in row.controls)
        lines = element("path", d=ticks, stroke=CONTROL, stroke_width=2)
        parts.append(element("g", band, lines, title=row.control_title))
    colour = CONTROL if row.control else arm_colour(place)
    for seed, dot in enumerate(row.dots):
        at = y + 10.5 + 7 * seed
        if dot.low is not None and dot.high is not None:
            path = f"M{coordinate(scale(dot.low))} {coordinate(at)}H{coordinate(scale(dot.high))}"
            parts.append(element("path", d=path, stroke=colour, stroke_width=1.6))
        parts.append(mark(scale(dot.value), at, -1 if row.control else place, colour, dot.title))
    return parts
