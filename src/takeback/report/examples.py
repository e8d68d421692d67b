"""Example positions: what the base and the tuned policy would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from takeback.draw.board import BEFORE, Arrows, board
from takeback.draw.colour import ARMS
from takeback.draw.numbers import count, number, percent
from takeback.draw.page import Figure, Table
from takeback.draw.svg import drawing, element
from takeback.report.record import Arm, Record
from takeback.report.rows import Example
from takeback.report.terms import Terms

FIRST = 4
"""Positions that are shown at once; the others unfold."""

MOSTLY = 0.5
"""Illegal mass from which a position says why it has no arrows."""


@dataclass(frozen=True)
class Card:
    """A situation with its table of likeliest actions; `whole` is its text where the title shortens it."""

    figure: Figure
    moves: Table
    whole: str


@dataclass(frozen=True)
class ArmExamples:
    """The positions of one arm and seed."""

    arm: Arm
    seed: int
    swatches: tuple[Markup, Markup]
    first: tuple[Card, ...]
    others: tuple[Card, ...]


def examples(record: Record) -> tuple[ArmExamples, ...]:
    """Draw the positions that training changed most, by arm, of its first seed."""
    if record.examples is None:
        return ()
    shown: list[ArmExamples] = []
    for arm in record.arms:
        cards = tuple(
            _card(record.terms, arm, example) for example in record.examples[arm.name, arm.seeds[0]]
        )
        swatches = (_swatch(BEFORE), _swatch(_colour(arm)))
        if cards:
            shown.append(ArmExamples(arm, arm.seeds[0], swatches, cards[:FIRST], cards[FIRST:]))
    return tuple(shown)


def _card(terms: Terms, arm: Arm, example: Example) -> Card:
    arrows = [Arrows(example.before, BEFORE, arm.start, -1), Arrows(example.after, _colour(arm), arm.name, 1)]
    picture = board(example.board, arrows, f"position {example.situation}") if example.board else ""
    note = f"total variation {number(example.distance, 2)}"
    if terms.legality and example.illegal_after > MOSTLY:
        note += f"; after training, {percent(example.illegal_after)} of the answers here are illegal"
    before, after = dict(example.before), dict(example.after)
    actions = sorted(
        {*before, *after}, key=lambda action: (-max(after.get(action, 0), before.get(action, 0)), action)
    )
    rows = [
        (
            action,
            _probability(action, before, example.illegal_before),
            _probability(action, after, example.illegal_after),
        )
        for action in actions
    ]
    if terms.legality:
        rows.append(("illegal", percent(example.illegal_before), percent(example.illegal_after)))
    title = _path(example.situation) if terms.environment else example.situation
    head = (terms.action, arm.start, arm.name)
    return Card(
        Figure.of(title, picture, note),
        Table(head, tuple(rows), (terms.action,)),
        "" if title == example.situation else example.situation,
    )


def _path(situation: str) -> str:
    """Shorten a situation of an environment, a reset seed and the actions since.

    >>> _path("17: 0 0 1"), _path("17:")
    ('seed 17, 3 actions in', 'seed 17, at its start')
    """
    seed, _, actions = situation.partition(":")
    taken = len(actions.split())
    return f"seed {seed}, {count(taken, 'action')} in" if taken else f"seed {seed}, at its start"


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
