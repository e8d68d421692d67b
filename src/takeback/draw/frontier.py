"""The frontier of two shares: what hybrids keep of one thing against what they restore of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from takeback.draw.colour import arm_colour
from takeback.draw.numbers import percent
from takeback.draw.svg import (
    CONTROL,
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

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 480.0, 48.0, 468.0, 26.0, 300.0
_LEAST, _MOST = -0.2, 1.25
"""Shares beyond these are drawn at the edge, so that one wild point does not flatten the picture."""
_LETTER, _ROW = 6.0, 17.0

Ends = tuple[float | None, float | None]


@dataclass(frozen=True)
class Bargain:
    """A hybrid: the shares that it keeps and restores, with their intervals where these are drawn."""

    kept: float
    restored: float
    title: str
    kept_ends: Ends = (None, None)
    restored_ends: Ends = (None, None)


@dataclass(frozen=True)
class Lot:
    """Hybrids made in one way: `place` gives colour and mark, -1 is a control; a `line` joins them."""

    name: str
    place: int
    bargains: tuple[Bargain, ...]
    line: bool = False


def frontier(
    lots: Sequence[Lot], names: tuple[str, str], least: float, ringed: Bargain | None, label: str
) -> str:
    """Draw shares restored against shares kept, a lot for each way; one hybrid may be ringed.

    Args:
        lots: the hybrids by way; those of controls are hollow and grey, behind the others.
        names: of the horizontal axis and, above the picture, of the vertical one.
        least: the share that has to be kept: a dashed line.
        ringed: the hybrid that was chosen.
        label: what the picture shows, for a reader who can't see it.

    >>> lot = Lot("small set", 0, (Bargain(0.9, 0.6, "L0.H1"),))
    >>> "<title>L0.H1</title>" in frontier([lot], ("kept", "restored"), 0.9, None, "a frontier")
    True
    """
    every = [one for lot in lots for one in lot.bargains]
    x = Scale(*_within([one.kept for one in every]), _LEFT, _RIGHT)
    y = Scale(*_within([one.restored for one in every]), _BOTTOM, _TOP)
    parts = bottom_axis(x, _BOTTOM, _TOP, names[0], _percent)
    parts += left_axis(y, _LEFT, _RIGHT, _percent)
    parts.append(text(8, 13, names[1], colour=INK))
    at = x(least)
    edge = element("line", x1=at, x2=at, y1=_TOP, y2=_BOTTOM, stroke=SOFT, stroke_dasharray="4 3")
    parts.append(edge)
    for lot in sorted(lots, key=lambda lot: lot.place >= 0):
        parts += _drawn(lot, x, y)
    if ringed is not None:
        ring = element("circle", cx=x(ringed.kept), cy=y(ringed.restored), r=8.5)
        parts.append(element("g", ring, fill="none", stroke=INK, stroke_width=1.6))
    legend, height = _legend(lots, _BOTTOM + 50, ringed is not None)
    return drawing(_WIDTH, height, [*parts, *legend], label)


def _within(values: Sequence[float]) -> tuple[float, float]:
    return spread([min(_MOST, max(_LEAST, value)) for value in values], (0.0, 1.0))


def _percent(value: float) -> str:
    return percent(value, 0)


def _drawn(lot: Lot, x: Scale, y: Scale) -> list[str]:
    if lot.place < 0:
        rings = [shape(x(one.kept), y(one.restored), 0, one.title, 3.2) for one in lot.bargains]
        return [element("g", *rings, fill=PAPER, stroke=CONTROL, stroke_width=1.3)]
    colour, parts = arm_colour(lot.place), list[str]()
    if lot.line:
        path = " ".join(f"{coordinate(x(one.kept))},{coordinate(y(one.restored))}" for one in lot.bargains)
        parts.append(element("polyline", points=path, fill="none", stroke=colour, stroke_width=1.6))
    for one in lot.bargains:
        parts += _whiskers(one, x, y, colour)
    size = 2.6 if lot.line else 4
    return parts + [
        mark(x(one.kept), y(one.restored), lot.place, colour, one.title, size) for one in lot.bargains
    ]


def _whiskers(one: Bargain, x: Scale, y: Scale, colour: str) -> list[str]:
    parts: list[str] = []
    for ends, across in ((one.kept_ends, True), (one.restored_ends, False)):
        low, high = ends
        if low is None or high is None:
            continue
        here = y(one.restored) if across else x(one.kept)
        path = (
            f"M{coordinate(x(low))} {coordinate(here)}H{coordinate(x(high))}"
            if across
            else f"M{coordinate(here)} {coordinate(y(low))}V{coordinate(y(high))}"
        )
        parts.append(element("path", d=path, stroke=colour, stroke_width=1.3))
    return parts


def _legend(lots: Sequence[Lot], top: float, ringed: bool) -> tuple[list[str], float]:
    """Return the marks with their names, in rows as wide as the picture, and where it ends."""
    parts: list[str] = []
    x, y = _LEFT, top
    names = [(lot.name, lot.place) for lot in lots if lot.bargains]
    for name, place in [*names, *([("chosen", -2)] if ringed else [])]:
        width = 18 + _LETTER * len(name) + 14
        if x > _LEFT and x + width > _RIGHT:
            x, y = _LEFT, y + _ROW
        if place >= 0:
            parts.append(mark(x + 5, y, place, arm_colour(place)))
        else:
            ring = element("circle", cx=x + 5, cy=y, r=3.2 if place == -1 else 7)
            stroke = CONTROL if place == -1 else INK
            parts.append(element("g", ring, fill="none", stroke=stroke, stroke_width=1.4))
        parts.append(text(x + 16, y + 4, name))
        x += width
    return parts, y + 12
