"""Pickled tensors, opened with `weights_only=True` and mapped: no code runs and little memory is taken."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
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
        with warnings.catch_warnings(), silent("torch.distributed.device_mesh"):
            warnings.simplefilter("ignore")
            found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch and pickle raise many kinds, all about this file
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TakebackError(f"{file} can't be opened as tensors alone (weights_only): {why}") from error
    if not isinstance(found, dict):
        raise TakebackError(f"{file} holds no tensors by name, but a {type(found).__name__}")
    return found


@contextmanager
def silent(logger: str) -> Generator[None]:
    """Let a library say nothing meanwhile: torch tells of each tensor that its processes are not here."""
    told = logging.getLogger(logger)
    before, told.disabled = told.disabled, True
    try:
        yield
    finally:
        told.disabled = before


def joined(pieces: list[Any], name: str, folder: Path) -> torch.Tensor:
    """Join what the processes hold of one tensor along the axis that it was cut on.

    Raises:
        TakebackError: it was cut along several axes, or the pieces do not make up its shape.
    """
    from torch.distributed.tensor import DTensor

    first = pieces[0]
    if not isinstance(first, DTensor):
        return first
    try:
        return _joined(pieces, name, folder)
    except TakebackError:
        raise
    except Exception as error:  # unpickled pieces need not fit each other in any way
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise TakebackError(f"{folder} has pieces of {name} that do not fit each other: {why}") from error


def _joined(pieces: list[Any], name: str, folder: Path) -> torch.Tensor:
    import torch
    from torch.distributed.tensor import Replicate, Shard

    first = pieces[0]
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


def tensors_in(held: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what of a state dict are floating-point tensors.

    Raises:
        TakebackError: one has no entries of its own in the file: it is sparse, quantised or an expanded one.
    """
    import torch

    found = {
        name: value
        for name, value in held.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor) and value.is_floating_point()
    }
    for name, value in found.items():
        if not is_plain(value):
            raise TakebackError(f"{name} in it is no plain tensor of numbers; save it again as one")
    return found


def is_plain(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor is floating-point numbers in memory, each entry one of its own."""
    import torch
    from torch.distributed.tensor import DTensor

    if isinstance(tensor, DTensor):
        tensor = tensor.to_local()
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return False
    own = tensor.numel() * tensor.element_size()
    return tensor.is_floating_point() and own <= tensor.untyped_storage().nbytes()


def element_of(tensor: torch.Tensor) -> str:
    """Return the name of a tensor's element type."""
    return str(tensor.dtype).removeprefix("torch.")
