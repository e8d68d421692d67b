"""Models of types that no family has, with every parameter random: attention, state spaces, recurrences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

import models
from takeback.anatomy import source

_SIZES: dict[str, Any] = {
    "num_hidden_layers": 2,
    "hidden_size": 24,
    "intermediate_size": 16,
    "vocab_size": models.VOCABULARY,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}


def _made(config: Callable[..., Any], more: dict[str, Any]) -> Any:
    return config(**{**_SIZES, **more})


def _llama(**more: Any) -> Any:
    config: Any = models.CONFIGS["llama-gqa-biases"]()
    settings: dict[str, Any] = {**config.to_dict(), **more}
    return type(config)(**settings)


CONFIGS: dict[str, Callable[..., Any]] = {
    "llama": _llama,
    "mamba": lambda **more: _made(transformers.MambaConfig, {"state_size": 4, **more}),
    "rwkv": lambda **more: _made(transformers.RwkvConfig, {"attention_hidden_size": 24, **more}),
}
"""A tied decoder, one with state spaces, one with recurrences and output embeddings of its own."""


def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every model type one that no family has."""
    monkeypatch.setattr(source, "known_family", lambda model_type: None)


def build(name: str, seed: int = 0, **more: Any) -> transformers.PreTrainedModel:
    """Build a model with every parameter random."""
    config = CONFIGS[name](**more)
    return models.randomised(transformers.AutoModelForCausalLM.from_config(config).eval(), seed)


def save_pair(name: str, folder: Path, **more: Any) -> tuple[Path, Path]:
    """Save a base and a tuned model, and return their folders."""
    folders = folder / "base", folder / "tuned"
    for seed, target in enumerate(folders):
        build(name, seed, **more).save_pretrained(target)
    return folders
