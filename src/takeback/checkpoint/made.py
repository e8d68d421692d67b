"""What lies behind a tensor's name: a stretch of a safetensors file, or something that makes it when read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


class Stored(Protocol):
    """Is one tensor of a checkpoint, read when it is asked for."""

    @property
    def file(self) -> Path:
        """A file that it lies in."""
        ...

    @property
    def stored(self) -> str:
        """What its files call it."""
        ...

    @property
    def element(self) -> str:
        """Its element type, as torch names it."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        ...

    def read(self, index: tuple[slice, ...] = ()) -> torch.Tensor:
        """Read it, or the part of it at `index`; the result must not be written to."""
        ...


@dataclass(frozen=True)
class Made(ABC):
    """Is a tensor that has to be put together or dequantised; a subclass says how, in `made`."""

    file: Path
    stored: str
    element: str
    shape: tuple[int, ...]

    @abstractmethod
    def made(self) -> torch.Tensor:
        """Make the whole tensor.

        Raises:
            TakebackError: its files cannot be read any more.
        """

    def read(self, index: tuple[slice, ...] = ()) -> torch.Tensor:
        """Read the tensor, or the part of it at `index`; the whole of it is made for either."""
        return self.made()[index] if index else self.made()
