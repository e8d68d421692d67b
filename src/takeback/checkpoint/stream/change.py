"""What one model became of another, bit by bit, and the files of a stream that say it.

Bits are compared, not values: −0 is not 0, and a NaN with other bits is another one. A delta holds what
stands at the changed places, so nothing is added when it is applied and nothing can be rounded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from takeback.checkpoint.flat import Flat
from takeback.checkpoint.shards import ITEM_SIZES
from takeback.checkpoint.stream.file import (
    BASE_DIGEST,
    BASE_STEP,
    CHANGED,
    DIGEST,
    INDICES,
    NAMES,
    REMOVED,
    SHAPES,
    SPARSE,
    SPARSITY,
    STEP,
    TOTALS,
    VALUES,
)
from takeback.checkpoint.stream.patched import BITS, Changes, total_of
from takeback.checkpoint.weights import names_digest
from takeback.checkpoint.writer import TensorSlot, write_file

BLOCK = 1 << 22
"""Entries that are compared at a time."""

HELD = 1 << 30
"""Bytes of changes that are kept between counting and writing; what is more is compared again."""

_SMALL = 1 << 31
"""Entries up to which indices are int32."""


class Side(Protocol):
    """Gives tensors by canonical name, entry by entry: a checkpoint, a hybrid."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each tensor."""
        ...

    @property
    def elements(self) -> Mapping[str, str]:
        """The name of each tensor's element type."""
        ...

    @property
    def digest(self) -> str:
        """The content hash of the weights."""
        ...

    def read(self, name: str) -> torch.Tensor:
        """Read one tensor."""
        ...

    def flat(self, name: str) -> Flat:
        """Return the entries of one tensor in row-major order."""
        ...


@dataclass(frozen=True, eq=False)
class BitChange:
    """Is what turns one model into another: places and values where few entries differ, else whole tensors.

    Attributes:
        before: the model that is there.
        after: what it becomes.
        called: the name of each tensor in the file.
        sparse: whether places and values are given however many they are.
    """

    before: Side
    after: Side
    called: Mapping[str, str]
    sparse: bool = False
    _held: dict[str, Changes] = field(default_factory=dict[str, Changes], repr=False)

    @property
    def removed(self) -> tuple[str, ...]:
        """Tensors that only the model before has."""
        return tuple(name for name in self.before.shapes if name not in self.after.shapes)

    @property
    def changed(self) -> int:
        """How many entries differ, those of whole tensors included."""
        return sum(self._counts.values()) + sum(math.prod(self.after.shapes[name]) for name in self._whole)

    @property
    def entries(self) -> int:
        """How many entries the model has."""
        return sum(map(math.prod, self.after.shapes.values()))

    @cached_property
    def slots(self) -> list[TensorSlot]:
        """What the file holds; of no change, no places of one tensor: a file without tensors is none."""
        places = [name for name in self._counts if self._counts[name]]
        if not places and not self._whole:
            places = list(self._counts)[:1]
        pairs = [slot for name in places for slot in self._pair(name)]
        return pairs + whole_slots(self.after, self.called, self._whole)

    @property
    def nbytes(self) -> int:
        """The bytes of the file's tensors."""
        return sum(slot.nbytes for slot in self.slots)

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says of its tensors, in the words of trainers and in those of this package."""
        places = [name for name, count in self._counts.items() if count]
        return {
            "format": "pt",
            SPARSE: "True",
            SPARSITY: f"{1 - self.changed / max(1, self.entries):.6f}",
            CHANGED: json.dumps([self.called[name] for name in (*places, *self._whole)]),
            SHAPES: json.dumps({self.called[name]: self.after.shapes[name] for name in places}),
            TOTALS: json.dumps({self.called[name]: self._totals[name] for name in places}),
            REMOVED: json.dumps([self.called[name] for name in self.removed]),
            BASE_DIGEST: self.before.digest,
            **identity_of(self.after),
        }

    @cached_property
    def _whole(self) -> tuple[str, ...]:
        return tuple(name for name in self.after.shapes if name not in self._counts)

    @cached_property
    def _counts(self) -> dict[str, int]:
        """How many entries differ in each tensor of which places and values are given."""
        counts: dict[str, int] = {}
        held = 0
        for name in self.after.shapes:
            if not self._is_alike(name):
                continue
            size, element = math.prod(self.after.shapes[name]), self.after.elements[name]
            places, bits = changes_between(self.before.flat(name), self.after.flat(name), size)
            cost = places.nbytes + bits.nbytes
            if not self.sparse and cost >= size * ITEM_SIZES[element] and cost:
                continue
            counts[name], self._totals[name] = len(places), total_of(places, bits)
            held += cost
            if held <= HELD:
                self._held[name] = places, bits
        return counts

    @cached_property
    def _totals(self) -> dict[str, int]:
        return {}

    def _is_alike(self, name: str) -> bool:
        """Return whether both models have a tensor in one shape and type."""
        shape, element = self.after.shapes[name], self.after.elements[name]
        return self.before.shapes.get(name) == shape and self.before.elements.get(name) == element

    def _changes(self, name: str) -> Changes:
        if name in self._held:
            return self._held[name]
        size = math.prod(self.after.shapes[name])
        return changes_between(self.before.flat(name), self.after.flat(name), size)

    def _pair(self, name: str) -> tuple[TensorSlot, TensorSlot]:
        called, length = self.called[name], (self._counts[name],)
        dtype: torch.dtype = getattr(torch, self.after.elements[name])
        kind = torch.int32 if math.prod(self.after.shapes[name]) <= _SMALL else torch.int64
        return (
            TensorSlot(called + INDICES, kind, length, lambda: torch.from_numpy(self._changes(name)[0])),
            TensorSlot(called + VALUES, dtype, length, lambda: _tensor(self._changes(name)[1], dtype)),
        )


def changes_between(before: Flat, after: Flat, size: int) -> Changes:
    """Return where two tensors of one type and so many entries differ in their bits, and the bits after.

    Places are int32, or int64 where a tensor has more than 2^31 entries.
    """
    kind = BITS[ITEM_SIZES[after.element]]
    found: list[NDArray[Any]] = []
    values: list[NDArray[Any]] = []
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        one, other = (side.block(start, stop).view(kind) for side in (before, after))
        places = np.flatnonzero(one != other)
        found.append(places + start)
        values.append(other[places])
    width = np.int32 if size <= _SMALL else np.int64
    places = np.concatenate(found).astype(width) if found else np.zeros(0, width)
    return places, np.concatenate(values) if values else np.zeros(0, kind)


def whole_slots(side: Side, called: Mapping[str, str], names: Iterable[str]) -> list[TensorSlot]:
    """Return slots of tensors that are written whole."""
    return [
        TensorSlot(
            called[name],
            getattr(torch, side.elements[name]),
            side.shapes[name],
            lambda name=name: side.read(name),
        )
        for name in names
    ]


def identity_of(side: Side) -> dict[str, str]:
    """Return a model's content hash as metadata, and of which names it is."""
    return {DIGEST: side.digest, NAMES: names_digest(side.shapes)}


def write_delta(file: Path, change: BitChange, step: int, base: int) -> None:
    """Write what a step changed since the one before it."""
    write_change(file, change, {STEP: str(step), BASE_STEP: str(base)})


def write_change(file: Path, change: BitChange, also: Mapping[str, str]) -> None:
    """Write a change, with what else its file says of itself."""
    write_file(file, change.slots, {**change.metadata, **also})


def write_anchor(
    file: Path, side: Side, called: Mapping[str, str], step: int, also: Mapping[str, str]
) -> None:
    """Write a whole model, with what else its file says of itself."""
    told = {"format": "pt", SPARSE: "False", SPARSITY: "0.0", STEP: str(step), **identity_of(side)}
    write_file(file, whole_slots(side, called, side.shapes), {**also, **told})


def _tensor(bits: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(bits.view(np.uint8)).view(dtype)
