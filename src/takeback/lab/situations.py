"""Situations and readouts as plain values: what a page draws of one position, prompt or observation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from takeback.arenas import Arena, Board, ForNetworks
from takeback.arenas.listed import Listed, Shown
from takeback.arenas.rows import DrawnRows
from takeback.draw.board import LEAST, squares_of
from takeback.policies.answers import AnswerReadouts
from takeback.policies.drawn import DrawnReadouts
from takeback.policies.language.ended import IllegalAnswer
from takeback.policies.readout import Readout, Readouts

LEGAL: Final = "legal"
DIGITS: Final = 6
"""Decimals of what is sent."""

FEW: Final = 4
"""Illegal answers of a side that are sent, at most."""


def situation_of(arena: Arena[Any], situation: Any, place: int) -> dict[str, Any]:
    """Return a situation as the page draws it; see `docs/lab.md`."""
    told: dict[str, Any] = {
        "place": place,
        "text": arena.prompt(situation),
        "title": str(situation),
        "actions": list(arena.legal(situation)),
    }
    if isinstance(arena, Listed):
        listing = arena.listing(situation)
        worth = _worth(arena, situation)
        answers = [
            {
                **{name: getattr(one, name) for name in ("text", "side", "kind")},
                "worth": {name: each[number] for name, each in worth.items()},
            }
            for number, one in enumerate(listing.answers)
        ]
        return {**told, "kind": "answers", "messages": _messages(listing.shown), "answers": answers}
    if isinstance(arena, DrawnRows):
        return {**told, "kind": "answers", "messages": _messages(situation.shown), "answers": []}
    if isinstance(arena, Board) and (board := arena.board(situation)):
        return {**told, "kind": "board", "board": board}
    if isinstance(arena, ForNetworks):
        (seen,) = arena.observe([situation])
        return {**told, "kind": "network", "observation": numbers(seen), "names": None}
    return {**told, "kind": "text"}


def _worth(arena: Any, situation: Any) -> dict[str, list[float | None]]:
    """Return what goals say of each answer, where they apply."""
    goals = {name: goal for name, goal in arena.goals.items() if goal.applies([situation])[0]}
    return {name: numbers(goal.utility([situation])) for name, goal in goals.items()}


def _messages(shown: Shown) -> list[dict[str, str]]:
    if isinstance(shown, str):
        return [{"role": "", "content": shown}]
    return [{name: str(one.get(name, "")) for name in ("role", "content")} for one in shown]


def readout_of(readouts: Readouts, place: int) -> dict[str, Any]:
    """Return what a policy does in one of the situations, in the order of its actions and of kinds."""
    one, span = readouts[place], readouts.span(place)
    told: dict[str, Any] = {
        "p": numbers(readouts.probabilities[span]),
        "masses": numbers(one.illegal.values()),
        "undecided": numbers([one.undecided])[0],
        "greedy": int(readouts.greedy[place]),
    }
    if isinstance(readouts, AnswerReadouts):
        told |= {"logprobs": numbers(readouts.logprobs[span]), "tokens": None}
    if isinstance(readouts, DrawnReadouts):
        told["drawn"] = drawn_of(readouts, place)
    return told


def speaks_illegally(readouts: Readouts) -> bool:
    """Tell whether any kind of illegal answers is likely enough for an arrow, in the first situation."""
    return bool(readouts.masses[0].max(initial=0.0) >= LEAST)


def illegal_of(answers: Iterable[IllegalAnswer]) -> list[dict[str, Any]]:
    """Return the likeliest of a side's illegal answers that an arrow can show, likeliest first."""
    shown = [one for one in answers if one.probability >= LEAST and squares_of(one.text)]
    return [{"text": one.text, "kind": one.kind, "p": round(one.probability, DIGITS)} for one in shown[:FEW]]


def drawn_of(readouts: DrawnReadouts, place: int) -> list[dict[str, Any]]:
    """Return the answers that a policy drew in one of the situations."""
    each = zip(readouts.answers[place].tolist(), readouts.sorts[place].tolist(), strict=True)
    return [
        {
            "text": text,
            "kind": kind,
            "rewards": dict(zip(readouts.rewards, numbers(readouts.worth[place, :, draw]), strict=True)),
        }
        for draw, (text, kind) in enumerate(each)
    ]


def outcome_of(one: Readout) -> str:
    """Return what is likeliest: `legal`, or a kind of other answers."""
    masses: Mapping[str, float] = {LEGAL: sum(one.legal.values()), **one.illegal}
    return max(masses, key=masses.__getitem__)


def numbers(values: Iterable[Any], digits: int = DIGITS) -> list[float | None]:
    """Return numbers that JSON has: rounded, None for what is none.

    >>> numbers([0.12345678, float("nan")])
    [0.123457, None]
    """
    array: list[float] = np.array([*values], np.float64).round(digits).tolist()
    return [value if np.isfinite(value) else None for value in array]


def significant(values: Iterable[float | None]) -> list[float | None]:
    """Return numbers to five significant digits, None for what is none.

    >>> significant([0.123456789, None])
    [0.12346, None]
    """
    return [None if value is None or not np.isfinite(value) else float(f"{value:.5g}") for value in values]
