"""Writes state dicts as trainers do, by torch itself in one process."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.testing._internal.distributed.fake_pg import FakeStore

State = Mapping[str, torch.Tensor]


def save_shards(state: State, folder: Path, world: int = 3) -> None:
    """Save shards as verl does, by torch itself: one process after another, and none talks."""
    folder.mkdir(parents=True, exist_ok=True)
    for rank in range(world):
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world)
        try:
            mesh = init_device_mesh("cpu", (world,), mesh_dim_names=("fsdp",))
            cut = {name: _sharded(tensor, mesh, rank, world) for name, tensor in state.items()}
        finally:
            dist.destroy_process_group()
        torch.save(cut, folder / f"model_world_size_{world}_rank_{rank}.pt")


def _sharded(tensor: torch.Tensor, mesh: Any, rank: int, world: int) -> DTensor:
    whole = {"run_check": False, "shape": tensor.shape, "stride": tensor.stride()}
    if tensor.dim() == 1:
        return DTensor.from_local(tensor.clone(), mesh, [Replicate()], **whole)
    parts = tensor.chunk(world)
    own = parts[rank] if rank < len(parts) else tensor[:0]
    return DTensor.from_local(own.clone(), mesh, [Shard(0)], **whole)


def save_distributed(state: Any, folder: Path) -> None:
    """Save a distributed checkpoint: `.metadata` and `*.distcp`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is one process only
        dcp.save(state, checkpoint_id=folder, no_dist=True)


def save_slices(state: State, folder: Path) -> None:
    """Save safetensors in slices of processes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer = dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True)
        dcp.save(dict(state), storage_writer=writer, no_dist=True)
