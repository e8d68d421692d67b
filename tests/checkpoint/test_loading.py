"""From a folder to a live model and tokenizer: no foreign code, no pickles, one notion of a tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import models
import takeback
from adapters import LLAMA, save_adapter
from takeback.checkpoint import load_model, load_tokenizer, open_checkpoint, open_pair
from takeback.hybrid import hybrid, write_hybrid
from takeback.run.errors import TakebackError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models.build("gpt2").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def save_words(folder: Path, words: str) -> None:
    """Save a tokenizer as GPT-2 had it: a vocabulary and merges in files of their own."""
    vocabulary = {token: number for number, token in enumerate([*words, words[:2]])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text(f"#version: 0.2\n{words[0]} {words[1]}\n")


def refusal(folder: Path) -> str:
    with pytest.raises(TakebackError) as caught:
        load_tokenizer(open_checkpoint(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_foreign_code_beside_a_model_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.build("llama-mha").save_pretrained(tmp_path / "base")
    save_adapter(tmp_path / "base", tmp_path / "lora", torch.float32, **LLAMA)
    ran = tmp_path / "ran"
    for folder in (tmp_path / "base", tmp_path / "lora"):
        save_words(folder, "abc")
        (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Evil: pass\n")
        places = {"AutoTokenizer": ["evil.Evil", None], "AutoModelForCausalLM": "evil.Evil"}
        told = {"tokenizer_class": "Evil", "auto_map": places}
        (folder / "tokenizer_config.json").write_text(json.dumps(told))
        file = folder / "config.json"
        config = json.loads(file.read_text()) if file.exists() else {"model_type": "evil"}
        evil = {"AutoConfig": "evil.Evil", **places}
        file.write_text(json.dumps({**config, "auto_map": evil}))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # a hasty user's answer to what transformers asks
    for ref in (f"{tmp_path}/base", f"{tmp_path}/base+{tmp_path}/lora"):
        opened = open_checkpoint(ref)
        load_model(opened)
        with pytest.raises(TakebackError) as caught:
            load_tokenizer(opened)
        assert "\n" not in str(caught.value)
        assert not ran.exists()


def test_pickles_are_not_loaded_instead(folder: Path) -> None:
    opened = open_checkpoint(folder)
    torch.save(models.build("gpt2", 1).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(TakebackError, match="can't load"):
        load_model(opened)


def test_a_broken_tokenizer_is_told_in_one_line(folder: Path) -> None:
    assert "no tokenizer" in refusal(folder)
    (folder / "tokenizer_config.json").write_text("{}")
    assert "no tokenizer" in refusal(folder)
    (folder / "tokenizer.json").write_text("{")
    assert "can't load the tokenizer" in refusal(folder)


def test_vocabulary_and_merges_are_a_tokenizer(folder: Path, tmp_path: Path) -> None:
    save_words(folder, "abc")
    assert open_checkpoint(folder).tokenizer_folder == folder
    assert load_tokenizer(open_checkpoint(folder))("abc")["input_ids"] == [3, 2]
    shutil.copytree(folder, tmp_path / "tuned")
    save_words(tmp_path / "tuned", "abd")
    pair = open_pair(folder, tmp_path / "tuned")
    assert {one.place for one in pair.differences()} == {"token 'c'", "token 'd'"}
    out = write_hybrid(hybrid(pair, pair.anatomy().parse("L0.H1")), tmp_path / "out")
    assert load_tokenizer(open_checkpoint(out))("abd")["input_ids"] == [3, 2]


def test_an_adapter_with_settings_alone_has_its_bases_tokenizer(tmp_path: Path) -> None:
    models.build("llama-mha").save_pretrained(tmp_path / "base")
    save_adapter(tmp_path / "base", tmp_path / "lora", torch.float32, **LLAMA)
    (tmp_path / "lora" / "tokenizer_config.json").write_text("{}")
    save_words(tmp_path / "base", "abc")
    opened = open_checkpoint(f"{tmp_path}/base+{tmp_path}/lora")
    assert opened.tokenizer_folder == tmp_path / "base"
    assert {file.name for file in opened.side_files()} >= {"vocab.json", "merges.txt"}
    assert all(file.parent == tmp_path / "base" for file in opened.side_files())


@pytest.mark.parametrize("name", ["gpt_neox", "phi3", "opt-350m", "qwen3_moe", "mixtral"])
def test_the_live_model_is_that_of_the_files(name: str, tmp_path: Path) -> None:
    models.build(name).save_pretrained(tmp_path)
    live = load_model(open_checkpoint(tmp_path))
    for one, other in zip(live.parameters(), models.build(name).parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", sorted(models.WITH_EXPERTS))
def test_an_adapter_beside_stacked_experts_loads_as_peft_merges_it(name: str, tmp_path: Path) -> None:
    models.build(name).save_pretrained(tmp_path / "base")
    targets = ["q_proj", "o_proj"]
    merged = save_adapter(
        tmp_path / "base", tmp_path / "lora", torch.float32, r=3, lora_alpha=7, target_modules=targets
    )
    live = load_model(open_checkpoint(f"{tmp_path}/base+{tmp_path}/lora"))
    assert merged.keys() == dict(live.named_parameters()).keys()
    for tensor, parameter in live.named_parameters():
        torch.testing.assert_close(parameter, merged[tensor], rtol=1e-6, atol=1e-6)


STACKS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
EXPERTS: dict[str, Any] = {"target_modules": ["q_proj"], "target_parameters": STACKS, "r": 3, "lora_alpha": 7}


def layout_of_the_other_peft(folder: Path, count: int, r: int) -> None:
    """Write the halves of each product as they are where the other axis of a matrix is its inputs."""
    file = folder / "adapter_model.safetensors"
    tensors, made = load_file(file), dict[str, torch.Tensor]()
    for name, a in tensors.items():
        if name.endswith(".lora_A.weight") and "experts" in name:
            other = name.replace("lora_A", "lora_B")
            b = tensors[other]
            made[name] = b.reshape(len(b), r, count).permute(2, 1, 0).reshape(r * count, -1).contiguous()
            made[other] = a.reshape(count, r, -1).permute(2, 1, 0).reshape(-1, r * count).contiguous()
    save_file({**tensors, **made}, file)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("name", sorted(models.WITH_EXPERTS))
def test_an_adapter_on_stacked_experts_is_merged_as_peft_does(
    name: str, swapped: bool, tmp_path: Path
) -> None:
    models.build(name).save_pretrained(tmp_path / "base")
    base = open_checkpoint(tmp_path / "base")
    settings = EXPERTS if swapped else {**EXPERTS, "rank_pattern": {"0.mlp.experts.down_proj": 2}}
    merged = save_adapter(tmp_path / "base", tmp_path / "lora", torch.float32, **settings)
    if swapped:
        layout_of_the_other_peft(tmp_path / "lora", 3, 3)
    opened = open_checkpoint(f"{tmp_path}/base+{tmp_path}/lora")
    moved = [one for one in base.shapes if not torch.equal(base.read(one), opened.read(one))]
    assert sum("experts" in one for one in moved) == {"mixtral": 18, "qwen3_moe": 9}[name]
    for tensor, parameter in load_model(opened).named_parameters():
        torch.testing.assert_close(parameter, merged[tensor], rtol=1e-6, atol=1e-6)
    told = takeback.diff(open_pair(tmp_path / "base", opened)).tensors.set_index("tensor")["delta_norm"]
    for one in moved:
        assert told[one] == pytest.approx((opened.read(one) - base.read(one)).norm().item(), rel=1e-5)


def test_square_experts_of_an_unknown_layout_are_refused(tmp_path: Path) -> None:
    config = models.CONFIGS["qwen3_moe"]()
    config.moe_intermediate_size = config.hidden_size
    models.randomised(transformers.AutoModelForCausalLM.from_config(config), 0).save_pretrained(
        tmp_path / "base"
    )
    settings = {**EXPERTS, "target_parameters": STACKS[1:]}
    save_adapter(tmp_path / "base", tmp_path / "lora", torch.float32, **settings)
    with pytest.raises(TakebackError, match=r"square matrices of .*merge it with the peft") as caught:
        open_checkpoint(f"{tmp_path}/base+{tmp_path}/lora")
    assert "\n" not in str(caught.value)
    save_adapter(tmp_path / "base", tmp_path / "other", torch.float32, **EXPERTS)
    open_checkpoint(f"{tmp_path}/base+{tmp_path}/other")  # what is not square tells the layout


# names on the hub


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let nothing but the local cache answer, and note what would have been fetched."""
    asked: list[str] = []

    def fetch(ref: str, repo: str, revision: str) -> Path:
        asked.append(f"{repo}@{revision}")
        raise TakebackError("fetched")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("takeback.checkpoint.locate._download", fetch)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return asked


def keep_in_cache(folder: Path, tmp_path: Path) -> Path:
    revision = "0123456789abcdef0123456789abcdef01234567"
    kept = tmp_path / "cache" / "models--org--name"
    shutil.copytree(folder, kept / "snapshots" / revision)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(revision)
    return kept / "snapshots" / revision


def test_a_bare_name_is_looked_up_in_the_cache_only(folder: Path, tmp_path: Path, asked: list[str]) -> None:
    with pytest.raises(TakebackError, match=r"write org/name@main to fetch it"):
        open_checkpoint("org/name")
    assert asked == []
    with pytest.raises(TakebackError, match="fetched"):
        open_checkpoint("org/name@v1")
    assert asked == ["org/name@v1"]
    keep_in_cache(folder, tmp_path)
    assert open_checkpoint("org/name").digest == open_checkpoint(folder).digest


@pytest.mark.parametrize("index", ["{", "[]", '{"weight_map": []}', '{"weight_map": {"a": 5}}'])
def test_a_cached_index_that_is_broken_is_fetched_again(
    index: str, folder: Path, tmp_path: Path, asked: list[str]
) -> None:
    kept = keep_in_cache(folder, tmp_path)
    (kept / "model.safetensors").rename(kept / "model-00001-of-00001.safetensors")
    (kept / "model.safetensors.index.json").write_text(index)
    with pytest.raises(TakebackError, match="fetched"):
        open_checkpoint("org/name@main")
    with pytest.raises(TakebackError, match="no complete org/name"):
        open_checkpoint("org/name")
