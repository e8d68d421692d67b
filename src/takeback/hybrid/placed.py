"""Weights on disk as a model in memory would hold them: what is taken back is read when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from takeback.anatomy import Region
from takeback.hybrid.live import ReadableWeights


@dataclass(frozen=True)
class Placed:
    """Reads weights in one element type, onto one device.

    A region is held by whoever asks for it. For a model that is spread over several cards it stays on the
    CPU, from which it is copied to where it belongs.

    Attributes:
        weights: a checkpoint, or anything that reads like one.
        dtype: the element type.
        device: where tensors go; see `Placement`.
    """

    weights: ReadableWeights
    dtype: torch.dtype
    device: torch.device

    @property
    def config(self) -> Any:
        """The config."""
        return self.weights.config

    @property
    def vocabulary(self) -> Any:
        """How it reads beside a vocabulary of another size, if it does."""
        return getattr(self.weights, "vocabulary", None)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor by canonical name."""
        return dict(self.weights.shapes)

    def read(self, name: str, /) -> Tensor:
        """Read a tensor."""
        return self.weights.read(name).to(self.device, self.dtype)

    def read_region(self, region: Region, /) -> Tensor:
        """Read the entries of a region."""
        return self.weights.read_region(region).to(self.device, self.dtype)
