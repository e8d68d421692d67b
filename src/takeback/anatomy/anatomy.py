"""The anatomy of a model: a partition of every parameter entry into components."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import TypeAlias

from takeback.anatomy.region import Region
from takeback.anatomy.sets import named_sets, parse_set
from takeback.component import TENSOR, Component, ComponentSet
from takeback.run.errors import unknown_name


@dataclass(frozen=True, slots=True)
class Cut:
    """Gives `count` stretches of `width` on an axis of a tensor, from `start`, to components in a row.

    `index` is that of the first component (None for kinds without one); `axis` None means the whole tensor.
    """

    tensor: str
    kind: str
    layer: int | None
    index: int | None = None
    axis: int | None = None
    start: int = 0
    width: int = 0
    count: int = 1

    def component(self, place: int) -> Component:
        """Return the owner of the stretch at `place`, 0 to `count` - 1."""
        if self.kind == TENSOR:
            return Component.of_tensor(self.tensor)
        return Component(self.kind, self.layer, None if self.index is None else self.index + place)

    def region(self, place: int) -> Region:
        """Return the stretch at `place`, 0 to `count` - 1."""
        if self.axis is None:
            return Region(self.tensor)
        start = self.start + place * self.width
        return Region(self.tensor, self.axis, start, start + self.width)

    def between(self, first: Component, last: Component) -> Region | None:
        """Return what the components `first` to `last` of this kind and layer own here, if anything."""
        start = max(0, (first.index or 0) - (self.index or 0))
        stop = min(self.count, (last.index or 0) - (self.index or 0) + 1)
        if start >= stop:
            return None
        if self.axis is None:
            return Region(self.tensor)
        edges = (self.start + place * self.width for place in (start, stop))
        return Region(self.tensor, self.axis, *edges)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Tells which entries of which tensors belong to which component; each entry belongs to exactly one.

    `heads` counts query heads and `groups` key/value heads in a layer; `shapes` has the tensors by canonical
    name; `stored` names, for tensors that files hold in parts, the parts of each slice on the first axis.
    """

    family: str
    resolution: str
    layers: int
    heads: int
    groups: int
    shapes: Mapping[str, tuple[int, ...]] = field(repr=False)
    cuts: Mapping[str, tuple[Cut, ...]] = field(repr=False)
    absent: Mapping[str, str] = field(repr=False)
    stored: Mapping[str, tuple[tuple[str, ...], ...]] = field(repr=False)

    @cached_property
    def universe(self) -> ComponentSet:
        """The set of all components."""
        series = {(*_series(cut), cut.index, cut.count): cut for cuts in self.cuts.values() for cut in cuts}
        components = [cut.component(place) for cut in series.values() for place in range(cut.count)]
        return ComponentSet(components, absent=self.absent)

    @property
    def note(self) -> str | None:
        """What is missing of a model that is known by tensors and layers only, in one line."""
        return self.absent["H"] if self.resolution == "tensors" else None

    def parse(self, text: str) -> ComponentSet:
        """Read a set of this model's components from its text form or its family's name; see `parse_set`.

        Raises:
            UnknownName: a name or wildcard matches nothing in this model.
        """
        return parse_set(text, self.universe)

    def of_tensor(self, name: str) -> list[tuple[Component, Region]]:
        """Return who owns what of the tensor `name`, in the order of its axis: a partition of the tensor.

        `cuts[name]` says the same without an object for each neuron.

        Raises:
            UnknownName: the model has no tensor of this name.
        """
        if name not in self.cuts:
            raise unknown_name("tensor", name, self.cuts)
        places = [(cut, place) for cut in self.cuts[name] for place in range(cut.count)]
        return [(cut.component(place), cut.region(place)) for cut, place in places]

    def regions(self, what: Component | ComponentSet) -> tuple[Region, ...]:
        """Return the regions of a component or of a set, those that touch joined, a tensor in full as one.

        Raises:
            UnknownName: the model has no such component.
            TakebackError: the set is of another model or resolution.
        """
        runs = _runs(what & self.universe) if isinstance(what, ComponentSet) else [(what, what)]
        pieces: dict[str, list[Region]] = {}
        for first, last in runs:
            for cut in self._owned.get(_series(first), ()):
                if (region := cut.between(first, last)) is not None:
                    pieces.setdefault(cut.tensor, []).append(region)
        if isinstance(what, Component) and not pieces:
            ComponentSet([what], self.universe)  # says which components there are
        order = sorted(pieces, key=self._places.__getitem__)
        return tuple(region for name in order for region in _joined(pieces[name], self.shapes[name]))

    def parts(self, region: Region) -> tuple[tuple[str, ...], ...]:
        """Return the stored tensors that make each slice of a region, if files hold its tensor in parts."""
        parts = self.stored.get(region.tensor, ())
        return parts[region.start : region.stop] if region.axis == 0 else parts

    def parameters(self, what: Component | ComponentSet) -> int:
        """Return how many parameter entries a component or a set owns.

        Raises:
            UnknownName: the model has no such component.
            TakebackError: the set is of another model or resolution.
        """
        return sum(self.size(region) for region in self.regions(what))

    def size(self, region: Region) -> int:
        """Return how many entries a region of one of this model's tensors has."""
        shape = self.shapes[region.tensor]
        if region.axis is None:
            return math.prod(shape)
        length = shape[region.axis]
        return math.prod(shape) // length * len(range(length)[region.start : region.stop])

    def named_sets(self, family: str) -> dict[str, ComponentSet]:
        """Return a family of sets by readable name; see `takeback.anatomy.sets.SET_FAMILIES`.

        Raises:
            UnknownName: there is no family of sets of this name.
            TakebackError: the model has nothing of the kind.
        """
        return named_sets(self.universe, family)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.cuts)}

    @cached_property
    def _owned(self) -> dict[_Series, list[Cut]]:
        owned: dict[_Series, list[Cut]] = {}
        for cuts in self.cuts.values():
            for cut in cuts:
                owned.setdefault(_series(cut), []).append(cut)
        return owned


_Series: TypeAlias = tuple[int | None, str, str | None]
"""A layer, a kind, and the tensor of a component that is a whole one."""


def _series(one: Cut | Component) -> _Series:
    return one.layer, one.kind, one.tensor if one.kind == TENSOR else None


def _runs(components: Iterable[Component]) -> list[tuple[Component, Component]]:
    """Return the first and the last of each row of neighbours; the components are in canonical order."""

    def row(placed: tuple[int, Component]) -> tuple[int | None, str, int]:
        place, component = placed
        return component.layer, component.kind, (component.index or 0) - place

    rows = ([component for _, component in placed] for _, placed in groupby(enumerate(components), row))
    return [(members[0], members[-1]) for members in rows]


def _joined(pieces: list[Region], shape: Sequence[int]) -> list[Region]:
    """Join the regions of one tensor that touch; they are disjoint and lie on one axis."""
    tensor, axis = pieces[0].tensor, pieces[0].axis
    if axis is None:
        return pieces
    spans: list[tuple[int, int]] = []
    for start, stop in sorted((piece.start, piece.stop or 0) for piece in pieces):
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], stop)
        else:
            spans.append((start, stop))
    if spans == [(0, shape[axis])]:
        return [Region(tensor)]
    return [Region(tensor, axis, start, stop) for start, stop in spans]
