"""What all tries have in common: two tiny models, and the same weights in the forms that are bent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from trainers import save_distributed, save_shards, save_slices

CONFIG: dict[str, Any] = {
    **{"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 4},
    **{"vocab_size": 5, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4},
    **{"tie_word_embeddings": True, "rms_norm_eps": 1e-6, "max_position_embeddings": 16},
}
SHAPES = {
    **{"embed_tokens.weight": (5, 8), "norm.weight": (8,)},
    **{"layers.0.input_layernorm.weight": (8,), "layers.0.post_attention_layernorm.weight": (8,)},
    **{"layers.0.self_attn.q_proj.weight": (8, 8), "layers.0.self_attn.k_proj.weight": (4, 8)},
    **{"layers.0.self_attn.v_proj.weight": (4, 8), "layers.0.self_attn.o_proj.weight": (8, 8)},
    **{"layers.0.mlp.gate_proj.weight": (4, 8), "layers.0.mlp.up_proj.weight": (4, 8)},
    **{"layers.0.mlp.down_proj.weight": (8, 4)},
}


def prepare(folder: Path) -> None:
    """Write what the tries have in common: two models."""
    for number, name in enumerate(("base", "tuned")):
        luck = torch.Generator().manual_seed(number)
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(CONFIG))
        tensors = {f"model.{key}": torch.randn(shape, generator=luck) for key, shape in SHAPES.items()}
        save_file(tensors, folder / name / "model.safetensors")


STEPS = 5
"""The last step of the stream that is bent."""


def prepare_stream(common: Path) -> None:
    """Pack a run of which each step changes a few entries, whole at steps 0 and 3."""
    from takeback.weights.runs.pack import pack

    luck, run = torch.Generator().manual_seed(2), common / "run"
    state = load_file(common / "base" / "model.safetensors")
    for step in range(1, STEPS + 1):
        for name, tensor in state.items():
            chosen = torch.rand(tensor.shape, generator=luck) < (0.1 if step != 4 else 0.0)
            state[name] = torch.where(chosen, tensor + 0.125, tensor)
        folder = run / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        save_file(state, folder / "model.safetensors")
    pack(run, common / "packed", common / "base", every=3)


def prepare_forms(common: Path) -> None:
    """Save the tuned model as torch and trainers do: a distributed checkpoint, slices, shards, states."""
    state = load_file(common / "tuned" / "model.safetensors")
    save_distributed(state, common / "dist")
    save_slices(state, common / "slices")
    save_shards(state, common / "verl", world=2)
    (common / "deepspeed").mkdir()
    torch.save({"module": state, "ds_version": "0.17"}, common / "deepspeed" / "mp_rank_00_model_states.pt")
    for name in ("dist", "slices", "verl", "deepspeed"):
        shutil.copy(common / "tuned" / "config.json", common / name)
