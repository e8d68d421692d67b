"""Line plots: how something went over training steps or over moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from takeback.draw.colour import arm_colour
from takeback.draw.svg import (
    SOFT,
    Scale,
    bottom_axis,
    coordinate,
    drawing,
    element,
    left_axis,
    mark,
    spread,
    text,
    tick_text,
)

_WIDTH, _HEIGHT = 350.0, 220.0
_SWATCH, _LETTER = 22.0, 5.6
_DODGE = 2.4
"""Pixels between arms at the same step, so that their whiskers don't cover each other."""


@dataclass(frozen=True)
class Point:
    """A point of a curve with its interval, None where that is unknown, and its tooltip."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    title: str = ""


@dataclass(frozen=True)
class Series:
    """A curve: `place` gives colour and mark, -1 is base or a control; `quiet` ones are thin.

    Every `mark_every`-th point has a mark; 0 draws none. A `band` takes the place of whiskers. Curves with a
    `name` are in the legend under the plot.
    """

    place: int
    points: tuple[Point, ...]
    quiet: bool = False
    mark_every: int = 1
    band: bool = False
    dashed: bool = False
    name: str = ""


@dataclass(frozen=True)
class Axes:
    """The name of the horizontal axis, values that both axes must hold, and how ticks are written.

    `x_ticks` are where the horizontal axis has ticks; round values if there are none.
    """

    x_name: str
    y_include: tuple[float, ...] = ()
    x_include: tuple[float, ...] = ()
    write_y: Callable[[float], str] = tick_text
    write_x: Callable[[float], str] = tick_text
    x_ticks: tuple[float, ...] = ()


def line_plot(series: Sequence[Series], axes: Axes, label: str) -> str:
    """Draw curves with whiskers or bands for intervals; quiet curves first.

    >>> plot = line_plot([Series(0, (Point(0, 0.1), Point(10, 0.3)))], Axes("step"), "reward")
    >>> "<polyline" in plot, plot.startswith("<svg")
    (True, True)
    """
    points = [point for one in series for point in one.points]
    ends = [end for point in points for end in (point.low, point.high) if end is not None]
    low, high = spread([*(point.y for point in points), *ends], axes.y_include)
    left, right = spread([point.x for point in points], axes.x_include)
    y_scale = Scale(low, high, _HEIGHT - 42, 8)
    x_scale = Scale(left, right, 48, _WIDTH - 8)
    parts = bottom_axis(x_scale, _HEIGHT - 42, 8, axes.x_name, axes.write_x, axes.x_ticks)
    parts += left_axis(y_scale, 48, _WIDTH - 8, axes.write_y)
    quiet_first = sorted(series, key=lambda one: not one.quiet)
    parts += [_band(one, x_scale, y_scale) for one in quiet_first if one.band]
    whiskers = any(point.low is not None for one in series if not one.band for point in one.points)
    places = sorted({one.place for one in series})
    for one in quiet_first:
        aside = _DODGE * (places.index(one.place) - (len(places) - 1) / 2) if whiskers else 0.0
        parts += _curve(one, x_scale, y_scale, aside)
    legend, height = _legend([one for one in series if one.name], _HEIGHT + 6)
    return drawing(_WIDTH, height, [*parts, *legend], label)


def moving_average(values: Sequence[float], width: int) -> list[float]:
    """Return the mean of up to `width` values that end at each place.

    >>> moving_average([1.0, 2.0, 6.0], 2)
    [1.0, 1.5, 4.0]
    """
    return [sum(values[max(0, end - width) : end]) / min(end, width) for end in range(1, len(values) + 1)]


def _curve(series: Series, x: Scale, y: Scale, aside: float) -> list[str]:
    colour = _colour(series)
    path = " ".join(f"{coordinate(x(point.x) + aside)},{coordinate(y(point.y))}" for point in series.points)
    line = element("polyline", points=path, fill="none", stroke=colour, stroke_linejoin="round")
    parts = [_styled(series, line)]
    for point in series.points:
        if point.low is not None and point.high is not None and not series.band:
            at = x(point.x) + aside
            parts.append(
                element(
                    "line", x1=at, x2=at, y1=y(point.low), y2=y(point.high), stroke=colour, stroke_width=1.3
                )
            )
    if series.mark_every:
        parts += [
            mark(x(point.x) + aside, y(point.y), series.place, colour, point.title, 3.6)
            for point in series.points[:: series.mark_every]
        ]
    return parts


def _band(series: Series, x: Scale, y: Scale) -> str:
    known = [(p.x, p.low, p.high) for p in series.points if p.low is not None and p.high is not None]
    edge = [(at, low) for at, low, _ in known] + [(at, high) for at, _, high in reversed(known)]
    path = " ".join(f"{coordinate(x(at))},{coordinate(y(end))}" for at, end in edge)
    return element("polygon", points=path, fill=_colour(series), opacity=0.14)


def _legend(series: Sequence[Series], top: float) -> tuple[list[str], float]:
    """Return the names with their lines, in rows as wide as the plot, and where the picture ends."""
    parts: list[str] = []
    x, y = 48.0, top + 6
    for one in series:
        width = _SWATCH + 8 + _LETTER * len(one.name) + 12
        if x > 48 and x + width > _WIDTH:
            x, y = 48.0, y + 16
        line = element("line", x1=x, x2=x + _SWATCH, y1=y, y2=y, stroke=_colour(one))
        parts.append(_styled(one, line))
        if one.mark_every:
            parts.append(mark(x + _SWATCH / 2, y, one.place, _colour(one), size=3.6))
        parts.append(text(x + _SWATCH + 6, y + 4, one.name))
        x += width
    return parts, y + 12 if series else _HEIGHT


def _styled(series: Series, line: str) -> str:
    weight, opacity = (1, 0.35) if series.quiet else (1.8, 1)
    dashes = {"stroke_dasharray": "5 3"} if series.dashed else {}
    return element("g", line, stroke_width=weight, opacity=opacity, **dashes)


def _colour(series: Series) -> str:
    return SOFT if series.place < 0 else arm_colour(series.place)
