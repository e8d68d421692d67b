"""Models made of a pair's two sides by a rule, tensor by tensor; they read like checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from takeback.anatomy import Anatomy, Region
from takeback.checkpoint.pair import Pair
from takeback.checkpoint.weights import all_finite, narrowest_dtype, weights_digest
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True, eq=False)
class Derived(ABC):
    """Is a model whose tensors are made when they are read; a subclass says how, in `_made`.

    Each is computed in float32 or wider and stored in the narrowest type that holds both sides' values.
    """

    pair: Pair

    @property
    @abstractmethod
    def ref(self) -> str:
        """What it is made of, in words."""

    @abstractmethod
    def _made(self, name: str) -> torch.Tensor:
        """Make one tensor, in any floating-point type."""

    @property
    def config(self) -> PreTrainedConfig | None:
        """Base's settings."""
        return self.pair.base.config

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each tensor by canonical name."""
        return self.pair.base.shapes

    @property
    def dtypes(self) -> Mapping[str, torch.dtype]:
        """The element type of each tensor by canonical name."""
        return self._dtypes

    @property
    def digest(self) -> str:
        """The content hash of the weights."""
        return self._digest

    def read(self, name: str) -> torch.Tensor:
        """Read one tensor; it must not be written to.

        Raises:
            UnknownName: there is no such tensor.
            TakebackError: it holds a value that is not finite, or a file cannot be read any more.
        """
        made = self._made(name)
        if not all_finite(made):
            raise TakebackError(f"tensor {name} of {self.ref} holds a value that is not finite")
        return made.to(self.dtypes[name])

    def read_region(self, region: Region) -> torch.Tensor:
        """Read one stretch of a tensor.

        Raises:
            UnknownName: there is no such tensor.
            TakebackError: it holds a value that is not finite, or a file cannot be read any more.
        """
        return self.read(region.tensor)[region.index]

    def anatomy(self, resolution: str = "heads") -> Anatomy:
        """Return which entries belong to which component, at the resolution "heads" or "neurons"."""
        return self.pair.anatomy(resolution)

    def _sides(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Read a tensor of base and of tuned, in float32 or wider."""
        base, tuned = self.pair.base.read(name), self.pair.tuned.read(name)
        wide = torch.promote_types(torch.promote_types(base.dtype, tuned.dtype), torch.float32)
        return base.to(wide), tuned.to(wide)

    @cached_property
    def _dtypes(self) -> dict[str, torch.dtype]:
        tuned = self.pair.tuned.dtypes
        return {name: narrowest_dtype(dtype, tuned[name]) for name, dtype in self.pair.base.dtypes.items()}

    @cached_property
    def _digest(self) -> str:
        return weights_digest(self)
