"""Situations and readouts as plain values: what a page draws of one position, prompt or observation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from takeback.arenas import Arena, Board, ForNetworks
from takeback.arenas.listed import Listed
from takeback.policies.answers import AnswerReadouts
from takeback.policies.readout import Readout, Readouts

DIGITS = 6
"""Decimals of probabilities that are sent."""


def situation_of(arena: Arena[Any], situation: Any, place: int) -> dict[str, Any]:
    """Return a situation as the page draws it; see `docs/lab.md`."""
    text = arena.prompt(situation)
    told: dict[str, Any] = {"place": place, "text": text, "title": str(situation)}
    told["actions"] = list(arena.legal(situation))
    if isinstance(arena, Listed):
        return {**told, "kind": "answers", **_answers(arena, situation)}
    if isinstance(arena, Board) and (board := arena.board(situation)):
        return {**told, "kind": "board", "board": board}
    if isinstance(arena, ForNetworks):
        (seen,) = arena.observe([situation])
        return {**told, "kind": "network", "observation": numbers(seen), "names": None}
    return {**told, "kind": "text"}


def _answers(arena: Any, situation: Any) -> dict[str, Any]:
    listing = arena.listing(situation)
    worth = {name: goal.utility([situation]) for name, goal in arena.goals.items()}
    answers = [
        {
            "text": one.text,
            "side": one.side,
            "kind": one.kind,
            "worth": {name: numbers([each[place]])[0] for name, each in worth.items()},
        }
        for place, one in enumerate(listing.answers)
    ]
    return {"messages": [], "answers": answers, "tokens": None}


def readout_of(readouts: Readouts, place: int) -> dict[str, Any]:
    """Return what a policy does in one of the situations, in the order of its actions and of kinds."""
    one, span = readouts[place], readouts.span(place)
    told: dict[str, Any] = {
        "p": numbers(one.legal.values()),
        "masses": numbers(one.illegal.values()),
        "undecided": numbers([one.undecided])[0],
        "greedy": int(readouts.greedy[place]),
    }
    if isinstance(readouts, AnswerReadouts):
        told |= {"logprobs": numbers(readouts.logprobs[span]), "tokens": None}
    return told


def outcome_of(one: Readout) -> str:
    """Return what is likeliest: `legal`, or a kind of other answers."""
    masses: Mapping[str, float] = {"legal": sum(one.legal.values()), **one.illegal}
    return max(masses, key=masses.__getitem__)


def numbers(values: Any, digits: int = DIGITS) -> list[float | None]:
    """Return numbers that JSON has: rounded, None for what is none.

    >>> numbers([0.12345678, float("nan")])
    [0.123457, None]
    """
    array: Sequence[float] = np.asarray(list(values), np.float64).round(digits).tolist()
    return [value if np.isfinite(value) else None for value in array]
