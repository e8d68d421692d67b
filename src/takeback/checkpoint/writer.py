"""Safetensors files written tensor by tensor, so that memory holds one tensor at a time.

The format is a length, a header in JSON and the tensors' bytes
(https://github.com/huggingface/safetensors#format); the library's own writer wants all tensors at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from takeback.checkpoint.shards import ELEMENTS
from takeback.checkpoint.weights import raw_bytes

_NAMES: Mapping[torch.dtype, str] = {getattr(torch, element): name for name, element in ELEMENTS.items()}


@dataclass(frozen=True, slots=True)
class TensorSlot:
    """Says what one tensor of a file will be, and how to get it when its turn comes."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    read: Callable[[], torch.Tensor]

    @property
    def nbytes(self) -> int:
        """How many bytes the tensor takes in the file."""
        return math.prod(self.shape) * self.dtype.itemsize


def write_folder(folder: Path, layouts: Sequence[TensorSlot], shard_bytes: int) -> None:
    """Write `model.safetensors` into a folder, or shards of up to `shard_bytes` with their index."""
    shards = _shards(layouts, shard_bytes)
    metadata = {"format": "pt"}
    if len(shards) == 1:
        write_file(folder / "model.safetensors", layouts, metadata)
        return
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_file(folder / file, shard, metadata)
        places |= {layout.name: file for layout in shard}
    index = {
        "metadata": {
            "total_parameters": sum(math.prod(layout.shape) for layout in layouts),
            "total_size": sum(layout.nbytes for layout in layouts),
        },
        "weight_map": dict(sorted(places.items())),
    }
    text = json.dumps(index, indent=2) + "\n"
    (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")


def write_file(file: Path, layouts: Sequence[TensorSlot], metadata: Mapping[str, str]) -> None:
    """Write one safetensors file; tensors of wide types come first, so that all are aligned."""
    ordered = sorted(layouts, key=lambda layout: (-layout.dtype.itemsize, layout.name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    place = 0
    for layout in ordered:
        offsets = [place, place + layout.nbytes]
        header[layout.name] = {
            "dtype": _NAMES[layout.dtype],
            "shape": list(layout.shape),
            "data_offsets": offsets,
        }
        place = offsets[1]
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little"))
        stream.write(text)
        for layout in ordered:
            stream.write(raw_bytes(layout.read()))


def _shards(layouts: Sequence[TensorSlot], limit: int) -> list[list[TensorSlot]]:
    shards: list[list[TensorSlot]] = [[]]
    size = 0
    for layout in layouts:
        if shards[-1] and size + layout.nbytes > limit:
            shards.append([])
            size = 0
        shards[-1].append(layout)
        size += layout.nbytes
    return shards
