"""Tiny random models of every family: all kinds of attention, tied and untied, every parameter random."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
import transformers
from torch import nn

VOCABULARY = 23
POSITIONS = 16

_LLAMA = {
    "num_hidden_layers": 2,
    "hidden_size": 24,
    "intermediate_size": 16,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": POSITIONS,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
    "attn_implementation": "eager",
}


def _like_llama(config: Callable[..., Any], heads: int, groups: int, **more: Any) -> Any:
    return config(**{**_LLAMA, "num_attention_heads": heads, "num_key_value_heads": groups, **more})


def _gpt2(**more: Any) -> transformers.GPT2Config:
    sizes = {"n_layer": 2, "n_head": 3, "n_embd": 24, "vocab_size": VOCABULARY, "n_positions": POSITIONS}
    dropouts = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    rest = {"bos_token_id": 0, "eos_token_id": 1, "attn_implementation": "eager"}
    return transformers.GPT2Config(**{**sizes, **dropouts, **rest, **more})


def _opt(**more: Any) -> transformers.OPTConfig:
    sizes = {"num_attention_heads": 3, "ffn_dim": 16, "word_embed_proj_dim": more.get("hidden_size", 24)}
    return transformers.OPTConfig(**{**_LLAMA, **sizes, "dropout": 0.0, **more})


CONFIGS: dict[str, Callable[[], Any]] = {
    "gpt2": _gpt2,
    "gpt2-untied": lambda: _gpt2(tie_word_embeddings=False, n_inner=16),
    "llama-mha": lambda: _like_llama(transformers.LlamaConfig, 3, 3),
    "llama-gqa-biases": lambda: _like_llama(
        transformers.LlamaConfig, 4, 2, attention_bias=True, mlp_bias=True, tie_word_embeddings=True
    ),
    "llama-mqa": lambda: _like_llama(transformers.LlamaConfig, 3, 1, head_dim=6),
    "mistral": lambda: _like_llama(transformers.MistralConfig, 4, 2, head_dim=4),
    "qwen2": lambda: _like_llama(transformers.Qwen2Config, 4, 2, tie_word_embeddings=True),
    "qwen3": lambda: _like_llama(transformers.Qwen3Config, 4, 2, head_dim=8),
    "gemma2": lambda: _like_llama(transformers.Gemma2Config, 4, 2, head_dim=8, query_pre_attn_scalar=8),
    "mixtral": lambda: _like_llama(transformers.MixtralConfig, 4, 2, num_local_experts=3),
    "gpt_neox": lambda: _like_llama(transformers.GPTNeoXConfig, 3, 3, rotary_pct=0.5),
    "gpt_neox-odd-tied": lambda: _like_llama(
        transformers.GPTNeoXConfig, 3, 3, hidden_size=27, rotary_pct=0.5, tie_word_embeddings=True
    ),
    "phi3": lambda: _like_llama(transformers.Phi3Config, 4, 2, tie_word_embeddings=True),
    "olmo2": lambda: _like_llama(transformers.Olmo2Config, 4, 2, attention_bias=True),
    "olmo2-mha": lambda: _like_llama(transformers.Olmo2Config, 3, 3),
    "gemma3": lambda: _like_llama(transformers.Gemma3TextConfig, 4, 2, head_dim=8, query_pre_attn_scalar=8),
    "opt": _opt,
    "opt-350m": lambda: _opt(
        hidden_size=27, word_embed_proj_dim=10, do_layer_norm_before=False, activation_function="gelu"
    ),
    "qwen3_moe": lambda: _like_llama(
        transformers.Qwen3MoeConfig,
        4,
        2,
        head_dim=8,
        num_experts=3,
        num_experts_per_tok=2,
        moe_intermediate_size=8,
        mlp_only_layers=[1],
    ),
}
"""A config of every family and kind of attention, tied and untied, with biases and with other head widths."""

QUICK = {"gpt2", "llama-gqa-biases", "mixtral"}
"""Those that are always tested: fused and split, grouped, with experts; the others are marked slow."""


def marked(names: Iterable[str]) -> list[Any]:
    """Return names as test parameters, of which those that are not `QUICK` are slow."""
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names]


WITH_EXPERTS = {"mixtral", "qwen3_moe"}
"""Those that stack their experts in memory and keep them apart on disk."""


def build(name: str, seed: int = 0) -> transformers.PreTrainedModel:
    """Build the model of `CONFIGS[name]` with every parameter random, biases and norms too."""
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[name]()).eval()
    return randomised(model, seed)


def on_meta(name: str) -> transformers.PreTrainedModel:
    """Build the model of `CONFIGS[name]` without weights."""
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(CONFIGS[name]())


_OUTPUTS = {
    "gpt2": ("transformer.h.{}.attn.c_proj", "transformer.h.{}.mlp.c_proj"),
    "gpt_neox": ("gpt_neox.layers.{}.attention.dense", "gpt_neox.layers.{}.mlp.dense_4h_to_h"),
    "opt": ("model.decoder.layers.{}.self_attn.out_proj", "model.decoder.layers.{}.fc2"),
}
_LIKE_LLAMA = ("model.layers.{}.self_attn.o_proj", "model.layers.{}.mlp.down_proj")


def outputs_of(model: transformers.PreTrainedModel, layer: int) -> tuple[str, str]:
    """Return the names of the modules through which the attention and the MLP of a layer write."""
    attention, mlp = _OUTPUTS.get(model.config.model_type, _LIKE_LLAMA)
    return attention.format(layer), mlp.format(layer)


def build_mlp(seed: int = 0) -> nn.Sequential:
    """Build a stack of linear layers: 5 inputs, 7 and 4 hidden units, 3 outputs without biases."""
    stack = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4), nn.Tanh(), nn.Linear(4, 3, bias=False))
    return randomised(stack, seed)


Model = TypeVar("Model", bound=nn.Module)


def randomised(model: Model, seed: int) -> Model:
    """Fill every parameter with its own normal numbers, so that no two models share a value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def save_pair(name: str, folder: Path, dtype: torch.dtype = torch.float32) -> tuple[Path, Path]:
    """Save a `base` and a `tuned` model of `CONFIGS[name]` that share no value, and return their folders."""
    folders = folder / "base", folder / "tuned"
    for seed, target in enumerate(folders):
        build(name, seed).to(dtype).save_pretrained(target)
    return folders


def tokens(rows: int = 2, length: int = 7, seed: int = 0) -> torch.Tensor:
    """Return random token ids, (rows, length)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCABULARY, (rows, length), generator=generator)


def save_players(folder: Path) -> tuple[Path, Path]:
    """Save two models that play in the endgame arena: the shipped base, and it with noise added."""
    from takeback.arenas import arena
    from takeback.policies.load import load_policy

    folders = folder / "base", folder / "tuned"
    policy = load_policy("endgame-base", arena("endgames"))
    generator = torch.Generator().manual_seed(0)
    for target in folders:
        policy.model.save_pretrained(target)
        policy.tokenizer.save_pretrained(target)
        with torch.no_grad():
            for parameter in policy.model.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return folders
