"""Components: the smallest named parts that can be taken back, their order and their names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Any
from urllib.parse import quote, unquote

from takeback.run.errors import TakebackError, unknown_name

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

_FIRST = ("EMBED", "EMBED+")
_RANKS = {kind: rank for rank, kind in enumerate(LAYER_KINDS)}
TENSOR_PREFIX = f"{TENSOR}:"
"""What the text form of a whole tensor begins with."""

_PLAIN = "/:+=@()[]$!|"
"""What stands as it is in the name of a tensor, besides letters, digits and `_.-~`."""
LONGEST_NUMBER = 6
"""Digits of a number in a tensor's name that may be a layer's."""

_NUMBER = r"(0|[1-9][0-9]*)"
_INDEXED = "|".join(INDEXED_KINDS)
_LAYER_NAME = re.compile(rf"L{_NUMBER}\.(?:(?P<indexed>{_INDEXED}){_NUMBER}|(?P<single>[A-Z]+[1-4]?))")


def layer_in(tensor: str) -> int | None:
    """Return the layer that a tensor's name tells, its first number; None where it tells none.

    >>> layer_in("model.layers.3.mixer.in_proj.weight"), layer_in("lm_head.weight")
    (3, None)
    """
    return next((int(part) for part in tensor.split(".") if is_number(part)), None)


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key by which numbers in names count by value.

    >>> sorted(["10.weight", "2.weight"], key=natural)
    ['2.weight', '10.weight']
    """
    parts = re.split("([0-9]+)", name, flags=re.ASCII)
    return tuple(
        (len(part.lstrip("0")), part) if place % 2 else (-1, part) for place, part in enumerate(parts)
    )


def is_number(part: str) -> bool:
    """Return whether a part of a tensor's name is a number that may be a layer's."""
    return len(part) <= LONGEST_NUMBER and part.isascii() and part.isdigit()


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
        if text.startswith(TENSOR_PREFIX):
            return cls.of_tensor(unquote(text.removeprefix(TENSOR_PREFIX), errors="surrogatepass"))
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
        name = ".".join("#" if is_number(part) else _quoted(part) for part in self.tensor.split("."))
        return TENSOR_PREFIX + name

    @property
    def within(self) -> str:
        """Its name without its layer: what stands below each other in a picture of layers.

        >>> Component("H", 3, 5).within, Component.of_tensor("h.3.experts.5.w1").within
        ('H5', 'T:h.#.experts.5.w1')
        """
        if self.tensor is None:
            return f"{self.kind}{'' if self.index is None else self.index}"
        parts = [_quoted(part) for part in self.tensor.split(".")]
        layer = next((place for place, part in enumerate(parts) if is_number(part)), None)
        return TENSOR_PREFIX + ".".join("#" if place == layer else part for place, part in enumerate(parts))

    def __str__(self) -> str:
        if self.tensor is not None:
            return TENSOR_PREFIX + _quoted(self.tensor)
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
