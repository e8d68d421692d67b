"""Circuits of further families: their function and their circuits stay under all gauges that they have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import gauges
import models
import takeback
import views
from takeback.checkpoint import open_pair
from takeback.weights import diff
from takeback.weights.circuits import circuits

SIZES: dict[str, Any] = {
    "num_hidden_layers": 2,
    "hidden_size": 24,
    "intermediate_size": 16,
    "num_attention_heads": 4,
    "vocab_size": models.VOCABULARY,
    "max_position_embeddings": models.POSITIONS,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
    "attn_implementation": "eager",
}
GROUPED: dict[str, Any] = {**SIZES, "num_key_value_heads": 2}
WIDE: dict[str, Any] = {**GROUPED, "head_dim": 8}
STILL: dict[str, Any] = {
    "attention_dropout": 0.0,
    "dropout": 0.0,
    "activation_dropout": 0.0,
    "hidden_dropout_prob": 0.0,
}

CONFIGS: dict[str, Callable[[], Any]] = {
    "granite": lambda: transformers.GraniteConfig(**GROUPED, residual_multiplier=0.5, logits_scaling=2.0),
    "gemma": lambda: transformers.GemmaConfig(**WIDE),
    "vaultgemma": lambda: transformers.VaultGemmaConfig(**WIDE, query_pre_attn_scalar=8),
    "arcee": lambda: transformers.ArceeConfig(**WIDE),
    "apertus": lambda: transformers.ApertusConfig(**WIDE),
    "starcoder2": lambda: transformers.Starcoder2Config(**GROUPED),
    "gpt_neo": lambda: transformers.GPTNeoConfig(
        **SIZES, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]]
    ),
    "biogpt": lambda: transformers.BioGptConfig(**SIZES, **STILL),
    "xglm": lambda: transformers.XGLMConfig(
        **SIZES, **STILL, num_layers=2, d_model=24, attention_heads=4, ffn_dim=16
    ),
}


def limit(name: str) -> float:
    """Return how near 0 is: transformers masks XGLM's scores in float32 only."""
    return 1e-5 if name == "xglm" else 1e-9


def built(name: str) -> Any:
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[name]()).eval()
    dtype = torch.float32 if name == "xglm" else torch.float64
    return gauges.without_epsilon(models.randomised(model, 0).to(dtype))


def test_every_view_has_a_model() -> None:
    assert CONFIGS.keys() == views.NAMED.keys()


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_scrambled_models_do_the_same_and_their_circuits_stay(name: str, tmp_path: Path) -> None:
    base, tuned = built(name), built(name)
    gauges.scramble(tuned)
    before, after = (gauges.logits(model, models.tokens()) for model in (base, tuned))
    assert float((after - before).abs().max() / before.abs().max()) < limit(name)
    base.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "tuned")
    table = circuits(open_pair(tmp_path / "base", tmp_path / "tuned")).table
    assert (table["change"] < limit(name)).all()
    large = table[table["circuit"].isin(["OV", "QK", "write"])]
    assert set(large["circuit"]) == {"OV", "QK", "write"}
    assert (large["raw"] > 0.5).all()
    assert (large["permuted"] > 0.3).all()


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_changed_head_and_neuron_are_seen_where_they_are(name: str, tmp_path: Path) -> None:
    base, tuned = built(name), built(name)
    block = views.blocks(tuned)[1]
    with torch.no_grad():
        block.attention.q[0, 0] *= (
            2
            if not block.attention.q_norm
            else torch.linspace(0.5, 2, block.attention.q.shape[-1], dtype=torch.float64)
        )
        block.mlps[0].down[3] *= 1.25
    base.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "tuned")
    table = circuits(open_pair(tmp_path / "base", tmp_path / "tuned")).table
    moved = table[table["change"] > limit(name)]
    assert set(zip(moved["component"], moved["circuit"], strict=True)) == {
        ("L1.H0", "QK"),
        ("L1.MLP", "write"),
    }


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_model_in_other_coordinates_does_the_same_and_is_brought_back(name: str, tmp_path: Path) -> None:
    base = built(name).float()
    base.save_pretrained(tmp_path / "base")
    other = takeback.regauged(str(tmp_path / "base"), tmp_path / "other", seed=0)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(other, attn_implementation="eager").eval()
    gauges.without_epsilon(loaded)
    before, after = (gauges.logits(model, models.tokens()) for model in (base, loaded))
    assert float((after - before).abs().max() / before.abs().max()) < 2e-4
    pair = open_pair(tmp_path / "base", other)
    assert diff(pair).components["relative"].max() > 0.3
    near = open_pair(tmp_path / "base", takeback.aligned(pair, tmp_path / "near"))
    assert diff(near).components["relative"].max() < 1e-4
