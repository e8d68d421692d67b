"""The colours and marks of arms, as a line beside pictures."""

from __future__ import annotations

from markupsafe import Markup

from takeback.draw.colour import arm_colour
from takeback.draw.svg import SOFT, drawing, mark
from takeback.report.record import Record


def legend(record: Record, base: bool = False) -> Markup:
    """Write the name of each arm, and of base, beside its mark."""
    named = [("base", swatch(-1))] if base else []
    named += [(arm.name, swatch(arm.place)) for arm in record.arms]
    items = Markup("").join(Markup("<span>{} {}</span>").format(mark, name) for name, mark in named)
    return Markup('<span class="legend">{}</span>').format(items)


def swatch(place: int) -> Markup:
    """Draw the mark of the arm at a place; -1 is base."""
    colour = SOFT if place < 0 else arm_colour(place)
    return Markup(drawing(12, 12, [mark(6, 6, place, colour, size=4.5)], ""))
