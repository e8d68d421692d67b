"""A model with its layers in other coordinates, written layer by layer as an ordinary Hugging Face folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from takeback.checkpoint import Checkpoint, narrowest_dtype
from takeback.checkpoint.writer import TensorSlot, write_folder
from takeback.gauge.layer import LayerViews
from takeback.run.files import atomic_folder

SHARD_BYTES = 5_000_000_000


def write_rewritten(checkpoint: Checkpoint, rewrite: Callable[[int], LayerViews], out: Path) -> Path:
    """Write a checkpoint with layers as `rewrite` gives them, in float32 or in a wider type if stored so.

    A layer at a time is in memory. The folder has the checkpoint's config, tokenizer and generation config.

    Raises:
        TakebackError: `out` is there, or the disk refuses.
    """
    source = _Rewritten(checkpoint, rewrite)
    dtype = narrowest_dtype(*checkpoint.dtypes.values(), torch.float32)
    layouts = [
        TensorSlot(checkpoint.stored[name], dtype, shape, lambda name=name: source.read(name).to(dtype))
        for name, shape in checkpoint.shapes.items()
    ]
    config = checkpoint.stored_config()
    config.pop("torch_dtype", None)
    config |= {"dtype": str(dtype).removeprefix("torch."), "tie_word_embeddings": checkpoint.tied}
    with atomic_folder(out) as draft:
        for file in checkpoint.side_files():
            (shutil.copytree if file.is_dir() else shutil.copyfile)(file, draft / file.name)
        (draft / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        write_folder(draft, layouts, SHARD_BYTES)
    return out


class _Rewritten:
    """Gives tensors by name, computing the layer that one belongs to and keeping it for the next."""

    def __init__(self, checkpoint: Checkpoint, rewrite: Callable[[int], LayerViews]) -> None:
        self._checkpoint, self._rewrite = checkpoint, rewrite
        anatomy = checkpoint.anatomy()
        self._layers = {name: cuts[0].layer for name, cuts in anatomy.cuts.items()}
        self._layers |= {
            part: self._layers[name]
            for name, slices in anatomy.stored.items()
            for parts in slices
            for part in parts
        }
        self._kept: LayerViews | None = None

    def read(self, name: str) -> torch.Tensor:
        number = self._layers.get(name)
        if number is None:
            return self._checkpoint.read(name)
        if self._kept is None or self._kept.number != number:
            self._kept = self._rewrite(number)
        if name not in self._kept.tensors:
            return self._checkpoint.read(name)
        return torch.from_numpy(self._kept.tensors[name])
