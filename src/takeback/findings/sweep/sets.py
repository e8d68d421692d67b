"""Which sets a sweep takes back: families such as "each head", sets by name, and random sets beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from takeback.anatomy import Anatomy
from takeback.anatomy.sets import SET_FAMILIES, families_of
from takeback.component import Component, ComponentSet
from takeback.run.errors import UnknownName, unknown_name

FAMILIES = tuple(SET_FAMILIES)
"""The families of sets by name."""

SAME_SIZE = "random, same size"
SAME_NORM = "random, same ‖Δ‖"
ABOUT_SIZE = "random, about its size"
OTHER_SIZE = "random, of another size"
CONTROLS = (SAME_SIZE, SAME_NORM, ABOUT_SIZE, OTHER_SIZE)
"""The families of random sets."""

_CANDIDATES = 256

_ABOUT = 1.25
"""A control is about as large as its set if their parameter counts differ by this factor at most."""

MakeUp = tuple[tuple[str, int], ...]
"""How many components of each kind a set has, by kind; of tensors, by `Component.alike`."""


@dataclass(frozen=True)
class NamedSet:
    """A component set with the family and name it has in tables; a control names the sets it matches."""

    family: str
    name: str
    components: ComponentSet
    matches: tuple[str, ...] = ()


def chosen_sets(anatomy: Anatomy, requests: Iterable[str] | None) -> list[NamedSet]:
    """Turn requests into sets: a family's name gives its sets, any other text is parsed as one set.

    With None all families are taken that the model has sets of.

    Raises:
        UnknownName: a request is neither a family nor made of components' names.
        TakebackError: the model has nothing of a family.
    """
    chosen: dict[NamedSet, None] = {}
    for request in families_of(anatomy.universe) if requests is None else requests:
        if request in FAMILIES:
            members = anatomy.named_sets(request)
            chosen |= {NamedSet(request, name, components): None for name, components in members.items()}
        else:
            chosen[NamedSet("by name", request, _by_name(anatomy, request))] = None
    return list(chosen)


def _by_name(anatomy: Anatomy, request: str) -> ComponentSet:
    try:
        return anatomy.parse(request)
    except UnknownName:
        if request[:1].islower():
            raise unknown_name("family of sets", request, FAMILIES) from None
        raise


def random_controls(
    anatomy: Anatomy, sets: Sequence[NamedSet], delta: Mapping[Component, float], number: int, seed: int
) -> list[NamedSet]:
    """Draw random sets that match the given ones, through the same door as the real sets.

    *Same size*: for every make-up (so many heads, so many MLPs) among the sets, `number` other sets of that
    make-up, hence of equal parameter count. *Same ‖Δ‖*: for every set of several components, the one among
    many further sets of its make-up whose ‖Δ‖² is nearest to its own. *About its size*: a set that is alone
    in its make-up (all heads) has instead random sets of at most its parameter count that share as little
    with it as they can, one more of them by ‖Δ‖. *Of another size*: what stands in their place where nothing
    else is so small (all norms have single components) or fills it (within a factor of 1.25); their names say
    both parameter counts. No set is drawn twice for one make-up. Single components whose siblings are all
    among the sets need no others.

    Args:
        anatomy: where the components are.
        sets: the sets to match.
        delta: ‖Δ‖² of every component.
        number: how many sets of each make-up.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    taken = {named.components for named in sets}
    controls: list[NamedSet] = []
    for make_up in sorted({_make_up(named.components) for named in sets if named.components}):
        alike = [named for named in sets if _make_up(named.components) == make_up]
        names = tuple(dict.fromkeys(named.name for named in alike))
        fresh = [drawn for drawn in _draws(anatomy, make_up, random) if drawn not in taken]
        label = ", ".join(f"{count} {kind}" for kind, count in make_up)
        for place, drawn in enumerate(fresh[:number]):
            controls.append(NamedSet(SAME_SIZE, f"random ({label}) #{place + 1}", drawn, names))
        if not fresh and len(alike) == 1:
            controls += _about_its_size(anatomy, alike[0], delta, number, random)
        elif sum(count for _, count in make_up) > 1:
            controls += _norm_matched(alike, fresh[number:], delta)
    return controls


def _make_up(components: ComponentSet) -> MakeUp:
    return tuple(sorted(Counter(component.alike for component in components).items()))


def _draws(anatomy: Anatomy, make_up: MakeUp, random: np.random.Generator) -> list[ComponentSet]:
    kinds = {kind: [c for c in anatomy.universe if c.alike == kind] for kind, _ in make_up}
    drawn: dict[ComponentSet, None] = {}
    for _ in range(_CANDIDATES):
        members = [
            kinds[kind][place]
            for kind, count in make_up
            for place in random.choice(len(kinds[kind]), count, replace=False)
        ]
        drawn[ComponentSet(members, anatomy.universe)] = None
    return list(drawn)


def _norm_matched(
    sets: Sequence[NamedSet], pool: list[ComponentSet], delta: Mapping[Component, float]
) -> Iterator[NamedSet]:
    norms = {drawn: sum(delta[component] for component in drawn) for drawn in pool}
    for named in sets[: len(pool)]:
        wanted = sum(delta[component] for component in named.components)
        nearest = min(norms, key=lambda drawn: abs(norms[drawn] - wanted))
        del norms[nearest]
        yield NamedSet(SAME_NORM, f"random ‖Δ‖ of {named.name}", nearest, (named.name,))


def _about_its_size(
    anatomy: Anatomy,
    named: NamedSet,
    delta: Mapping[Component, float],
    number: int,
    random: np.random.Generator,
) -> Iterator[NamedSet]:
    everything = list(anatomy.universe)
    sizes = [anatomy.parameters(component) for component in everything]
    inside = np.array([component in named.components for component in everything])
    size = sum(one for one, held in zip(sizes, inside, strict=True) if held)
    drawn: dict[ComponentSet, None] = {}
    for _ in range(_CANDIDATES):
        order = random.permutation(len(everything))
        members: list[int] = []
        room = size
        for place in order[np.argsort(inside[order], kind="stable")].tolist():  # strangers first
            if sizes[place] <= room:
                members.append(place)
                room -= sizes[place]
        if inside[members].all():
            members = sorted(order[~inside[order]].tolist(), key=sizes.__getitem__)[:1]
        drawn[ComponentSet((everything[place] for place in members), anatomy.universe)] = None
    others = [components for components in drawn if components != named.components]

    def fits(one: ComponentSet, shared: int) -> bool:
        large = anatomy.parameters(one) * _ABOUT >= size >= anatomy.parameters(one)
        return large and anatomy.parameters(one & named.components) <= shared

    for place, components in enumerate(others[:number]):
        about = f"random, about {named.name} #{place + 1}"
        count = anatomy.parameters(components)
        if max(count, size) <= _ABOUT * min(count, size):
            yield NamedSet(ABOUT_SIZE, about, components, (named.name,))
        else:
            told = f"random beside {named.name}: {count:,} parameters, not {size:,} #{place + 1}"
            yield NamedSet(OTHER_SIZE, told, components, (named.name,))
    shared = max((anatomy.parameters(one & named.components) for one in others[:number]), default=0)
    yield from _norm_matched([named], [one for one in others[number:] if fits(one, shared)], delta)
