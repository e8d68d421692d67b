"""A tensor of a stream: its anchor's, with what each later step changed put in as it is read."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from takeback.checkpoint.flat import STORAGE, Mapped
from takeback.checkpoint.shards import ITEM_SIZES, Entry
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    import torch

BITS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
"""The array type that holds the bits of an entry, by its bytes."""

Changes = tuple[NDArray[Any], NDArray[Any]]
"""Places in a tensor in row-major order, growing, and the bits that stand there."""

_MAPS = 256
"""Files, and patches in them, that are mapped at a time."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Says where one step's changes of a tensor lie; `total` is their checksum, None where there is none.

    With `gaps`, the indices are stored as the number of entries skipped before each. `stamp` is the time of
    the file.
    """

    indices: Entry
    values: Entry
    gaps: bool
    total: int | None
    stamp: int

    def changes(self, size: int) -> Changes:
        """Return the changes of a tensor of so many entries.

        Raises:
            TakebackError: they are damaged: the checksum is another, or a place is not in the tensor or named
                twice.
        """
        return _changes(self, size)

    def damaged(self, why: str) -> TakebackError:
        """Return the error that says so."""
        file = self.indices.file
        return TakebackError(
            f"{file} is damaged in {self.values.stored}: {why}; fetch or pack it again, or take a step "
            f"before it or from the next anchor on"
        )


@dataclass(frozen=True, slots=True)
class Patched(Entry):
    """Is a stored tensor with the changes of later steps; it reads like one that is stored so.

    The patches are of a tensor of `size` entries that begins at byte `whole`; of a stacked one this may be a
    stretch.
    """

    patches: tuple[Patch, ...] = ()
    whole: int = 0
    size: int = 0

    @property
    def first(self) -> int:
        """Where it begins in the tensor that the patches are of."""
        return (self.offset - self.whole) // ITEM_SIZES[self.element]

    @property
    def anchor(self) -> Entry:
        """The tensor without the changes."""
        return Entry(self.file, self.stored, self.element, self.shape, self.offset)

    def opened(self) -> NoReturn:
        """Refuse: its bytes are not a stretch of one file.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{self.stored} is patched; take its entries from Replayed")

    def read(self, index: tuple[slice, ...] = ()) -> torch.Tensor:
        """Read the tensor, or the part of it at `index`; only the rows asked for are made."""
        import torch

        width = math.prod(self.shape[1:])
        rows = self.shape[0] if self.shape else 1
        start, stop, _ = (index[0] if index else slice(None)).indices(rows)
        bits = Replayed(self).made(start * width, stop * width)
        tensor = torch.from_numpy(bits.view(np.uint8)).view(getattr(torch, self.element))
        made = tensor.reshape(stop - start, *self.shape[1:]) if self.shape else tensor.reshape(())
        return made[(slice(None), *index[1:])] if index[1:] else made


@dataclass(frozen=True)
class Replayed:
    """Gives the entries of a patched tensor, a stretch at a time: memory holds the stretch alone."""

    entry: Patched
    mapped = False

    @property
    def element(self) -> str:
        """The element type."""
        return self.entry.element

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Return the entries from `start` to before `stop` with all changes made."""
        entries = self.made(start, stop).view(STORAGE[self.element])
        entries.flags.writeable = False
        return entries

    def made(self, start: int, stop: int) -> NDArray[Any]:
        """Return the bits of these entries in an array of their own."""
        bits = self._anchor.block(start, stop).view(BITS[ITEM_SIZES[self.element]]).copy()
        begin = self.entry.first + start
        for places, values in self._changes:
            first, last = np.searchsorted(places, (begin, begin + stop - start))
            bits[places[first:last] - begin] = values[first:last]
        return bits

    @cached_property
    def _anchor(self) -> Mapped:
        return Mapped(self.entry.anchor)

    @cached_property
    def _changes(self) -> tuple[Changes, ...]:
        return tuple(patch.changes(self.entry.size) for patch in self.entry.patches)


def _in_order(places: NDArray[Any]) -> bool:
    return bool((places[1:] > places[:-1]).all())


def total_of(places: NDArray[Any], bits: NDArray[Any]) -> int:
    """Return the checksum of changes (CRC-32 of indices and values as stored)."""
    return zlib.crc32(bits.view(np.uint8).data, zlib.crc32(places.view(np.uint8).data))


@lru_cache(maxsize=_MAPS)
def _changes(patch: Patch, size: int) -> Changes:
    places, bits = _array(patch.indices, patch.stamp), _array(patch.values, patch.stamp)
    if patch.total is not None and not _sound(patch):
        raise patch.damaged("its checksum is another")
    if patch.gaps:
        places = np.cumsum(places.astype(np.int64) + 1) - 1
    if not _in_order(places):
        order = np.argsort(places, kind="stable")
        places, bits = places[order], bits[order]
        if not _in_order(places):
            raise patch.damaged("it names a place twice")
    if len(places) and (places[0] < 0 or places[-1] >= size):
        raise patch.damaged(f"it names a place outside of the tensor's {size} entries")
    return places, bits


@lru_cache(maxsize=1 << 16)
def _sound(patch: Patch) -> bool:
    """Return whether the checksum of a patch is right; a file is looked at once in a process."""
    return total_of(_array(patch.indices, patch.stamp), _array(patch.values, patch.stamp)) == patch.total


def _array(entry: Entry, stamp: int) -> NDArray[Any]:
    """Return the entries as the file holds them, as unsigned numbers where they are no indices."""
    size = ITEM_SIZES[entry.element]
    kind = np.dtype(entry.element) if entry.element in ("int32", "int64") else np.dtype(BITS[size])
    held = _mapped(entry.file, stamp)[entry.offset : entry.offset + math.prod(entry.shape) * size].view(kind)
    return held if held.flags.aligned else held.copy()


@lru_cache(maxsize=_MAPS)
def _mapped(file: Path, stamp: int) -> NDArray[Any]:
    """Map a file of this time; one map serves all its tensors, so that few files are open."""
    try:
        return np.memmap(file, np.uint8, "r").view(np.ndarray)
    except (OSError, ValueError) as error:
        raise TakebackError(f"could not read {file}: {error}") from error
