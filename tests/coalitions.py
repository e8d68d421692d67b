"""Benches on changes whose value is written down by hand for every coalition of components."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np

from takeback.component import Component, ComponentSet
from takeback.measure.bench import Answers, Bench
from takeback.measure.read import Ask

Value = Callable[[frozenset[str]], float]
"""From the names of the components that are tuned to a number."""

UTILITY = "utility win"
TWO_LAYERS = tuple(f"L{layer}.{part}" for layer in (0, 1) for part in ("H0", "H1", "H2", "H3", "MLP", "LN1"))


class Coalitions(Bench):
    """A bench that knows its measure without an arena of measures."""

    measures = (UTILITY,)


def additive(tuned: frozenset[str]) -> float:
    """Sum what each tuned component is worth: no two are worth the same."""
    return sum(0.01 + 0.003 * TWO_LAYERS.index(name) for name in sorted(tuned))


def redundant(*groups: str, worth: float = 1.0) -> Value:
    """Add to `additive` what any one member of each group brings in full."""
    members = [frozenset(group.split()) for group in groups]
    return lambda tuned: additive(tuned) + worth * sum(bool(tuned & group) for group in members)


def ask_about(monkeypatch: Any, value: Value, names: Iterable[str] = TWO_LAYERS, n: int = 60) -> Bench:
    """Return a bench whose hybrids are worth `value`, times a number that differs between situations.

    To it comes a number of the situation alone. Each situation is a cluster. What was asked is kept in the
    bench's pair: how many hybrids, in which situations.
    """
    universe = ComponentSet(map(Component.parse, names))
    random = np.random.default_rng(0)
    scale, offset = random.uniform(0.5, 1.5, n), random.normal(size=n)
    asked: list[tuple[int, tuple[int, ...]]] = []

    def answer(bench: Bench, asks: Iterable[Any]) -> Answers:
        places = list(bench.situations)
        sets = [ask.take_back if isinstance(ask, Ask) else ask for ask in asks]
        asked.append((len(sets), tuple(places)))
        worth = {Ask(one).key: value(frozenset(map(str, ~one))) for one in sets}
        return Answers(bench, {key: (offset + number * scale)[None, places] for key, number in worth.items()})

    monkeypatch.setattr(Bench, "answer", answer)
    anatomy = SimpleNamespace(
        universe=universe, parameters=lambda what: len(what) if isinstance(what, ComponentSet) else 1
    )
    sides = {side: SimpleNamespace(ref=side) for side in ("base", "tuned")}
    pair: Any = SimpleNamespace(anatomy=lambda: anatomy, asked=asked, **sides)
    arena: Any = SimpleNamespace(cluster=str)
    return Coalitions(pair, arena, tuple(range(n)), (UTILITY,))
