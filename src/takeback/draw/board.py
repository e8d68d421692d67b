"""A chess board as SVG, with pieces of our own and arrows whose width is a probability."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from takeback.draw.numbers import percent
from takeback.draw.svg import coordinate, drawing, element, text

SQUARE = 30.0
LEAST = 0.03
"""Probabilities below this are not drawn."""

BEFORE = "#50565c"
"""The colour of the arrows of what was there before, readable on the board's squares."""

_EDGE = 14.0
_LIGHT, _DARK = "#efece4", "#c9cfd2"
_WHITE, _BLACK = ("#ffffff", "#1f2225"), ("#2b2f33", "#0b0c0d")
_MOVE = re.compile(r"([a-h][1-8])([a-h][1-8])[a-z]?")

_FOOT = "L70 76 L70 84 L30 84 L30 76 Z"
_SHAPES = {
    "p": f"M36 76 C38 62 45 58 45 48 A13 13 0 1 1 55 48 C55 58 62 62 64 76 {_FOOT}",
    "r": f"M34 72 L37 42 L30 36 L30 20 L40 20 L40 27 L46 27 L46 20 L54 20 L54 27 L60 27 L60 20 L70 20 L70 36 "
    f"L63 42 L66 72 {_FOOT}",
    "n": f"M34 74 C36 62 47 58 47 49 C41 54 34 57 27 58 L21 49 C27 40 32 33 39 29 L40 17 L49 25 C66 28 73 48 "
    f"68 74 {_FOOT}",
    "b": f"M38 72 L42 62 C31 52 34 37 46 25 A6 6 0 1 1 54 25 C66 37 69 52 58 62 L62 72 {_FOOT}",
    "q": f"M34 70 L22 32 L37 52 L40 24 L50 50 L60 24 L63 52 L78 32 L66 70 {_FOOT}",
    "k": f"M35 70 C16 58 20 34 37 34 C42 34 45 36 47 39 L47 30 L40 30 L40 23 L47 23 L47 15 L53 15 L53 23 "
    f"L60 23 L60 30 L53 30 L53 39 C55 36 58 34 63 34 C80 34 84 58 65 70 {_FOOT}",
}
"""Outlines of pieces in a square of 100 by 100."""


@dataclass(frozen=True)
class Arrows:
    """Moves of one policy with their probabilities, in one colour; `side` shifts them off the others."""

    moves: Sequence[tuple[str, float]]
    colour: str
    name: str
    side: int


def board(pieces: Mapping[str, str], arrows: Sequence[Arrows], label: str) -> str:
    """Draw a position, White below; pieces are FEN letters by square. Texts that are no moves have no arrow.

    >>> picture = board({"a1": "K"}, [Arrows([("a1a2", 0.5)], "#0072b2", "after", 1)], "example")
    >>> "a1a2" in picture and "50%" in picture
    True
    """
    dark = [_corner(f"{'abcdefgh'[file]}{rank + 1}") for rank in range(8) for file in range(rank % 2, 8, 2)]
    side = coordinate(SQUARE)
    path = "".join(f"M{coordinate(x)} {coordinate(y)}h{side}v{side}h-{side}z" for x, y in dark)
    parts = [
        element("rect", x=_EDGE, y=0, width=8 * SQUARE, height=8 * SQUARE, fill=_LIGHT),
        element("path", d=path, fill=_DARK),
    ]
    for place in range(8):
        middle = (place + 0.5) * SQUARE
        parts.append(text(_EDGE + middle, 8 * SQUARE + 11, "abcdefgh"[place], "middle", size=9))
        parts.append(text(7, middle + 3, str(8 - place), "middle", size=9))
    parts += [_piece(square, letter) for square, letter in sorted(pieces.items())]
    drawn: list[str] = []
    for one in arrows:
        for action, probability in sorted(one.moves, key=lambda move: -move[1]):
            squares = squares_of(action)
            if squares and probability >= LEAST:
                title = f"{one.name}: {action} {percent(probability)}"
                drawn.append(_arrow(squares, probability, one, title))
    parts.append(element("g", *drawn, stroke="#ffffff", stroke_width=0.8, opacity=0.88))
    return drawing(8 * SQUARE + _EDGE + 1, 8 * SQUARE + 15, parts, label)


def squares_of(action: str) -> tuple[str, str] | None:
    """Return from where to where a text moves something, None where it is no such text.

    >>> squares_of("e2e4"), squares_of("e2e2"), squares_of("castle")
    (('e2', 'e4'), None, None)
    """
    move = _MOVE.fullmatch(action)
    return (move[1], move[2]) if move and move[1] != move[2] else None


def style() -> dict[str, Any]:
    """Return what a page draws such boards with: colours, and outlines in a square of 100 by 100."""
    return {
        "squares": [_LIGHT, _DARK],
        "white": _WHITE,
        "black": _BLACK,
        "shapes": dict(_SHAPES),
        "least": LEAST,
    }


def _corner(square: str) -> tuple[float, float]:
    return _EDGE + "abcdefgh".index(square[0]) * SQUARE, (8 - int(square[1])) * SQUARE


def _piece(square: str, letter: str) -> str:
    x, y = _corner(square)
    room = 0.1 * SQUARE
    fill, stroke = _WHITE if letter.isupper() else _BLACK
    return element(
        "path",
        d=_SHAPES[letter.lower()],
        transform=f"translate({coordinate(x - room)} {coordinate(y - room)}) scale({0.012 * SQUARE:g})",
        fill=fill,
        stroke=stroke,
        stroke_width=4,
        stroke_linejoin="round",
        title=f"{'White' if letter.isupper() else 'Black'} {letter.upper()} on {square}",
    )


def _arrow(move: tuple[str, str], probability: float, style: Arrows, title: str) -> str:
    """Draw an arrow from the edge of one square's middle to the middle of another."""
    (x0, y0), (x1, y1) = (tuple(corner + SQUARE / 2 for corner in _corner(square)) for square in move)
    length = math.hypot(x1 - x0, y1 - y0)
    along, across = ((x1 - x0) / length, (y1 - y0) / length), (-(y1 - y0) / length, (x1 - x0) / length)
    width = 1.2 + 8.8 * probability
    head, barb = 5 + 0.8 * width, width / 2 + 3
    shift = style.side * (width / 2 + 0.6)

    def point(forward: float, sideways: float) -> str:
        sideways += shift
        return (
            f"{coordinate(x0 + forward * along[0] + sideways * across[0])},"
            f"{coordinate(y0 + forward * along[1] + sideways * across[1])}"
        )

    start, neck, tip = 0.3 * SQUARE, length - head, length + 1
    corners = (
        point(start, -width / 2), point(neck, -width / 2), point(neck, -barb), point(tip, 0),
        point(neck, barb), point(neck, width / 2), point(start, width / 2),
    )  # fmt: skip
    return element("polygon", points=" ".join(corners), fill=style.colour, title=title)
