"""LoRA adapters made and merged by peft itself: the truth that our lazy merge is held against."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

PLAIN = {"r": 3, "lora_alpha": 7}
LLAMA = {**PLAIN, "target_modules": ["q_proj", "v_proj", "down_proj"]}


def save_adapter(base: Path, adapter: Path, dtype: torch.dtype, **settings: Any) -> dict[str, torch.Tensor]:
    """Save an adapter with random halves, and return what peft merges in float32, by canonical name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft calls what transformers deprecates, and comments on settings
        return _save_adapter(base, adapter, dtype, settings)


def _save_adapter(
    base: Path, adapter: Path, dtype: torch.dtype, settings: dict[str, Any]
) -> dict[str, torch.Tensor]:
    import peft  # takes seconds, also where tests are only collected

    generator = torch.Generator().manual_seed(5)
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                drawn = torch.randn(parameter.shape, generator=generator) * 0.3
                parameter.copy_(drawn.to(dtype))
    wrapped.save_pretrained(adapter)
    stored = load_file(adapter / "adapter_model.safetensors")
    save_file(
        {name: tensor.to(dtype) for name, tensor in stored.items()}, adapter / "adapter_model.safetensors"
    )
    merged = wrapped.merge_and_unload()
    return {name: parameter.detach() for name, parameter in merged.named_parameters()}
