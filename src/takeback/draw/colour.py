"""Colours that a colour-blind reader can tell apart, on paper, on a light screen and on a dark one.

A figure names its colours as CSS variables with the light colour as fallback, so that it also stands alone.
Scales are straight lines in OKLab (Ottosson 2020, "A perceptual color space for image processing").
"""

from __future__ import annotations

from collections.abc import Sequence

STEPS = 12
"""Steps of a scale from its neutral end: 12 of magnitude, 25 for a diverging scale."""

ARMS = ("#0072b2", "#d55e00", "#009e73", "#b0508c", "#8a6d00", "#3a8fb7", "#6a6a6a")
"""Colours of arms after Okabe and Ito (2008), "Color universal design", darkened for a white ground."""

ARMS_DARK = ("#5ab4ee", "#ff8a45", "#3fcf9f", "#e391c3", "#e3c04a", "#8fd3f4", "#b8b8b8")

_LIGHT = {
    "diverging": ("#a34700", "#f3b27a", "#f5f4f1", "#8fbfe0", "#0b5394"),
    "sequential": ("#f5f4f1", "#a9c9c4", "#4a8f93", "#1d4f63", "#0c2238"),
}
_DARK = {
    "diverging": ("#ffab66", "#a35a1f", "#26282b", "#2a6a9b", "#83c8ff"),
    "sequential": ("#26282b", "#275b60", "#3f8f92", "#86c9c0", "#e6f7ef"),
}

Lab = tuple[float, float, float]


def arm_colour(place: int) -> str:
    """Return the colour of the arm at this place in the plan, as a CSS value."""
    place %= len(ARMS)
    return f"var(--arm{place},{ARMS[place]})"


def step_of(value: float, limit: float) -> int:
    """Return the step of a scale on which `value` lies: −12 … 12, its magnitude relative to `limit`.

    >>> step_of(0.5, 1.0), step_of(-2.0, 1.0), step_of(0.0, 0.0)
    (6, -12, 0)
    """
    share = 0.0 if limit <= 0 else max(-1.0, min(1.0, value / limit))
    return round(STEPS * share)


def paint(scale: str, step: int) -> tuple[str, str]:
    """Return the fill and the ink on it, as CSS values, of a step of a `diverging` or `sequential` scale."""
    name, (fill, ink) = _name(scale, step), hexes(scale, step)
    return f"var(--{name},{fill})", f"var(--{name}i,{ink})"


def hexes(scale: str, step: int) -> tuple[str, str]:
    """Return the fill and the ink on it on a light ground, as #rrggbb, of a step of a scale."""
    fill = _ramp(_LIGHT[scale], *_place(scale, step))
    return fill, _ink(fill)


def variables(dark: bool) -> str:
    """Return the CSS declarations of every colour that figures name."""
    anchors, arms = (_DARK, ARMS_DARK) if dark else (_LIGHT, ARMS)
    lines = [f"--arm{place}:{colour}" for place, colour in enumerate(arms)]
    for scale in ("diverging", "sequential"):
        first = -STEPS if scale == "diverging" else 0
        for step in range(first, STEPS + 1):
            fill = _ramp(anchors[scale], *_place(scale, step))
            name = _name(scale, step)
            lines += [f"--{name}:{fill}", f"--{name}i:{_ink(fill)}"]
    return ";".join(lines)


def _name(scale: str, step: int) -> str:
    return f"{scale[0]}{'m' if step < 0 else ''}{abs(step)}"


def _place(scale: str, step: int) -> tuple[float]:
    return ((step + STEPS) / (2 * STEPS),) if scale == "diverging" else (step / STEPS,)


def _ramp(anchors: Sequence[str], place: float) -> str:
    spot = place * (len(anchors) - 1)
    left = min(int(spot), len(anchors) - 2)
    a, b = _to_lab(anchors[left]), _to_lab(anchors[left + 1])
    mix = spot - left
    return _to_hex((a[0] + mix * (b[0] - a[0]), a[1] + mix * (b[1] - a[1]), a[2] + mix * (b[2] - a[2])))


def _ink(fill: str) -> str:
    """Return black or white, whichever has more contrast (WCAG 2, relative luminance)."""
    red, green, blue = _linear(fill)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#000000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#ffffff"


def _linear(colour: str) -> Lab:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = ((c / 12.92) if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return red, green, blue


def _to_lab(colour: str) -> Lab:
    r, g, b = _linear(colour)
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    middle = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def _to_hex(lab: Lab) -> str:
    lightness, a, b = lab
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    curved = (12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in map(_unit, linear))
    return "#" + "".join(f"{round(255 * c):02x}" for c in curved)


def _unit(value: float) -> float:
    return max(0.0, min(1.0, value))
