"""Bars from zero with intervals: several quantities of each row below each other, their controls in grey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from takeback.draw.colour import arm_colour
from takeback.draw.numbers import percent
from takeback.draw.svg import (
    CONTROL,
    INK,
    Scale,
    bottom_axis,
    coordinate,
    drawing,
    element,
    mark,
    spread,
    text,
)

_LANE, _ROOM, _LETTER = 9.0, 8.0, 7.4
_RIGHT = 540.0


@dataclass(frozen=True)
class Bar:
    """A value with its interval (None: unknown), its tooltip, and the values of its controls."""

    value: float
    low: float | None
    high: float | None
    title: str
    controls: tuple[float, ...] = ()


@dataclass(frozen=True)
class Bars:
    """A row: a bar of each kind, None where it is missing."""

    name: str
    bars: tuple[Bar | None, ...]


def bar_plot(rows: Sequence[Bars], kinds: Sequence[str], axis: str, label: str) -> str:
    """Draw rows of bars, in every row one of each kind.

    Args:
        rows: from the top.
        kinds: what the bars of a row are, in their order; each has a colour and a mark.
        axis: the name of the horizontal axis, on which values are fractions of a whole.
        label: what the picture shows, for a reader who can't see it.

    >>> row = Bars("heads", (Bar(0.5, 0.4, 0.6, "together", (0.1,)), None))
    >>> picture = bar_plot([row], ["joint", "sum"], "share", "groups")
    >>> "<title>together</title>" in picture, picture.count(">sum<")
    (True, 1)
    """
    present = [bar for row in rows for bar in row.bars if bar is not None]
    ends = [end for bar in present for end in (bar.low, bar.high) if end is not None]
    low, high = spread(
        [*(bar.value for bar in present), *ends, *(c for b in present for c in b.controls)], (0.0,)
    )
    left = _LETTER * max((len(row.name) for row in rows), default=0) + 18
    top, height = 24.0, _LANE * len(kinds) + _ROOM
    scale = Scale(low, high, left, _RIGHT)
    bottom = top + height * len(rows)
    parts = _legend(kinds, left)
    parts += bottom_axis(scale, bottom, top, axis, lambda share: percent(share, 0))
    for place, row in enumerate(rows):
        y = top + place * height
        parts.append(text(left - 8, y + height / 2 + 4, row.name, "end", colour=INK))
        for kind, bar in enumerate(row.bars):
            if bar is not None:
                parts += _bar(bar, scale, y + (_ROOM + _LANE) / 2 + kind * _LANE, kind)
    return drawing(_RIGHT + 12, bottom + 40, parts, label)


def _legend(kinds: Sequence[str], left: float) -> list[str]:
    parts: list[str] = []
    x = left
    for place, kind in enumerate(kinds):
        parts += [mark(x + 4, 10, place, arm_colour(place)), text(x + 12, 14, kind)]
        x += 24 + _LETTER * len(kind)
    return parts


def _bar(bar: Bar, scale: Scale, y: float, kind: int) -> list[str]:
    colour = arm_colour(kind)
    parts = [
        element(
            "line", x1=scale(0), x2=scale(bar.value), y1=y, y2=y, stroke=colour, stroke_width=4, opacity=0.3
        )
    ]
    ticks = "".join(f"M{coordinate(scale(value))} {coordinate(y - 4)}v8" for value in bar.controls)
    if ticks:
        parts.append(element("path", d=ticks, stroke=CONTROL, stroke_width=1.6))
    if bar.low is not None and bar.high is not None:
        x1, x2 = scale(bar.low), scale(bar.high)
        parts.append(element("line", x1=x1, x2=x2, y1=y, y2=y, stroke=colour, stroke_width=1.4))
    return [*parts, mark(scale(bar.value), y, kind, colour, bar.title, 3.4)]
