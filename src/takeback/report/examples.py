"""Example positions: what the base and the tuned policy would do."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from takeback.draw.board import BEFORE, Arrows, board
from takeback.draw.colour import ARMS
from takeback.draw.numbers import number, percent
from takeback.draw.page import Figure, Section, Table
from takeback.draw.svg import drawing, element
from takeback.report.record import Arm, Record
from takeback.report.rows import BASE, Example

FIRST = 4
"""Positions that are shown at once; the others unfold."""

MOSTLY = 0.5
"""Illegal mass from which a position says why it has no arrows."""


LONGEST = 28
"""Letters of a situation in the heading over it; the whole is in its tooltip."""


def examples(record: Record) -> Section:
    """Draw the situations that training changed most, by arm, of its first seed."""
    words = record.words
    title = f"Example {words.situation}s"
    shown = tuple(
        _arm(record, arm)
        for arm in record.arms
        if record.examples and record.examples[arm.name, arm.seeds[0]]
    )
    if not shown:
        return Section(title, (f"This record has no example {words.situation}s.",), name="examples")
    start = "what it started from" if any(arm.start != BASE for arm in record.arms) else "base"
    if has_boards(record):
        boards = (
            f"An arrow’s width is the probability of the {words.action}; {words.action}s below 3% have "
            "no arrow."
        )
    else:
        boards = "This arena draws no board."
    intro = (
        f"The held-out {words.situation}s in which the tuned policy differs most from {start} (by total "
        f"variation, so these are extremes and not typical). {boards} {words.text}"
    )
    return Section(title, (intro.strip(),), inside=shown, name="examples")


def has_boards(record: Record) -> bool:
    """Tell whether its examples can be drawn."""
    return any(example.board for some in (record.examples or {}).values() for example in some)


def _arm(record: Record, arm: Arm) -> Section:
    assert record.examples is not None
    cards = tuple(_card(record, arm, example) for example in record.examples[arm.name, arm.seeds[0]])
    legend = Markup(
        '<span class="legend"><span>{} {} (before)</span><span>{} {} (after)</span></span>'
    ).format(_swatch(BEFORE), arm.start, _swatch(_colour(arm)), arm.name)
    others = Section(f"{len(cards) - FIRST} more {record.words.situation}s", (), cards[FIRST:], closed=True)
    seed = f", seed {arm.seeds[0]}" if record.several_seeds else ""
    inside = (others,) if cards[FIRST:] else ()
    return Section(f"{arm.name}{seed}", (legend,), cards[:FIRST], inside=inside)


def _card(record: Record, arm: Arm, example: Example) -> Figure:
    arrows = [Arrows(example.before, BEFORE, arm.start, -1), Arrows(example.after, _colour(arm), arm.name, 1)]
    action = record.words.action
    label = f"{record.words.situation} {example.situation}"
    picture = board(example.board, arrows, label) if example.board else ""
    note = f"total variation {number(example.distance, 2)}"
    if record.legality and example.illegal_after > MOSTLY:
        note += f"; after training, {percent(example.illegal_after)} of the answers here are illegal"
    before, after = dict(example.before), dict(example.after)
    actions = sorted({*before, *after}, key=lambda a: (-max(after.get(a, 0), before.get(a, 0)), a))
    rows = [
        (
            each,
            _probability(each, before, example.illegal_before),
            _probability(each, after, example.illegal_after),
        )
        for each in actions
    ]
    if record.legality:
        rows.append(("illegal", percent(example.illegal_before), percent(example.illegal_after)))
    table = Table((action, arm.start, arm.name), tuple(rows), (action,))
    whole = example.situation
    title = whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 1]}…"
    return Figure(title, Markup(picture), note, table, "" if title == whole else whole)


def _colour(arm: Arm) -> str:
    """Return the colour of an arm's arrows: boards are light also where the page is dark."""
    return ARMS[arm.place % len(ARMS)]


def _swatch(colour: str) -> Markup:
    return Markup(drawing(18, 8, [element("rect", x=0, y=1, width=18, height=6, fill=colour)], ""))


def _probability(action: str, listed: Mapping[str, float], illegal: float) -> str:
    """Write a probability; an action that is not listed has at most the least listed, and what is left."""
    if action in listed:
        return percent(listed[action])
    if not listed:
        return "not listed"
    most = percent(max(0.0, min(1 - illegal - sum(listed.values()), *listed.values())))
    return most if most.startswith("<") else f"≤{most}"
