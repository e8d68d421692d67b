"""Tiny random models of families with experts, latents, gated delta layers and mixers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import models
from takeback.anatomy.families import known_family

HEADS = 4

_SIZES: dict[str, Any] = {
    **{"num_hidden_layers": 4, "hidden_size": 24, "intermediate_size": 16, "vocab_size": models.VOCABULARY},
    **{
        "max_position_embeddings": models.POSITIONS,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": None,
    },
    **{"num_attention_heads": HEADS, "num_key_value_heads": 2, "head_dim": 8, "attn_implementation": "eager"},
    # experts
    **{"num_experts": 3, "num_local_experts": 3, "n_routed_experts": 3, "moe_num_experts": 3},
    **{"num_experts_per_tok": 2, "num_experts_per_token": 2, "moe_k": 2, "moe_topk": 2, "moe_top_k": 2},
    **{
        "moe_intermediate_size": 8,
        "n_group": 1,
        "topk_group": 1,
        "moe_layer_freq": 1,
        "num_shared_experts": 1,
    },
    **{"n_shared_experts": 1, "shared_expert_intermediate_size": 10, "shared_intermediate_size": 10},
    **{"first_k_dense_replace": 1, "intermediate_size_mlp": 20, "moe_shared_expert_intermediate_size": 10},
    # latents
    **{"kv_lora_rank": 6, "q_lora_rank": 7, "qk_rope_head_dim": 4, "qk_nope_head_dim": 6, "v_head_dim": 5},
    **{"qk_head_dim": 10, "index_n_heads": 2, "index_head_dim": 8, "index_topk": 4},
    # gated delta layers and mixers
    **{"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 4},
    **{"linear_value_head_dim": 6, "linear_conv_kernel_dim": 3, "state_size": 4, "ssm_state_size": 4},
    **{"mamba_d_state": 4, "mamba_d_ssm": 24, "mamba_n_heads": 4, "mamba_d_head": 6, "mamba_n_groups": 1},
    **{
        "mamba_d_conv": 3,
        "mamba_expand": 2,
        "mamba_chunk_size": 4,
        "mamba_num_heads": 4,
        "mamba_head_dim": 6,
    },
    **{"n_groups": 1, "conv_kernel": 3, "chunk_size": 4, "time_step_rank": 3, "mamba_dt_rank": 3},
    **{"lru_width": 24, "attention_hidden_size": 24},
    # inputs for each layer
    **{"hidden_size_per_layer_input": 5, "vocab_size_per_layer_input": models.VOCABULARY, "laurel_rank": 3},
    **{"num_kv_shared_layers": 1},
}
"""Sizes of every kind; a config is given those that it has."""

_MLA = {"num_key_value_heads": HEADS, "head_dim": 4}
_TURNS = {
    "layer_types": ["sliding_attention", "full_attention"] * 2,
}
_CONVOLUTIONS = {"layer_types": ["conv", "full_attention"] * 2}
_WIDE = {"mamba_n_heads": 4, "mamba_d_head": 12}

_PLAIN = """
olmoe flex_olmo minimax_m2 qwen2_moe glm4_moe dots1 solar_open mellum cohere2_moe exaone_moe ernie4_5_moe
hunyuan_v1_moe hy_v3 afmoe laguna kolibri1 beam gpt_oss phimoe minimax
granitemoe granitemoeshared granitemoe_swa qwen3_next qwen3_5_text qwen3_5_moe_text
mamba falcon_mamba falcon_h1 recurrent_gemma rwkv lfm3 nemotron_h
"""
_WITH_LATENTS = """
deepseek_v2 deepseek_v3 glm4_moe_lite minicpm3 youtu sarvam_mla axk1 deepseek_v32 glm_moe_dsa
"""

TYPES: dict[str, dict[str, Any]] = {
    **{name: {} for name in _PLAIN.split()},
    **{name: _MLA for name in _WITH_LATENTS.split()},
    "llama4_text": {"moe_layers": [1, 3]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2, **_WIDE},
    "gemma3n_text": _TURNS,
    "gemma4_text": {**_TURNS, "global_head_dim": 12},
    "gemma4_text-experts": {
        **_TURNS,
        **{"global_head_dim": 12, "num_global_key_value_heads": 1, "attention_k_eq_v": True},
        **{"enable_moe_block": True, "top_k_experts": 2, "num_kv_shared_layers": 0},
        **{"hidden_size_per_layer_input": 0},
    },
    "deepseek_v2-lite": {**_MLA, "q_lora_rank": None},
    "mamba2": {"num_heads": 4, "head_dim": 12},
    "bamba": {**_WIDE, "attn_layer_indices": [1]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "lfm2": {**_CONVOLUTIONS, "block_auto_adjust_ff_dim": False},
    "lfm2_moe": {**_CONVOLUTIONS, "num_dense_layers": 1},
    "xlstm": {"num_blocks": 4, "num_heads": 4, "v_head_dim": ..., "qk_head_dim": ..., "head_dim": ...},
    "zamba": {
        **{"num_key_value_heads": HEADS, "attention_head_dim": 12, "attention_hidden_size": 48},
        **{"layers_block_type": ["mamba", "hybrid"] * 2, "n_mamba_heads": 2, "use_mamba_kernels": False},
        "head_dim": ...,
    },
}
"""What each model type is given besides; an ellipsis leaves a size out."""

OTHER_CLAIMS = ("granitemoehybrid", "granitemoeshared", "mamba2", "bamba")
"""Those that have what the first type of their block lacks: mixers, shared experts, other projections."""

QUICK = ("olmoe", "gpt_oss", "qwen3_next", "deepseek_v3", "falcon_h1")
"""Those that are always tested; the others are marked slow."""

MARKED = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in TYPES]
"""Those as test parameters."""


def of_every_claim() -> list[str]:
    """Return types that together have all that blocks claim, and what differs from a type's defaults."""
    first = {known_family(name.partition("-")[0]): name for name in reversed(TYPES)}
    return [name for name in TYPES if "-" in name or name in (*first.values(), *OTHER_CLAIMS)]


def config_of(name: str) -> Any:
    """Return the tiny config of a name in `TYPES`: a model type, or one with a word behind it."""
    made = CONFIG_MAPPING[name.partition("-")[0]]
    default = made()

    def has(key: str) -> bool:
        try:
            return hasattr(default, key)
        except RuntimeError:  # differs from layer to layer
            return True

    sizes = {key: value for key, value in _SIZES.items() if has(key) or key == "attn_implementation"}
    return made(**{key: value for key, value in {**sizes, **TYPES[name]}.items() if value is not ...})


def build(name: str, seed: int = 0) -> transformers.PreTrainedModel:
    """Build the model of a name in `TYPES` with every parameter random, and every buffer that files hold."""
    model = transformers.AutoModelForCausalLM.from_config(config_of(name)).eval()
    generator = torch.Generator().manual_seed(seed + 100)
    kept = model.state_dict()
    with torch.no_grad():
        for buffer in (buffer for place, buffer in model.named_buffers() if place in kept):
            buffer.add_(torch.rand(buffer.shape, generator=generator) * 0.01)
    return models.randomised(model, seed)
