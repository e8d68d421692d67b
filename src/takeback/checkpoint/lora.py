"""What plain LoRA adds to a weight, merged in float32 rows at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from takeback.run.machine_code import machine_code

if TYPE_CHECKING:
    import torch


class Half(Protocol):
    """Is one of an adapter's thin matrices, in a file or in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        ...

    def read(self) -> torch.Tensor:
        """Return it; it must not be written to."""
        ...


@runtime_checkable
class InFile(Protocol):
    """Is what lies in a file."""

    @property
    def file(self) -> Path:
        """The file."""
        ...


@dataclass(frozen=True, slots=True)
class LoraDelta:
    """Holds what an adapter adds to one weight: scale · B A, transposed where inputs come first."""

    a: Half
    b: Half
    scale: float
    transposed: bool
    element: str = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight that it fits."""
        shape = (self.b.shape[0], self.a.shape[1])
        return shape[::-1] if self.transposed else shape

    @property
    def files(self) -> list[Path]:
        """The files that it lies in; none in memory."""
        return [half.file for half in (self.a, self.b) if isinstance(half, InFile)]

    def merged(self, weight: torch.Tensor) -> torch.Tensor:
        """Return weight + scale · B A (Hu et al. 2021, arXiv 2106.09685), computed in `element`."""
        import torch

        wide = weight.to(getattr(torch, self.element)).contiguous()
        return torch.from_numpy(self.add_to(wide.numpy(), self.factors()))

    def factors(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Read the thin matrices whose product is added: (rows, rank) and (rank, columns)."""
        import torch

        wide: torch.dtype = getattr(torch, self.element)
        halves = [half.read().to(wide) for half in (self.b, self.a)]
        if self.transposed:
            halves = [half.T for half in reversed(halves)]
        left, right = (half.contiguous().numpy() for half in halves)
        return left, right

    def add_to(
        self, weight: NDArray[Any], factors: tuple[NDArray[Any], NDArray[Any]], first: int = 0
    ) -> NDArray[Any]:
        """Return rows of the weight, from the row `first` on and in `element`, with what is added to them."""
        left, right = factors
        merged = np.zeros_like(weight, order="C")
        parts = [np.ascontiguousarray(part) for part in (weight, left[first : first + len(weight)], right)]
        kinds = [f"*{part.dtype}" for part in (*parts, merged)]
        types = ("int64", "int64", "int64", *kinds[:3], str(merged.dtype), kinds[3])
        sizes = (len(weight), len(right), merged.shape[1])
        places = [part.ctypes.data for part in parts]
        machine_code("takeback.checkpoint.merge", "add_product", *types)(
            *sizes, *places, self.scale, merged.ctypes.data
        )
        return merged
