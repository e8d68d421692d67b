"""The kinds of LoRA that peft writes: each is read as peft merges it; what is malformed is refused."""

from __future__ import annotations

import json
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from packaging.version import Version
from safetensors.torch import load_file, save_file

import models
import takeback
from adapters import LLAMA, PLAIN, save_adapter
from takeback.checkpoint import load_model, open_checkpoint, open_pair
from takeback.run.errors import TakebackError

Q = {**PLAIN, "target_modules": ["q_proj", "down_proj"]}

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "dora": ("llama-gqa-biases", {**Q, "use_dora": True}),
    "dora, inputs first": ("gpt2", {**PLAIN, "target_modules": ["c_attn"], "use_dora": True}),
    "all biases": ("llama-gqa-biases", {**Q, "bias": "all"}),
    "biases of adapted layers": ("llama-gqa-biases", {**Q, "bias": "lora_only"}),
    "a bias of lora": ("llama-gqa-biases", {**Q, "lora_bias": True}),
    "pissa": ("llama-mha", {**Q, "init_lora_weights": "pissa"}),
    "olora": ("llama-mha", {**Q, "init_lora_weights": "olora", "use_rslora": True}),
    "embeddings": ("llama-mha", {**PLAIN, "target_modules": ["q_proj", "embed_tokens", "lm_head"]}),
    "embeddings by dora": (
        "llama-mha",
        {**PLAIN, "target_modules": ["q_proj", "embed_tokens"], "use_dora": True},
    ),
    "trainable tokens": ("llama-mha", {**Q, "trainable_token_indices": [1, 5]}),
    "trainable tokens of both": (
        "llama-mha",
        {**Q, "trainable_token_indices": {"embed_tokens": [2, 3], "lm_head": [4]}},
    ),
    "trainable tokens, tied": ("qwen2", {**Q, "trainable_token_indices": [1, 5]}),
    "target parameters": (
        "llama-mha",
        {**PLAIN, "target_modules": [], "target_parameters": ["q_proj.weight", "mlp.up_proj.weight"]},
    ),
    "saved embeddings": ("llama-mha", {**Q, "modules_to_save": ["embed_tokens", "lm_head"]}),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_merges_as_peft_does(kind: str, tmp_path: Path) -> None:
    if kind == "biases of adapted layers" and Version(version("peft")) < Version("0.21"):
        pytest.skip("peft before 0.21 leaves these biases out of the file")
    name, settings = KINDS[kind]
    models.build(name).save_pretrained(tmp_path / "base")
    expected = save_adapter(tmp_path / "base", tmp_path / "lora", torch.float32, **settings)
    base, opened = open_checkpoint(tmp_path / "base"), open_checkpoint(f"{tmp_path}/base+{tmp_path}/lora")
    assert opened.tied == base.tied
    assert sum(not base.read(name).equal(expected[name]) for name in base.shapes) >= 2
    for tensor in base.shapes:
        torch.testing.assert_close(opened.read(tensor), expected[tensor], rtol=2e-6, atol=2e-6)
    first = takeback.diff(open_pair(base, opened)).tensors
    expected_model = tmp_path / "merged"
    load_model(opened).save_pretrained(expected_model)
    second = takeback.diff(open_pair(base, expected_model)).tensors
    torch.testing.assert_close(
        torch.tensor(first["delta_norm"].to_numpy()), torch.tensor(second["delta_norm"].to_numpy())
    )


TIED: dict[str, dict[str, Any]] = {
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "the head": {"target_modules": ["q_proj", "lm_head"]},
    "both": {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
    "a saved head": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
}


@pytest.mark.parametrize("kind", TIED)
def test_tied_embeddings_are_those_of_the_model_that_was_trained(kind: str, tmp_path: Path) -> None:
    """peft's merge adds to both what was trained on one; the model with the adapter inside is the truth."""
    import peft

    base, lora = tmp_path / "base", tmp_path / "lora"
    models.build("qwen2").save_pretrained(base)
    save_adapter(base, lora, torch.float32, **PLAIN, **TIED[kind])
    live = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that merging such an adapter is a trap
        expected = peft.PeftModel.from_pretrained(live, lora).eval()
    opened = open_checkpoint(f"{base}+{lora}")
    assert not opened.tied
    asked = {"input_ids": models.tokens()}
    torch.testing.assert_close(load_model(opened)(**asked).logits, expected(**asked).logits)
    with pytest.raises(TakebackError, match="tied"):
        open_pair(base, opened)
    assert open_pair(base, opened, untie=True).base.shapes == opened.shapes


def edited(folder: Path, **changed: Any) -> None:
    file = folder / "adapter_config.json"
    settings = {**json.loads(file.read_text()), **changed}
    file.write_text(json.dumps({name: value for name, value in settings.items() if value != "gone"}))


MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "rank 0": ({"r": 0}, "has 0 as r"),
    "a rank in text": ({"r": "3"}, "has '3' as r"),
    "no rank": ({"r": "gone"}, "has None as r"),
    "a rank that is true": ({"r": True}, "has True as r"),
    "no scale": ({"lora_alpha": "gone"}, "has None as lora_alpha"),
    "a scale in text": ({"lora_alpha": "seven"}, "has 'seven' as lora_alpha"),
    "an endless scale": ({"lora_alpha": float("inf")}, "has inf as lora_alpha"),
    "patterns in a list": ({"rank_pattern": ["q_proj"]}, "as rank_pattern, which is no table"),
    "a pattern's rank in text": ({"rank_pattern": {"q_proj": "3"}}, "as rank_pattern of 'q_proj'"),
    "a broken pattern": ({"alpha_pattern": {"q_proj(": 3}}, "pattern 'q_proj\\(' in alpha_pattern"),
    "an exploding pattern": ({"rank_pattern": {"(.*)*(.*)*x": 3}}, "could take for ever"),
    "another exploding pattern": ({"rank_pattern": {"(a|a)+$": 3}}, "could take for ever"),
    "tokens in text": ({"trainable_token_indices": ["a"]}, "as trainable_token_indices"),
    "a kind that is a list": ({"init_lora_weights": ["pissa"]}, "init_lora_weights"),
    "dora without its vector": ({"use_dora": True}, "no lora_magnitude_vector"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_configs_are_refused_at_once(kind: str, tmp_path: Path) -> None:
    changed, named = MALFORMED[kind]
    models.build("llama-mha").save_pretrained(tmp_path / "base")
    save_adapter(tmp_path / "base", tmp_path / "lora", torch.float32, **LLAMA)
    edited(tmp_path / "lora", **changed)
    began = time.monotonic()
    with pytest.raises(TakebackError, match=named) as error:
        open_checkpoint(f"{tmp_path}/base+{tmp_path}/lora")
    assert time.monotonic() - began < 5
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("bent", ["int8", "flat", "half"])
def test_malformed_tensors_are_refused(bent: str, tmp_path: Path) -> None:
    models.build("llama-mha").save_pretrained(tmp_path / "base")
    save_adapter(tmp_path / "base", tmp_path / "lora", torch.float32, **LLAMA)
    file = tmp_path / "lora" / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("lora_A.weight"))
    changed = {"int8": tensors[name].to(torch.int8), "flat": tensors[name].reshape(-1), "half": tensors[name]}
    tensors |= {name: changed[bent]}
    if bent == "half":
        del tensors[name]
    save_file(tensors, file)
    told = {"int8": "as int8", "flat": "no matrices", "half": "only one half"}
    with pytest.raises(TakebackError, match=told[bent]):
        open_checkpoint(f"{tmp_path}/base+{tmp_path}/lora")
