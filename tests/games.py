"""Games in the place of models: what a hybrid does is a formula, so that every share is known."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

import models
from takeback.anatomy import anatomy_of
from takeback.component import Component
from takeback.measure.bench import Answers, Bench
from takeback.measure.read import Ask

ANATOMY = anatomy_of(models.on_meta("gpt2"))
"""2 layers with 3 heads each."""


class Game(Bench):
    """A bench whose measure `gain` is `worth` of the components that are tuned, in each situation."""

    anatomy, measures = ANATOMY, ("gain",)


def part(name: str) -> Component:
    return Component.parse(name)


def game(situations: int = 24, cluster: int = 2) -> Game:
    """Ask about situations 0, 1, …, of which neighbours are in one cluster."""
    side = SimpleNamespace(base=SimpleNamespace(ref="base"), tuned=SimpleNamespace(ref="tuned"))
    arena = SimpleNamespace(cluster=lambda one: one // cluster)
    return Game(side, arena, tuple(range(situations)), ("gain",))


Worth = Callable[[frozenset[str], int], float]


def answering(worth: Worth, asked: list[tuple[int, ...]] | None = None):
    """Return what answers in the place of `Bench.answer`: a base and a scale for each situation."""

    def answer(bench, asks):
        if asked is not None:
            asked.append(bench.situations)
        sets = {ask.take_back if isinstance(ask, Ask) else ask for ask in asks}
        numbers = {}
        for taken in sets:
            kept = frozenset(str(component) for component in ~taken)
            values = [0.1 * (one % 5) + (1 + one % 3) * worth(kept, one) for one in bench.situations]
            numbers[Ask(taken).key] = np.array([values])
        return Answers(bench, numbers)

    return answer


def additive(**weights: float) -> Worth:
    """Return a worth that adds weights; `L0_H1` is the component L0.H1."""
    named = {name.replace("_", "."): weight for name, weight in weights.items()}
    return lambda kept, _: sum(weight for name, weight in named.items() if name in kept)
