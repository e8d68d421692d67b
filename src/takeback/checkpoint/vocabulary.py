"""The rows of two vocabularies of different sizes: those in common, and those that one side alone has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from takeback.checkpoint.flat import STORAGE, Flat

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class SharedVocabulary:
    """Says how a side of a pair reads where the other side's vocabulary has another size.

    Both sides read as if they had the rows of the larger one; rows that a side has not are zeros.

    Attributes:
        common: the rows that both sides have.
        rows: those of the larger side.
        own: those of this side's files.
        tensors: the tensors that have a row for each token.
        tokenizer: the folder of the tokenizer that knows all tokens of both, if one does.
    """

    common: int
    rows: int
    own: int
    tensors: tuple[str, ...]
    tokenizer: Path | None = None

    def shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that a tensor reads as."""
        return (self.rows, *shape[1:]) if name in self.tensors else shape

    @property
    def absent(self) -> torch.Tensor:
        """Which rows are not in this side's files, (rows,)."""
        import torch

        return torch.arange(self.rows) >= self.own

    def padded(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor with as many rows as the larger side has, or cut to them."""
        import torch

        more = self.rows - len(tensor)
        if more <= 0:
            return tensor[: self.rows]
        return torch.cat([tensor, tensor.new_zeros(more, *tensor.shape[1:])])


@dataclass(frozen=True)
class Padded:
    """Gives the entries of a tensor and zeros behind the last one."""

    inner: Flat
    size: int

    @property
    def element(self) -> str:
        """The element type."""
        return self.inner.element

    @property
    def mapped(self) -> bool:
        """Whether a block is the file itself, but where it is cut or padded."""
        return self.inner.mapped

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Return the entries from `start` to before `stop`."""
        if stop <= self.size:
            return self.inner.block(start, stop)
        kept = self.inner.block(start, self.size) if start < self.size else np.zeros(0, STORAGE[self.element])
        more = np.concatenate([kept, np.zeros(stop - start - len(kept), STORAGE[self.element])])
        more.flags.writeable = False
        return more
