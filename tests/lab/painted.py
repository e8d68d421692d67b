"""Labs without a model: scenes of any size, and answers that are made up."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from takeback.draw.board import BEFORE, style
from takeback.draw.colour import STEPS, variables
from takeback.lab.lab import Seat

Message = dict[str, Any]
ACTIONS = ["left", "right", "stay"]


def scene(layers: int, heads: int, situations: int, course: int = 0) -> Message:
    """Return a scene of so many layers of heads and an MLP each, with so many situations and snapshots."""
    rows = [
        ("EMBED", None, "EMBED", None),
        *[
            (f"L{layer}.{kind}{'' if index is None else index}", layer, kind, index)
            for layer in range(layers)
            for kind, index in [*(("H", head) for head in range(heads)), ("MLP", None)]
        ],
        ("UNEMBED", None, "UNEMBED", None),
    ]
    names, where, kinds, indices = map(list, zip(*rows, strict=True))
    who = {"arm": "a", "seed": 0}
    views = [{"key": f"step-{n}", "title": f"step {n}", **who, "step": n} for n in range(course)]
    whole = {"key": "whole", "title": "a", **who, "step": None}
    every = range(len(names))
    measure = {"role": "utility", "goal": "g", "feature": None, "kind": None, "if_legal": False}
    return {
        "schema": 1, "title": "made up", "base": "one", "tuned": "other", "arena": "none", "live": True,
        "views": [whole, *views], "view": "whole", "words": {"action": "step", "situation": "place"},
        "components": {
            "name": names, "layer": where, "kind": kinds, "index": indices, "parameters": [9] * len(names),
        },
        "rows": [{"layer": layer, "title": f"L{layer}"} for layer in range(layers)],
        "columns": [
            *({"title": f"H{head}", "kind": "H", "index": head} for head in range(heads)),
            {"title": "MLP", "kind": "MLP", "index": None},
        ],
        "colourings": [{
            "key": "weights w", "group": "weights", "title": "w", "words": "w", "scale": "sequential",
            "limit": 1.0, "values": [(one * 37 % 100) / 100 for one in every], "low": None, "high": None,
            "null": [0.1 for _ in every],
        }],
        "measures": [{"name": "utility g", "words": "g", **measure}],
        "kinds": ["none such"], "sources": [{"name": "base", "words": "base", "numbers": []}], "sets": [],
        "situations": {
            "text": [f"place {n}" for n in range(situations)],
            "distance": [(n * 31 % situations) / situations for n in range(situations)],
            "flip": [int(n % 7 == 0) for n in range(situations)],
            "features": {"even": [int(n % 2 == 0) for n in range(situations)]},
        },
        "features": ["even"], "typed": None, "draws": False,
        "course": [{"arm": "a", "seed": 0, "measures": {"utility g": {
            "step": [*range(course)], "value": [n / 10 for n in range(course)],
            "low": [None] * course, "high": [None] * course,
        }}}] if course else [],
        "draw": {
            "light": variables(dark=False), "dark": variables(dark=True), "steps": STEPS, "before": BEFORE,
            "board": style(),
        },
    }  # fmt: skip


class Painted:
    """Stands in for a lab: tells a scene, and of a selection how long its text is."""

    def __init__(self, told: Message) -> None:
        self.told, self.asked = told, list[Mapping[str, Any]]()

    def seat(self) -> Seat:
        """Return the seat of a new page."""
        return Seat("whole")

    def think(self, seats: Sequence[Seat], waited: Any) -> list[tuple[Seat, Message]]:
        """Think of nothing."""
        return []

    def idle(self, seats: Sequence[Seat]) -> bool:
        """Tell that there is nothing to think of."""
        return True

    def answers(self, seat: Seat, message: Mapping[str, Any]) -> Generator[Message]:
        """Answer at once."""
        self.asked.append(message)
        if message["type"] in ("hello", "open"):
            yield {"type": "scene", "scene": {**self.told, "view": message.get("view", "whole")}}
        if message["type"] == "sweep":
            yield {"type": "progress", "doing": "taking back", "done": 1, "of": 2}
            yield {"type": "colouring", "colouring": self._effects()}
        if message["type"] == "select":
            yield self._answer(message)
            count = len(self.told["situations"]["text"])
            distance = [(n * 17 % count) / count for n in range(count)]
            flips = {"flip": [0] * count, "outcome": ["legal"] * count}
            yield {"type": "changes", "read": count, "distance": distance, **flips}
            effect = {
                "measure": "utility g",
                "value": 0.5,
                "effect": 0.25,
                "low": 0.125,
                "high": 0.375,
                "n": count,
            }
            yield {"type": "effects", "read": count, "of": count, "effects": [effect], "thin": None}

    def _effects(self) -> Message:
        """Return effects of which every other one is told from 0."""
        count = len(self.told["components"]["name"])
        values = [(one % 5 - 2) / 10 or 0.1 for one in range(count)]
        return {
            "key": "effects utility g", "group": "effects", "title": "utility g", "words": "alone",
            "scale": "diverging", "limit": 0.2, "values": values, "null": None,
            "low": [value - 0.05 - (place % 2) for place, value in enumerate(values)],
            "high": [value + 0.05 + (place % 2) for place, value in enumerate(values)],
        }  # fmt: skip

    def _answer(self, message: Mapping[str, Any]) -> Message:
        place = message["situation"]
        text = self.told["situations"]["text"][place]
        share = min(1.0, len(message["set"]) / 1000)
        side = {"masses": [0.0], "undecided": 0.0, "greedy": 0}
        chances = {"base": [1, 0, 0], "tuned": [0, 1, 0], "hybrid": [share, 1 - share, 0]}
        sides = {name: {**side, "p": p} for name, p in chances.items()}
        return {
            "type": "answer", "set": message["set"], "sides": sides,
            "situation": {"place": place, "text": text, "title": text, "actions": ACTIONS, "kind": "text"},
        }  # fmt: skip
