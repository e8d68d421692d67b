"""Everything that can be asked of what a change is made of, by the names the command line uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from takeback.draw.result import Result, Results
from takeback.findings.localise.curves import MOST, Curves, Halves, curves
from takeback.findings.localise.directions import directions
from takeback.findings.localise.groups import groups
from takeback.findings.localise.orders import (
    ATTRIBUTION,
    DENSITY,
    EXACT,
    GREEDY,
    INVARIANT,
    NORM,
    ORDERS,
    RANDOM,
    Order,
    at_random,
    by_attribution,
    by_effect,
    by_weights,
    greedy,
)
from takeback.findings.localise.others import other_sources
from takeback.findings.localise.pairs import pairs
from takeback.findings.localise.search import Search
from takeback.findings.localise.shapley import Orders, Players, shapley
from takeback.findings.localise.shares import Controls, NoChange, changes_of, every_set, shares
from takeback.findings.localise.smallest import smallest_sets
from takeback.findings.localise.strength import strength
from takeback.findings.sweep.run import squared_norms
from takeback.findings.sweep.sets import NamedSet, chosen_sets
from takeback.measure.bench import Bench
from takeback.run.errors import TakebackError, unknown_name
from takeback.weights import Diff, diff
from takeback.weights.circuits import circuits

Value = TypeVar("Value")

FEW = 3
"""Random sets of each make-up beside sets that are read at many degrees or from many sources."""


@dataclass(frozen=True)
class LocaliseSettings:
    """How a change is localised.

    Attributes:
        sets: families of sets, or sets by name, beside every single component; None for all families.
        orders: names of `ORDERS`.
        carried: the share of the change that the smallest sets are to carry.
        points: sets along a curve at most.
        rounds: of the greedy order, None to the end; each reads a hybrid for every component left.
        controls: random sets for each make-up.
        random_orders: how many.
        seed: of the split in halves, of random sets and of random orders.
    """

    sets: tuple[str, ...] | None = None
    orders: tuple[str, ...] = tuple(ORDERS)
    carried: float = 0.9
    points: int = MOST
    rounds: int | None = None
    controls: int = 19
    random_orders: int = 9
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.carried <= 1:
            raise TakebackError(f"the share to carry is between 0 and 1, such as 0.9, not {self.carried:g}")


@dataclass(frozen=True)
class Localisation:
    """What is asked, and what its parts share, made when it is first needed."""

    bench: Bench
    settings: LocaliseSettings

    @cached_property
    def moved(self) -> Diff:
        """The diff of the pair."""
        return diff(self.bench.pair)

    @cached_property
    def controls(self) -> Controls:
        """How random sets are drawn."""
        return Controls(squared_norms(self.moved), self.settings.controls, self.settings.seed)

    @property
    def few(self) -> Controls:
        """How a few random sets are drawn, for what reads a set many times."""
        return replace(self.controls, number=min(FEW, self.settings.controls))

    @property
    def large(self) -> list[NamedSet]:
        """The sets of several components."""
        chosen = chosen_sets(self.bench.anatomy, self.settings.sets)
        return [named for named in chosen if len(named.components) > 1]

    @cached_property
    def halves(self) -> Halves:
        """The situations to select on and those to evaluate on; both have to show the change."""
        halves = Halves.of(self.bench, self.settings.seed)
        for half in (halves.selection, halves.evaluation):
            changes_of(half)
        return halves

    @cached_property
    def curves(self) -> Curves:
        """The curves of all orders."""
        orders = [
            order for name in self.settings.orders for order in _named(ORDERED, "order", name)(self, name)
        ]
        return curves(self.halves, orders, self.settings.points)


def _by_weights(asked: Localisation, name: str) -> list[Order]:
    if name == INVARIANT and asked.bench.of_networks:
        return []
    moved = circuits(asked.bench.pair) if name == INVARIANT else None
    return [order for order in by_weights(asked.bench, asked.moved, moved) if order.name == name]


def _by_attribution(asked: Localisation, _: str) -> list[Order]:
    from takeback.findings.attribution.attribution import attribute

    if asked.bench.of_networks:
        return []
    measures = [measure.name for measure in asked.bench.asked.values() if not measure.jumps]
    selection = asked.halves.selection.about(*measures)
    return by_attribution(selection, attribute(selection).of) if measures else []


ORDERED: Mapping[str, Callable[[Localisation, str], list[Order]]] = {
    GREEDY: lambda asked, _: greedy(asked.halves.selection, asked.settings.rounds),
    EXACT: lambda asked, _: by_effect(asked.halves.selection),
    ATTRIBUTION: _by_attribution,
    NORM: _by_weights,
    DENSITY: _by_weights,
    INVARIANT: _by_weights,
    RANDOM: lambda asked, _: at_random(asked.bench, asked.settings.random_orders, asked.settings.seed),
}
"""How each order is made; see `ORDERS` for what it goes by."""

PARTS: Mapping[str, Callable[[Localisation], Result]] = {
    "shares": lambda asked: shares(
        asked.bench, every_set(asked.bench.anatomy, asked.settings.sets), asked.controls
    ),
    "curves": lambda asked: asked.curves,
    "carriers": lambda asked: smallest_sets(
        asked.halves, asked.curves, asked.controls, asked.settings.carried
    ),
    "groups": lambda asked: groups(asked.bench, asked.controls, Search(seed=asked.settings.seed)),
    "pairs": lambda asked: pairs(asked.bench, seed=asked.settings.seed),
    "shapley": lambda asked: shapley(
        asked.bench, Players.of(asked.bench.anatomy.universe), Orders(seed=asked.settings.seed)
    ),
    "strength": lambda asked: strength(asked.bench, asked.large, asked.few),
    "directions": lambda asked: directions(asked.bench),
    "sources": lambda asked: other_sources(asked.bench, asked.large, asked.few),
}
"""What can be asked, by name."""

DEFAULT = ("shares", "curves", "carriers", "groups")
"""What is asked unless said otherwise."""


def localise(
    bench: Bench,
    what: Sequence[str] = DEFAULT,
    settings: LocaliseSettings | None = None,
) -> Results:
    """Tell what a change is made of: each of `what`, names of `PARTS`.

    For n components and one measure the curves read 2 n hybrids for each order, in each half of the
    situations; the greedy order reads n² more in one half. What the bench's store holds is not read again.

    Raises:
        UnknownName: there is no such part or order.
        NoChange: no part could tell a measure's change from 0; if some could, the others are named in words.
        TakebackError: a part fails.
    """
    parts = {name: _named(PARTS, "part", name) for name in what}
    asked = Localisation(bench, settings or LocaliseSettings())
    for name in asked.settings.orders:
        _named(ORDERED, "order", name)
    title = str(bench.pair)
    words = (
        f"{len(bench.situations)} situations. Shares are of the difference between tuned and base: taking "
        "a set back shows whether the change needs it, grafting it onto base whether it is enough.",
    )
    found: dict[str, Result] = {}
    for name, find in parts.items():
        try:
            found[name] = find(asked)
        except NoChange as error:
            words += (f"Without {name}: {error}",)
    if not found:
        raise NoChange("; ".join(words[1:]))
    return Results(title, words, found, "localise")


def _named(known: Mapping[str, Value], kind: str, name: str) -> Value:
    if name not in known:
        raise unknown_name(kind, name, known)
    return known[name]
