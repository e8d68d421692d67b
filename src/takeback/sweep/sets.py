"""Which sets a sweep takes back: families such as "each head", sets by name, and random sets beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from takeback.anatomy import Anatomy
from takeback.component import Component, ComponentSet

FAMILIES = ("each head", "each mlp", "heads of each layer", "each layer", "each kind")
"""The families of sets that a sweep takes by default."""

SAME_SIZE = "random, same size"
SAME_NORM = "random, same ‖Δ‖"

_CANDIDATES = 256


@dataclass(frozen=True)
class NamedSet:
    """A component set with the name and family it has in tables; a control says what it `matches`."""

    family: str
    name: str
    components: ComponentSet
    matches: str = ""


def chosen_sets(anatomy: Anatomy, requests: Iterable[str]) -> list[NamedSet]:
    """Turn requests into sets: a family's name gives its sets, any other text is parsed as one set.

    Raises:
        UnknownName: a request is neither a family nor made of components' names.
    """
    chosen: list[NamedSet] = []
    for request in requests:
        if request in FAMILIES or request[:1].islower():
            members = anatomy.named_sets(request)
            chosen += [NamedSet(request, name, components) for name, components in members.items()]
        else:
            chosen.append(NamedSet("by name", request, anatomy.parse(request)))
    return chosen


def random_controls(
    anatomy: Anatomy,
    sets: Iterable[NamedSet],
    delta: Mapping[Component, float],
    number: int,
    seed: int,
) -> list[NamedSet]:
    """Draw random sets that match the given ones, through the same door as the real sets.

    Two kinds are drawn. *Same size*: for every make-up (so many heads, so many MLPs) among the sets, `number`
    sets of that make-up, hence of equal parameter count. *Same ‖Δ‖*: for every set, the one among many other
    random sets of its make-up whose ‖Δ‖² is nearest to its own. No set is drawn twice. A set that is alone in
    its make-up (all heads) has random sets of about its size instead, where there are any. Single components
    have none: their siblings are their controls.

    Args:
        anatomy: where the components are.
        sets: the sets to match.
        delta: ‖Δ‖² of every component.
        number: how many sets of each make-up.
        seed: of the draws.
    """
    sets = list(sets)
    random = np.random.default_rng(seed)
    taken = {named.components for named in sets}
    controls: list[NamedSet] = []
    for make_up in sorted({_make_up(named.components) for named in sets}):
        alike = [named for named in sets if _make_up(named.components) == make_up]
        if sum(count for _, count in make_up) < 2:
            continue
        fresh = [drawn for drawn in _draws(anatomy, make_up, random) if drawn not in taken]
        if not fresh:
            size = anatomy.parameters(alike[0].components)
            fresh = [drawn for drawn in _draws_of_size(anatomy, size, random) if drawn not in taken]
        if not fresh:
            continue
        label = alike[0].name if len(alike) == 1 else alike[0].family
        for place, drawn in enumerate(fresh[:number]):
            controls.append(NamedSet(SAME_SIZE, f"random {label} #{place + 1}", drawn, matches=label))
        left = fresh[number:]
        for named in alike[: len(left)]:
            nearest = _nearest(named.components, left, delta)
            left.remove(nearest)
            controls.append(NamedSet(SAME_NORM, f"random ‖Δ‖ of {named.name}", nearest, matches=named.name))
    return controls


def _make_up(components: ComponentSet) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(Counter(component.kind for component in components).items()))


def _draws(
    anatomy: Anatomy, make_up: tuple[tuple[str, int], ...], random: np.random.Generator
) -> list[ComponentSet]:
    kinds = {kind: [c for c in anatomy.universe if c.kind == kind] for kind, _ in make_up}
    drawn: dict[ComponentSet, None] = {}
    for _ in range(_CANDIDATES):
        members = [
            kinds[kind][place]
            for kind, count in make_up
            for place in random.choice(len(kinds[kind]), count, replace=False)
        ]
        drawn[ComponentSet(members, anatomy.universe)] = None
    return list(drawn)


def _draws_of_size(anatomy: Anatomy, size: int, random: np.random.Generator) -> list[ComponentSet]:
    everything = list(anatomy.universe)
    drawn: dict[ComponentSet, None] = {}
    for _ in range(_CANDIDATES):
        members: list[Component] = []
        room = size
        for place in random.permutation(len(everything)):
            needed = anatomy.parameters(everything[place])
            if needed <= room:
                members.append(everything[place])
                room -= needed
        drawn[ComponentSet(members, anatomy.universe)] = None
    return sorted(drawn, key=lambda components: size - anatomy.parameters(components))


def _nearest(
    target: ComponentSet, pool: list[ComponentSet], delta: Mapping[Component, float]
) -> ComponentSet:
    wanted = sum(delta[component] for component in target)
    return min(pool, key=lambda drawn: abs(sum(delta[component] for component in drawn) - wanted))
