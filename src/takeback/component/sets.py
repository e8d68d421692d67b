"""Sets of components of one model: their algebra and their text form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from takeback.component.names import TENSOR, Component
from takeback.component.picture import as_html, as_text
from takeback.component.space import Space, bits, mask_of, shortened
from takeback.run.errors import TakebackError


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
    _space: Space

    def __init__(
        self,
        members: Iterable[Component] = (),
        universe: ComponentSet | None = None,
        absent: Mapping[str, str] | None = None,
    ) -> None:
        members = list(members)
        self._space = Space(members, absent or {}) if universe is None else universe._space
        unknown = next((member for member in members if member not in self._space.position), None)
        if unknown is not None:
            raise self._space.unknown(str(unknown))
        self._mask = mask_of(self._space.position[member] for member in members)

    @classmethod
    def parse(cls, text: str, universe: ComponentSet) -> ComponentSet:
        """Read a set from blank-separated names, in any order.

        `*` in a name stands for anything, `#` for a number, `*` alone is everything, the empty text nothing.
        `L3.*` is all of a layer, of a model of whole tensors those with that number, and `L3-5.*` that of
        three, as far as they have any. A name after `~` is taken out. The set is the union of the plain
        names (everything, if all names have a `~`) without the union of those taken out.

        >>> universe = ComponentSet(map(Component.parse, ["L0.H0", "L0.H1", "L0.MLP"]))
        >>> print(ComponentSet.parse("~L0.H1 *", universe))
        ~L0.H1
        >>> ComponentSet.parse("L0-0.*", universe) == universe
        True

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
        return (self._space.components[place] for place in bits(self._mask))

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
        direct = shortened(self._space, self._mask)
        outside = shortened(self._space, self._space.everything & ~self._mask)
        return " ".join(direct if len(direct) <= len(outside) else [f"~{name}" for name in outside])

    def __repr__(self) -> str:
        return f"ComponentSet({str(self)!r}, {len(self)} of {len(self._space.components)})"

    def picture(self) -> str:
        """Draw the set as text: a line per layer, a mark per component, counts beyond 64 of a kind."""
        return as_text(self._marked())

    def _repr_html_(self) -> str:
        """Draw the set as an HTML table without scripts; hovering over a square tells its name."""
        return as_html(self._marked())

    def _marked(self) -> dict[Component, bool]:
        return {component: component in self for component in self._space.components}

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
