"""Pieces of SVG: elements, scales and axes. Pure functions from values to text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

INK, SOFT, FAINT = "var(--ink,#1c1e21)", "var(--soft,#5f666d)", "var(--rule,#d9dbdd)"
PAPER, CONTROL = "var(--paper,#ffffff)", "var(--control,#8b9096)"


def coordinate(value: float) -> str:
    """Write a coordinate with at most two decimals.

    >>> coordinate(3.0), coordinate(-0.001), coordinate(2.256)
    ('3', '0', '2.26')
    """
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def element(name: str, *children: str, title: str = "", **attributes: str | float) -> str:
    """Write one element; `_` in an attribute's name stands for a hyphen, `title` becomes a tooltip.

    Attributes are escaped and children are not: they are elements, or text that went through `escape`.

    >>> element("line", x1=0, x2=1.5, stroke_width=2, title="a < b")
    '<line x1="0" x2="1.5" stroke-width="2"><title>a &lt; b</title></line>'
    """
    written = ""
    for key, value in attributes.items():
        words = value if isinstance(value, str) else coordinate(value)
        written += f' {key.replace("_", "-")}="{escape(words)}"'
    inside = (f"<title>{escape(title)}</title>" if title else "") + "".join(children)
    return f"<{name}{written}>{inside}</{name}>" if inside else f"<{name}{written}/>"


def text(x: float, y: float, words: str, anchor: str = "start", size: float = 11, colour: str = SOFT) -> str:
    """Write words at a point; `anchor` is start, middle or end."""
    anchors = {} if anchor == "start" else {"text-anchor": anchor}
    sizes = {} if size == 11 else {"font-size": coordinate(size)}
    colours = {} if colour == SOFT else {"fill": colour}  # the drawing's own need not be said
    place = {"x": coordinate(x), "y": coordinate(y)}
    written = "".join(
        f' {name}="{escape(value)}"' for name, value in (place | anchors | sizes | colours).items()
    )
    return f"<text{written}>{escape(words)}</text>"


def drawing(width: float, height: float, parts: Sequence[str], label: str) -> str:
    """Wrap elements as a picture with a spoken label."""
    return element(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=label,
        font_family="inherit",
        font_size=11,
        fill=SOFT,
    )


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` onto pixels from `start` to `end`, straight or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; what lies outside is drawn at the edge."""
        low, high, value = (_log(v) if self.log else v for v in (self.low, self.high, value))
        share = 0.5 if high == low else (value - low) / (high - low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round values within the scale."""
        if self.log:
            first, last = math.ceil(_log(self.low) - 1e-9), math.floor(_log(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1)]
        return round_values(self.low, self.high, most)


def spread(values: Sequence[float], include: Sequence[float] = ()) -> tuple[float, float]:
    """Return a range that holds all values with a little room around them.

    >>> spread([0.0, 1.0])
    (-0.04, 1.04)
    >>> spread([], [0.0])
    (-1.0, 1.0)
    """
    known = [value for value in (*values, *include) if math.isfinite(value)]
    if not known or min(known) == max(known):
        centre = known[0] if known else 0.0
        return centre - 1.0, centre + 1.0
    room = 0.04 * (max(known) - min(known))
    return min(known) - room, max(known) + room


def round_values(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most `most` + 1 round values between low and high.

    >>> round_values(-0.04, 1.04)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 10) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_text(value: float) -> str:
    """Write a tick's value without needless zeros."""
    return f"{value:.10g}".replace("-", "−")


def bottom_axis(
    scale: Scale,
    y: float,
    top: float,
    name: str,
    write: Callable[[float], str] = tick_text,
    ticks: Sequence[float] = (),
) -> list[str]:
    """Draw ticks (round values if none are given) and grid lines up to `top`, and the axis' name below."""
    parts = [element("line", x1=scale.start, x2=scale.end, y1=y, y2=y, stroke=FAINT)]
    for value in ticks or scale.ticks():
        x = scale(value)
        stroke = SOFT if value == 0 else FAINT
        parts.append(element("line", x1=x, x2=x, y1=top, y2=y + 4, stroke=stroke))
        parts.append(text(x, y + 16, write(value), "middle"))
    parts.append(text((scale.start + scale.end) / 2, y + 33, name, "middle", colour=INK))
    return parts


def left_axis(scale: Scale, x: float, right: float, write: Callable[[float], str] = tick_text) -> list[str]:
    """Draw ticks and grid lines up to `right`."""
    parts: list[str] = []
    for value in scale.ticks():
        y = scale(value)
        parts.append(element("line", x1=x, x2=right, y1=y, y2=y, stroke=FAINT))
        parts.append(text(x - 6, y + 4, write(value), "end"))
    return parts


MARKS = ("circle", "square", "triangle", "diamond")


def mark(x: float, y: float, place: int, colour: str, title: str = "", size: float = 4) -> str:
    """Draw the point mark of the series at this place: shape and colour both tell it apart.

    Base (-1) is a ring.
    """
    if place < 0:
        ring = element("circle", cx=x, cy=y, r=size - 0.6, title=title)
        return element("g", ring, fill=PAPER, stroke=colour, stroke_width=1.6)
    return element("g", shape(x, y, place, title, size), fill=colour, stroke=PAPER, stroke_width=1)


def shape(x: float, y: float, place: int, title: str = "", size: float = 4) -> str:
    """Draw the shape of the mark at this place, in the colours of the group that it stands in."""
    name = MARKS[place % len(MARKS)]
    if name == "circle":
        return element("circle", cx=x, cy=y, r=size, title=title)
    corners = {
        "square": ((-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)),
        "triangle": ((0, -1.15), (1.05, 0.8), (-1.05, 0.8)),
        "diamond": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
    }[name]
    points = " ".join(f"{coordinate(x + size * a)},{coordinate(y + size * b)}" for a, b in corners)
    return element("polygon", points=points, title=title)


def _log(value: float) -> float:
    return math.log10(max(value, 1e-300))
