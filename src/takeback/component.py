"""The vocabulary: a component is the smallest named part that can be taken back; every cut takes a set."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property, total_ordering
from html import escape
from typing import Any
from urllib.parse import quote, unquote

from takeback.run.errors import TakebackError, UnknownName, unknown_name

INDEXED_KINDS = ("H", "KV", "N", "E", "U")
"""Kinds of which a layer holds several: heads, key/value groups, neurons, experts, units."""

LAYER_KINDS = (
    *("H", "KV", "LATENT", "ATTN", "DELTA", "MIXER"),
    *("MLP", "N", "MLPB", "ROUTER", "E", "SHARED", "U"),
    *("ALTUP", "LAUREL", "PLE", "SCALE", "LN1", "LN2", "LN3", "LN4"),
)
"""Kinds that belong to a layer, in canonical order."""

MODEL_KINDS = ("EMBED", "EMBED+", "NORM", "UNEMBED", "UNEMBED+", "HEAD", "OUTPUTS")
"""Kinds that a model holds once, outside its layers."""

NEW_ROWS = ("EMBED+", "UNEMBED+")
"""Kinds that are rows of the larger of two vocabularies, which the smaller one has not."""

TENSOR = "T"
"""The kind of a whole tensor, in a layer or outside: what a model of an unknown family is made of."""

MOST_MARKS = 64
"""A kind with more members in a layer than this is drawn as a count."""

Place = tuple[int | None, str]
"""A layer, None outside them, and a kind."""

_FIRST = ("EMBED", "EMBED+")
_RANKS = {kind: rank for rank, kind in enumerate(LAYER_KINDS)}
_TENSOR_PREFIX = f"{TENSOR}:"
_PLAIN = "/:+=@()[]$!|"
"""What stands as it is in the name of a tensor, besides letters, digits and `_.-~`."""
_LONGEST_NUMBER = 6
_NUMBER = r"(0|[1-9][0-9]*)"
_INDEXED = "|".join(INDEXED_KINDS)
_LAYER_NAME = re.compile(rf"L{_NUMBER}\.(?:(?P<indexed>{_INDEXED}){_NUMBER}|(?P<single>[A-Z]+[1-4]?))")


def layer_in(tensor: str) -> int | None:
    """Return the layer that a tensor's name tells, its first number; None where it tells none.

    >>> layer_in("model.layers.3.mixer.in_proj.weight"), layer_in("lm_head.weight")
    (3, None)
    """
    return next((int(part) for part in tensor.split(".") if _is_number(part)), None)


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key by which numbers in names count by value.

    >>> sorted(["10.weight", "2.weight"], key=natural)
    ['2.weight', '10.weight']
    """
    parts = re.split("([0-9]+)", name, flags=re.ASCII)
    return tuple(
        (len(part.lstrip("0")), part) if place % 2 else (-1, part) for place, part in enumerate(parts)
    )


def _is_number(part: str) -> bool:
    return len(part) <= _LONGEST_NUMBER and part.isascii() and part.isdigit()


@total_ordering
@dataclass(frozen=True, slots=True)
class Component:
    """Names one part of a model: a head, a key/value group, an MLP, a norm, the embeddings.

    The canonical order: `EMBED`, `EMBED+`, the layers from below (in each the heads, the key/value groups,
    the rest of attention, what stands in its place, the MLP or the experts, what else changes the residual
    stream, the norms), `NORM`, `UNEMBED`, `UNEMBED+`, `HEAD`. A whole tensor, `T:model.layers.3.mixer.D`, is
    in the layer that its name tells; in its text form blanks, stars and the like are `%` and their codes.

    >>> Component("H", layer=3, index=5)
    Component('L3.H5')
    >>> Component.parse("L3.KV1") < Component.parse("NORM")
    True
    >>> Component.of_tensor("model.layers.3.a b")
    Component('T:model.layers.3.a%20b')

    Raises:
        TakebackError: the kind is unknown, or its layer or index is missing, negative or out of place.
    """

    kind: str
    layer: int | None = None
    index: int | None = None
    tensor: str | None = None

    def __post_init__(self) -> None:
        if self.kind == TENSOR or self.tensor is not None:
            self._check_tensor()
            return
        if self.kind not in _RANKS and self.kind not in MODEL_KINDS:
            raise unknown_name("kind of component", self.kind, LAYER_KINDS + MODEL_KINDS)
        has_layer, has_index = self.layer is not None, self.index is not None
        if has_layer != (self.kind in _RANKS) or has_index != (self.kind in INDEXED_KINDS):
            raise TakebackError(
                f"no component has kind {self.kind}, layer {self.layer} and index {self.index}; "
                "names look like L3.H5, L3.MLP or EMBED"
            )
        if min(self.layer or 0, self.index or 0) < 0:
            raise TakebackError(
                f"no component has layer {self.layer} and index {self.index}; both count from 0"
            )

    @classmethod
    def parse(cls, text: str) -> Component:
        """Read a component from its name.

        >>> Component.parse("L0.LN2").kind, Component.parse("T:h.7.ln.weight").layer
        ('LN2', 7)

        Raises:
            TakebackError: `text` has not the form of a component's name.
        """
        if text in MODEL_KINDS:
            return cls(text)
        if text.startswith(_TENSOR_PREFIX):
            return cls.of_tensor(unquote(text.removeprefix(_TENSOR_PREFIX), errors="surrogatepass"))
        match = _LAYER_NAME.fullmatch(text)
        if match is None or (match["single"] is not None and match["single"] not in _RANKS):
            raise TakebackError(f"{text!r} is not a component's name; names look like L3.H5, L3.MLP or EMBED")
        index = None if match["indexed"] is None else int(match[3])
        return cls(match["indexed"] or match["single"], int(match[1]), index)

    @classmethod
    def of_tensor(cls, name: str) -> Component:
        """Return the component that is the tensor `name`, all of it."""
        return cls(TENSOR, layer_in(name), None, name)

    @property
    def alike(self) -> str:
        """What it shares with its likes in other layers: its kind, of a tensor its name without numbers.

        >>> Component.of_tensor("model.layers.3.mixer.D").alike
        'T:model.layers.#.mixer.D'
        """
        if self.tensor is None:
            return self.kind
        name = ".".join("#" if _is_number(part) else _quoted(part) for part in self.tensor.split("."))
        return _TENSOR_PREFIX + name

    @property
    def within(self) -> str:
        """Its name without its layer: what stands below each other in a picture of layers.

        >>> Component("H", 3, 5).within, Component.of_tensor("h.3.experts.5.w1").within
        ('H5', 'T:h.#.experts.5.w1')
        """
        if self.tensor is None:
            return f"{self.kind}{'' if self.index is None else self.index}"
        parts = [_quoted(part) for part in self.tensor.split(".")]
        layer = next((place for place, part in enumerate(parts) if _is_number(part)), None)
        return _TENSOR_PREFIX + ".".join("#" if place == layer else part for place, part in enumerate(parts))

    def __str__(self) -> str:
        if self.tensor is not None:
            return _TENSOR_PREFIX + _quoted(self.tensor)
        if self.layer is None:
            return self.kind
        return f"L{self.layer}.{self.within}"

    def __repr__(self) -> str:
        return f"Component({str(self)!r})"

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Component):
            return NotImplemented
        return self.place() < other.place()

    def place(self) -> tuple[int, int, int, int, tuple[Any, ...]]:
        """Return the component's place in the canonical order, for sorting; whole tensors come last."""
        if self.tensor is not None:
            where = (2, 0) if self.layer is None else (1, self.layer)
            return (where[0], where[1], len(_RANKS), 0, natural(self.tensor))
        if self.layer is None:
            return (0 if self.kind in _FIRST else 2, 0, MODEL_KINDS.index(self.kind), 0, ())
        return (1, self.layer, _RANKS[self.kind], self.index or 0, ())

    def _check_tensor(self) -> None:
        fits = self.kind == TENSOR and self.index is None
        if self.tensor is None or not fits or self.layer != layer_in(self.tensor):
            raise TakebackError(
                f"no component has kind {self.kind}, layer {self.layer}, index {self.index} and tensor "
                f"{self.tensor!r}; a tensor's name looks like T:model.layers.3.mixer.D"
            )


def _quoted(name: str) -> str:
    return quote(name, safe=_PLAIN, errors="surrogatepass")


_WILD = {"*": ".*", "#": f"[0-9]{{1,{_LONGEST_NUMBER}}}"}


def _as_regex(pattern: str) -> str:
    """Write a wildcard so that what lies between stars is sought once, at its first place."""
    pieces = [
        "".join(_WILD.get(part, re.escape(part)) for part in re.split("(#)", piece))
        for piece in pattern.split("*")
    ]
    inner = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1] if piece)
    return pieces[0] if len(pieces) == 1 else f"{pieces[0]}{inner}.*{pieces[-1]}"


class _Space:
    """All components of one anatomy, in canonical order; sets over it are bit masks of positions."""

    def __init__(self, components: Iterable[Component], absent: Mapping[str, str]) -> None:
        self.components = tuple(sorted(set(components), key=Component.place))
        self.position = {component: place for place, component in enumerate(self.components)}
        self.absent = dict(absent)
        self.everything = (1 << len(self.components)) - 1
        self.texts: dict[int, str] = {}

    def __reduce__(self) -> tuple[type[_Space], tuple[tuple[Component, ...], dict[str, str]]]:
        """Pickle without what is cached: hashes of text differ from process to process."""
        return (_Space, (self.components, self.absent))

    @cached_property
    def names(self) -> dict[str, int]:
        return {str(component): place for component, place in self.position.items()}

    @cached_property
    def digest(self) -> int:
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
        return [(group[1], _mask(groups[group])) for group in ordered]

    @cached_property
    def matched(self) -> list[tuple[str, int]]:
        """What wildcards are held against: the names, and those of tensors with their layer in front too."""
        layered = (
            (f"L{one.layer}.{name}", place)
            for name, place in self.names.items()
            if (one := self.components[place]).tensor is not None and one.layer is not None
        )
        return [*self.names.items(), *layered]

    def same(self, other: _Space) -> bool:
        return self is other or (self.digest == other.digest and self.components == other.components)

    def unknown(self, name: str) -> UnknownName:
        """Build the error for a name that matches nothing, with the reason where the anatomy gives one."""
        kind = re.sub(r"(?<!LN)[0-9*]+$", "", name.rpartition(".")[2])
        if kind in self.absent and not name.startswith(_TENSOR_PREFIX):
            return UnknownName(f"no component {name!r} in this model: {self.absent[kind]}")
        return unknown_name("component", name, self.names)

    def mask(self, pattern: str) -> int:
        """Return the mask of what one name or wildcard matches."""
        if pattern == "*":
            return self.everything
        if "*" in pattern or "#" in pattern:
            matches = re.compile(_as_regex(pattern)).fullmatch
            mask = _mask(place for name, place in self.matched if matches(name))
            if not mask:
                raise self.unknown(pattern)
            return mask
        if pattern not in self.names:
            raise self.unknown(pattern)
        return 1 << self.names[pattern]


class ComponentSet(Set[Component]):
    """Holds components of one model: immutable, with set algebra, one order, a text form and a picture.

    `universe` is any set of the same model; without it the members are all there is, and make a universe.
    `absent` maps kinds that a universe lacks to the reason, for error messages.

    >>> names = "EMBED L0.H0 L0.H1 L0.MLP L1.H0 L1.H1 L1.MLP NORM"
    >>> everything = ComponentSet(map(Component.parse, names.split()))
    >>> heads = ComponentSet.parse("*.H*", everything)
    >>> print(heads - ComponentSet.parse("L1.*", everything))
    L0.H*
    >>> print(~heads)
    ~*.H*
    >>> print((heads & ComponentSet.parse("*.H1", everything)).picture())
        H   MLP
    L0  ·■  ·
    L1  ·■  ·
    EMBED · NORM ·
    2 of 8 components

    Raises:
        UnknownName: a member is not in the universe.
    """

    __slots__ = ("_mask", "_space")
    _mask: int
    _space: _Space

    def __init__(
        self,
        members: Iterable[Component] = (),
        universe: ComponentSet | None = None,
        absent: Mapping[str, str] | None = None,
    ) -> None:
        members = list(members)
        self._space = _Space(members, absent or {}) if universe is None else universe._space
        unknown = next((member for member in members if member not in self._space.position), None)
        if unknown is not None:
            raise self._space.unknown(str(unknown))
        self._mask = _mask(self._space.position[member] for member in members)

    @classmethod
    def parse(cls, text: str, universe: ComponentSet) -> ComponentSet:
        """Read a set from blank-separated names, in any order.

        `*` in a name stands for anything, `#` for a number, `*` alone is everything, the empty text nothing.
        `L3.*` is all of a layer, of a model of whole tensors those with that number. A name after `~`
        is taken out. The set is the union of the plain names (everything, if all names have a `~`) without
        the union of those taken out.

        >>> universe = ComponentSet(map(Component.parse, ["L0.H0", "L0.H1", "L0.MLP"]))
        >>> print(ComponentSet.parse("~L0.H1 *", universe))
        ~L0.H1

        Raises:
            UnknownName: a name or wildcard matches nothing.
        """
        space = universe._space
        plain = taken_out = 0
        words = text.split()
        for word in words:
            if word.startswith("~"):
                taken_out |= space.mask(word[1:])
            else:
                plain |= space.mask(word)
        if words and all(word.startswith("~") for word in words):
            plain = space.everything
        return universe._with(plain & ~taken_out)

    @property
    def universe(self) -> ComponentSet:
        """The set of everything this set could hold."""
        return self._with(self._space.everything)

    @property
    def resolution(self) -> str:
        """The resolution of the anatomy that this is a set of: "neurons" where it has components of that."""
        kinds = {component.kind for component in self.universe}
        if kinds == {TENSOR}:
            return "tensors"
        return "neurons" if "N" in kinds or kinds == {"U"} else "heads"

    def __contains__(self, item: object) -> bool:
        place = self._space.position.get(item) if isinstance(item, Component) else None
        return place is not None and bool(self._mask >> place & 1)

    def __iter__(self) -> Iterator[Component]:
        return (self._space.components[place] for place in _bits(self._mask))

    def __len__(self) -> int:
        return self._mask.bit_count()

    def __hash__(self) -> int:
        return hash((self._mask, self._space.digest))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ComponentSet):
            return NotImplemented
        return self._mask == other._mask and self._space.same(other._space)

    def __le__(self, other: Set[Any]) -> bool:
        return not self._mask & ~self._mask_of(other)

    def __lt__(self, other: Set[Any]) -> bool:
        return self <= other and self._mask != self._mask_of(other)

    def __ge__(self, other: Set[Any]) -> bool:
        return not self._mask_of(other) & ~self._mask

    def __gt__(self, other: Set[Any]) -> bool:
        return self >= other and self._mask != self._mask_of(other)

    def __or__(self, other: Iterable[Any]) -> ComponentSet:
        return self._with(self._mask | self._mask_of(other))

    def __and__(self, other: Iterable[Any]) -> ComponentSet:
        return self._with(self._mask & self._mask_of(other))

    def __sub__(self, other: Iterable[Any]) -> ComponentSet:
        return self._with(self._mask & ~self._mask_of(other))

    def __xor__(self, other: Iterable[Any]) -> ComponentSet:
        return self._with(self._mask ^ self._mask_of(other))

    def __invert__(self) -> ComponentSet:
        return self._with(self._space.everything & ~self._mask)

    def __rsub__(self, other: Iterable[Any]) -> ComponentSet:
        return self._with(self._mask_of(other) & ~self._mask)

    __ror__, __rand__, __rxor__ = __or__, __and__, __xor__

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        """Return whether the two sets share no component."""
        return not self._mask & self._mask_of(other)

    def __str__(self) -> str:
        if self._mask not in self._space.texts:
            self._space.texts[self._mask] = self._text()
        return self._space.texts[self._mask]

    def _text(self) -> str:
        if self._mask == self._space.everything:
            return "*" if self._mask else ""
        direct = _shortened(self._space, self._mask)
        outside = _shortened(self._space, self._space.everything & ~self._mask)
        return " ".join(direct if len(direct) <= len(outside) else [f"~{name}" for name in outside])

    def __repr__(self) -> str:
        return f"ComponentSet({str(self)!r}, {len(self)} of {len(self._space.components)})"

    def picture(self) -> str:
        """Draw the set as text: a line per layer, a mark per component, counts beyond 64 of a kind."""
        return "\n".join([*text_map(self._cells(lambda _, mark: "■" if mark else "·")), self._summary()])

    def _repr_html_(self) -> str:
        """Draw the set as an HTML table without scripts; hovering over a square tells its name."""
        cells = self._cells(_square)
        kinds, layers = _axes(cells)
        head = "".join(f"<th>{kind}{'…' if kind in INDEXED_KINDS else ''}</th>" for kind in kinds)
        rows = [[f"<td>{cells.get((layer, kind), '')}</td>" for kind in kinds] for layer in layers]
        body = "".join(f"<tr><th>L{n}</th>{''.join(row)}</tr>" for n, row in zip(layers, rows, strict=True))
        outside = " ".join(f"{kind} {cell}" for (layer, kind), cell in cells.items() if layer is None)
        return (
            f'<div style="font-family:monospace"><table><tr><th></th>{head}</tr>{body}</table>'
            f"<div>{outside}</div><div>{self._summary()}</div></div>"
        )

    def _cells(self, drawn: Callable[[Component, bool], str]) -> dict[Place, str]:
        """Draw the components of the universe by layer and kind, each by whether it is in the set."""
        groups: dict[Place, list[tuple[Component, bool]]] = {}
        for component in self._space.components:
            groups.setdefault((component.layer, component.kind), []).append((component, component in self))
        return {
            place: f"{sum(mark for _, mark in there)}/{len(there)}"
            if len(there) > MOST_MARKS
            else "".join(drawn(*one) for one in there)
            for place, there in groups.items()
        }

    def _summary(self) -> str:
        return f"{len(self)} of {len(self._space.components)} components"

    def _with(self, mask: int) -> ComponentSet:
        made = object.__new__(ComponentSet)
        made._space, made._mask = self._space, mask
        return made

    def _mask_of(self, other: object) -> int:
        if not isinstance(other, ComponentSet):
            raise TypeError(f"a ComponentSet combines with a ComponentSet, not with {type(other).__name__}")
        if not self._space.same(other._space):
            raise TakebackError(
                f"these sets are of different models or resolutions ({len(self._space.components)} and "
                f"{len(other._space.components)} components); parse both with one universe"
            )
        return other._mask


def text_map(cells: Mapping[Place, str]) -> list[str]:
    r"""Lay cells out as lines: one for each layer with a column for each kind, then what is in no layer.

    >>> print(*text_map({(0, "H"): "·■", (0, "MLP"): "·", (None, "EMBED"): "■"}), sep="\n")
        H   MLP
    L0  ·■  ·
    EMBED ■
    """
    kinds, layers = _axes(cells)
    table = [["", *kinds], *([f"L{n}", *(cells.get((n, kind), "") for kind in kinds)] for n in layers)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table] if layers else []
    outside = [f"{kind} {cell}" for (layer, kind), cell in cells.items() if layer is None]
    return [*lines, *([" ".join(outside)] if outside else [])]


def _axes(places: Iterable[Place]) -> tuple[list[str], list[int]]:
    """Return the kinds and the layers that there are, in order."""
    there = set(places)
    kinds = [
        kind
        for kind in (*LAYER_KINDS, TENSOR)
        if any(one == kind for layer, one in there if layer is not None)
    ]
    return kinds, sorted({layer for layer, _ in there if layer is not None})


def _square(component: Component, mark: bool) -> str:
    colour = "#c2410c" if mark else "#e7e5e4"
    style = f"display:inline-block;width:.8em;height:.8em;margin:1px;background:{colour}"
    return f'<span title="{escape(str(component))}{" (in the set)" if mark else ""}" style="{style}"></span>'


def _mask(places: Iterable[int]) -> int:
    """Return the integer with the bits at `places` set (through bytes: linear in the highest place)."""
    places = list(places)
    digits = bytearray(max(places, default=-1) // 8 + 1)
    for place in places:
        digits[place // 8] |= 1 << place % 8
    return int.from_bytes(digits, "little")


def _bits(mask: int) -> Iterator[int]:
    bits = bin(mask)[:1:-1]
    place = bits.find("1")
    while place >= 0:
        yield place
        place = bits.find("1", place + 1)


def _shortened(space: _Space, mask: int) -> list[str]:
    """Name the members of a mask, with a wildcard wherever a whole layer or kind is in it."""
    names: list[str] = []
    for pattern, covered in space.wildcards:
        if covered & mask == covered:
            names.append(pattern)
            mask &= ~covered
    return names + [str(space.components[place]) for place in _bits(mask)]
