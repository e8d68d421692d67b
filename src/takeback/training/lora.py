"""Adapters that are trained in place of a language model's weights, and how they are saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from takeback.checkpoint.checkpoint import Checkpoint
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.extras import needed
from takeback.run.json_text import read_object
from takeback.run.reading import own_path
from takeback.training.recipe import Lora

_CONFIG = "adapter_config.json"


def adapter_of(lora: Lora, model: PreTrainedModel, parent: Checkpoint) -> Any:
    """Return peft's config of an adapter of a model.

    Raises:
        UnknownName: a target is the end of no linear layer's name.
        TakebackError: peft is not installed, or the parent is an adapter itself.
    """
    peft = needed("peft", "train")
    if parent.adapted:
        raise TakebackError(
            f"{parent.ref} is an adapter itself, and one of an adapter can't be taken back; write the merged "
            "model first: takeback hybrid BASE BASE+ADAPTER --take-back '' -o FOLDER"
        )
    outputs = model.get_output_embeddings()
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not outputs
    }
    ends = {name.rpartition(".")[2] for name in layers}
    for target in lora.targets:
        if not any(name == target or name.endswith(f".{target}") for name in layers):
            raise unknown_name("target of lora", target, ends)
    return peft.LoraConfig(
        r=lora.rank,
        lora_alpha=2 * lora.rank if lora.alpha is None else lora.alpha,  # pyright: ignore[reportArgumentType]
        target_modules=sorted(lora.targets or ends),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in layers.values()),
        base_model_name_or_path=str(parent.folder),
        task_type="CAUSAL_LM",
    )


def seed_adapter(seed: int) -> None:
    """Fix what an adapter begins with: peft draws it from torch's own generator."""
    torch.default_generator.manual_seed(seed)


def save_adapter(model: Any, folder: Path, parent: str) -> None:
    """Save the adapter of a model as peft does, naming the parent as the recipe does, or where it lies."""
    model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    file = folder / _CONFIG
    config: dict[str, Any] = read_object(file)
    place = own_path(parent)
    name, _, revision = (str(place.resolve()), "", "") if place.exists() else parent.partition("@")
    config |= {"base_model_name_or_path": name, "revision": revision or None}
    config["target_modules"] = sorted(config["target_modules"])  # peft keeps a set, in any order
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
