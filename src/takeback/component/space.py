"""What one anatomy's component sets are made over: positions, masks, names and wildcards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from takeback.component.names import INDEXED_KINDS, LONGEST_NUMBER, TENSOR, TENSOR_PREFIX, Component
from takeback.run.errors import UnknownName, unknown_name

_LAYER = rf"(0|[1-9][0-9]{{0,{LONGEST_NUMBER - 1}}})"
_RANGE = re.compile(rf"L{_LAYER}-{_LAYER}\.(.+)")
"""Some neighbouring layers, such as `L3-5.*`."""

_WILD = {"*": ".*", "#": f"[0-9]{{1,{LONGEST_NUMBER}}}"}


def _as_regex(pattern: str) -> str:
    """Write a wildcard so that what lies between stars is sought once, at its first place."""
    pieces = [
        "".join(_WILD.get(part, re.escape(part)) for part in re.split("(#)", piece))
        for piece in pattern.split("*")
    ]
    inner = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1] if piece)
    return pieces[0] if len(pieces) == 1 else f"{pieces[0]}{inner}.*{pieces[-1]}"


class Space:
    """Holds all components of one anatomy, in canonical order; sets over it are bit masks of positions."""

    def __init__(self, components: Iterable[Component], absent: Mapping[str, str]) -> None:
        self.components = tuple(sorted(set(components), key=Component.place))
        self.position = {component: place for place, component in enumerate(self.components)}
        self.absent = dict(absent)
        self.everything = (1 << len(self.components)) - 1
        self.texts: dict[int, str] = {}

    def __reduce__(self) -> tuple[type[Space], tuple[tuple[Component, ...], dict[str, str]]]:
        """Pickle without what is cached: hashes of text differ from process to process."""
        return (Space, (self.components, self.absent))

    @cached_property
    def names(self) -> dict[str, int]:
        """The components' positions by their names."""
        return {str(component): place for component, place in self.position.items()}

    @cached_property
    def digest(self) -> int:
        """A hash of the components, for this process."""
        return hash(self.components)

    @cached_property
    def wildcards(self) -> list[tuple[str, int]]:
        """The wildcards that a text form uses, each with the mask of what it matches; layers come first."""
        groups: dict[tuple[int, str], list[int]] = {}
        for place, component in enumerate(self.components):
            if component.layer is not None:
                layer, kind = f"L{component.layer}", component.kind
                star = "*" if kind in INDEXED_KINDS else ""
                patterns = (f"{layer}.*", f"*.{kind}{star}", f"{layer}.{kind}*")
                for rank, pattern in enumerate(patterns if component.tensor is None else patterns[:1]):
                    groups.setdefault((rank, pattern), []).append(place)
            if component.tensor is not None:
                groups.setdefault((1, component.alike), []).append(place)
        ordered = [group for group in sorted(groups, key=lambda group: group[0]) if len(groups[group]) > 1]
        if TENSOR in {component.kind for component in self.components}:
            return [(pattern, self.mask(pattern)) for _, pattern in ordered]
        return [(group[1], mask_of(groups[group])) for group in ordered]

    @cached_property
    def matched(self) -> list[tuple[str, int]]:
        """What wildcards are held against: the names, and those of tensors with their layer in front too."""
        layered = (
            (f"L{one.layer}.{name}", place)
            for name, place in self.names.items()
            if (one := self.components[place]).tensor is not None and one.layer is not None
        )
        return [*self.names.items(), *layered]

    def same(self, other: Space) -> bool:
        """Return whether the other space has the same components."""
        return self is other or (self.digest == other.digest and self.components == other.components)

    def unknown(self, name: str) -> UnknownName:
        """Build the error for a name that matches nothing, with the reason where the anatomy gives one."""
        kind = re.sub(r"(?<!LN)[0-9*]+$", "", name.rpartition(".")[2])
        if kind in self.absent and not name.startswith(TENSOR_PREFIX):
            return UnknownName(f"no component {name!r} in this model: {self.absent[kind]}")
        return unknown_name("component", name, self.names)

    def mask(self, pattern: str) -> int:
        """Return the mask of what one name or wildcard matches; with a range of layers, in each of them."""
        if pattern == "*":
            return self.everything
        ranged = _RANGE.fullmatch(pattern)
        if ranged or "*" in pattern or "#" in pattern:
            matches = re.compile(self._in_layers(ranged) if ranged else _as_regex(pattern)).fullmatch
            mask = mask_of(place for name, place in self.matched if matches(name))
            if not mask:
                raise self.unknown(pattern)
            return mask
        if pattern not in self.names:
            raise self.unknown(pattern)
        return 1 << self.names[pattern]

    def _in_layers(self, ranged: re.Match[str]) -> str:
        """Write a range for the layers that are there, of which the first and the last must be."""
        first, last = int(ranged[1]), int(ranged[2])
        layers = {one.layer for one in self.components if one.layer is not None}
        if first > last or not {first, last} <= layers:
            raise self.unknown(ranged[0])
        within = "|".join(str(layer) for layer in layers if first <= layer <= last)
        return rf"L(?:{within})\.{_as_regex(ranged[3])}"


def mask_of(places: Iterable[int]) -> int:
    """Return the integer with the bits at `places` set (through bytes: linear in the highest place)."""
    places = list(places)
    digits = bytearray(max(places, default=-1) // 8 + 1)
    for place in places:
        digits[place // 8] |= 1 << place % 8
    return int.from_bytes(digits, "little")


def bits(mask: int) -> Iterator[int]:
    """Yield the places of the bits that are set, from the lowest."""
    bits = bin(mask)[:1:-1]
    place = bits.find("1")
    while place >= 0:
        yield place
        place = bits.find("1", place + 1)


def shortened(space: Space, mask: int) -> list[str]:
    """Name the members of a mask, with a wildcard wherever a whole layer or kind is in it."""
    names: list[str] = []
    for pattern, covered in space.wildcards:
        if covered & mask == covered:
            names.append(pattern)
            mask &= ~covered
    return names + [str(space.components[place]) for place in bits(mask)]
