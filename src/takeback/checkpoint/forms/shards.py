"""The shards of FSDP as verl and SkyRL write them: `model_world_size_8_rank_0.pt`, one for each process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from takeback.checkpoint.forms.form import Form, allow_pickled
from takeback.checkpoint.forms.pickled import element_of, joined, load_pickled, tensors_in
from takeback.checkpoint.forms.prefixes import model_names
from takeback.checkpoint.made import Made
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    import torch

_SHARD = re.compile(r"model_world_size_([0-9]{1,6})_rank_([0-9]{1,6})\.pt")


@dataclass(frozen=True)
class _Ranks:
    """Holds the files of all processes, mapped when first asked."""

    files: tuple[Path, ...]

    @cached_property
    def held(self) -> list[dict[str, Any]]:
        """The tensors of each process by name."""
        return [tensors_in(load_pickled(file)) for file in self.files]


@dataclass(frozen=True)
class _Sharded(Made):
    """Is a tensor that processes hold in parts."""

    ranks: _Ranks

    def made(self) -> torch.Tensor:
        """Join what the processes hold."""
        held = self.ranks.held
        lacking = [file for file, own in zip(self.ranks.files, held, strict=True) if self.stored not in own]
        if lacking:
            raise TakebackError(f"{lacking[0]} has no {self.stored}; fetch or save it again")
        return joined([own[self.stored] for own in held], self.stored, self.file.parent)


def _holds(folder: Path) -> bool:
    return any(_SHARD.fullmatch(file.name) for file in folder.glob("model_world_size_*.pt"))


def _entries(folder: Path) -> Mapping[str, Made]:
    files = _ranks(folder)
    allow_pickled(
        f"{files[0]}, a shard of FSDP,",
        f"python -m verl.model_merger merge --backend fsdp --local_dir {folder} --target_dir NEW",
    )
    ranks = _Ranks(tuple(files))
    found: dict[str, Made] = {}
    for name, piece in ranks.held[0].items():
        found[name] = _Sharded(files[0], name, element_of(piece), tuple(piece.shape), ranks)
    return model_names(found)


def _ranks(folder: Path) -> list[Path]:
    """Return the files of all processes in their order."""
    found: dict[tuple[int, int], Path] = {}
    for file in folder.glob("model_world_size_*.pt"):
        if (name := _SHARD.fullmatch(file.name)) is not None:
            found[int(name[1]), int(name[2])] = file
    worlds = {world for world, _ in found}
    if len(worlds) > 1:
        raise TakebackError(
            f"{folder} holds shards of {' and '.join(map(str, sorted(worlds)))} processes; remove some"
        )
    (world,) = worlds
    if not world:
        raise TakebackError(f"{folder} holds a shard of no processes; fetch all shards")
    missing = next((rank for rank in range(world) if (world, rank) not in found), None)
    if missing is not None:
        raise TakebackError(
            f"{folder} lacks model_world_size_{world}_rank_{missing}.pt; fetch all {world} shards"
        )
    return [found[world, rank] for rank in range(world)]


SHARDS = Form("shards of FSDP, pickled", _holds, _entries)
