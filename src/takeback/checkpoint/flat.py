"""The entries of one tensor in row-major order, a stretch at a time: mapped from disk, or merged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from takeback.checkpoint.weights import raw_bytes

if TYPE_CHECKING:
    import torch

    from takeback.checkpoint.lora import LoraDelta
    from takeback.checkpoint.shards import Entry

STORAGE: Mapping[str, type[np.generic]] = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.int16,
    "bfloat16": np.uint16,
    "float8_e4m3fn": np.uint8,
    "float8_e5m2": np.uint8,
}
"""The array type that holds the bits of each element type; no two types that a kernel reads share one."""


class Flat(Protocol):
    """Gives stretches of a tensor's entries as arrays that must not be written to."""

    @property
    def element(self) -> str:
        """The element type."""
        ...

    @property
    def mapped(self) -> bool:
        """Whether a block is the file itself, so that it takes no memory."""
        ...

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Return the entries from `start` to before `stop`, as the bits of `STORAGE`."""
        ...


@dataclass(frozen=True)
class Mapped:
    """Gives the entries of a stored tensor from a map of its file."""

    entry: Entry
    mapped = True

    @property
    def element(self) -> str:
        """The stored element type."""
        return self.entry.element

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Return a view of the file, or a copy where the file has no number at a multiple of its size."""
        entries = self._entries[start:stop]
        if entries.flags.aligned:
            return entries
        copied = entries.copy()
        copied.flags.writeable = False
        return copied

    @cached_property
    def _entries(self) -> NDArray[Any]:
        kind = np.dtype(STORAGE[self.element])
        count = math.prod(self.entry.shape)
        if not count:
            return np.zeros(0, kind)
        with self.entry.opened() as file:
            bytes_of = np.memmap(file, np.uint8, "r", self.entry.offset, (count * kind.itemsize,))
        return bytes_of.view(np.ndarray).view(kind)


@dataclass(frozen=True, eq=False)
class Held:
    """Gives the entries of a tensor in memory; one that lies on another device is copied as a whole."""

    tensor: torch.Tensor
    mapped = True

    @property
    def element(self) -> str:
        """The element type."""
        return str(self.tensor.dtype).removeprefix("torch.")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return tuple(self.tensor.shape)

    def read(self) -> torch.Tensor:
        """Return the tensor; it must not be written to."""
        return self.tensor.detach().cpu()

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Return a view of the entries."""
        return self._entries[start:stop]

    @cached_property
    def _entries(self) -> NDArray[Any]:
        entries = np.frombuffer(raw_bytes(self.tensor), STORAGE[self.element])
        entries.flags.writeable = False
        return entries


@dataclass(frozen=True)
class Merged:
    """Gives the entries of a weight with what an adapter adds to it."""

    weight: Flat
    delta: LoraDelta
    mapped = False

    @property
    def element(self) -> str:
        """The type in which it is merged."""
        return self.delta.element

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Return merged entries; only the rows that hold them are merged."""
        width = self.delta.shape[1]
        first, last = start // width, -(-stop // width)
        rows = upcast(
            self.weight.block(first * width, last * width), self.weight.element, STORAGE[self.element]
        )
        merged = self.delta.add_to(rows.reshape(-1, width), self._factors, first).reshape(-1)
        merged.flags.writeable = False
        return merged[start - first * width : stop - first * width]

    @cached_property
    def _factors(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.delta.factors()


def upcast(block: NDArray[Any], element: str, kind: type[Any] = np.float64) -> NDArray[Any]:
    """Return the bits of a type in `STORAGE` as numbers of a wider type, exactly.

    >>> upcast(np.array([0x3F80, 0xC000], np.uint16), "bfloat16")
    array([ 1., -2.])
    """
    with np.errstate(invalid="ignore"):  # a NaN stays one
        if element == "bfloat16":
            wide = (block.astype(np.uint32) << 16).view(np.float32).astype(kind, copy=False)
        elif element.startswith("float8"):
            import torch

            wide = (
                torch.from_numpy(block.copy())
                .view(getattr(torch, element))
                .double()
                .numpy()
                .astype(kind, copy=False)
            )
        else:
            wide = (block.view(np.float16) if element == "float16" else block).astype(kind, copy=False)
    wide.flags.writeable = False
    return wide
