"""Pickled tensors, opened with `weights_only=True` and mapped: no code runs and little memory is taken."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    import torch


def load_pickled(file: Path) -> dict[str, Any]:
    """Open a file of `torch.save` that holds tensors by name; they stay on disk until they are read.

    Raises:
        TakebackError: it is cut, or holds more than tensors and plain values.
    """
    import torch
    import torch.distributed.tensor  # pyright: ignore[reportUnusedImport] weights_only then knows DTensor

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch and pickle raise many kinds, all about this file
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TakebackError(f"{file} can't be opened as tensors alone (weights_only): {why}") from error
    if not isinstance(found, dict):
        raise TakebackError(f"{file} holds no tensors by name, but a {type(found).__name__}")
    return found


def joined(pieces: list[Any], name: str, folder: Path) -> torch.Tensor:
    """Join what the processes hold of one tensor along the axis that it was cut on.

    Raises:
        TakebackError: it was cut along several axes, or the pieces do not make up its shape.
    """
    import torch
    from torch.distributed.tensor import DTensor, Replicate, Shard

    first = pieces[0]
    if not isinstance(first, DTensor):
        return first
    cuts = [place for place in first.placements if not isinstance(place, Replicate)]
    local = [piece.to_local() for piece in pieces]
    if not cuts:
        return local[0]
    if len(cuts) > 1 or not isinstance(cuts[0], Shard):
        raise TakebackError(
            f"{folder} has {name} cut along several axes ({first.placements}); convert it with its trainer's "
            "own command"
        )
    meshed = first.device_mesh.mesh
    axis = next(place for place, cut in enumerate(first.placements) if cut is cuts[0])
    ranks = meshed.movedim(axis, 0).reshape(meshed.shape[axis], -1)[:, 0].tolist()
    whole = torch.cat([local[rank] for rank in ranks], cuts[0].dim)
    if whole.shape != first.shape:
        raise TakebackError(
            f"{folder} has {list(whole.shape)} of {name}, whose shape is {list(first.shape)}; fetch it again"
        )
    return whole


def tensors_in(held: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a state dict are floating-point tensors."""
    import torch

    return {
        name: value
        for name, value in held.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }


def element_of(tensor: torch.Tensor) -> str:
    """Return the name of a tensor's element type."""
    return str(tensor.dtype).removeprefix("torch.")
