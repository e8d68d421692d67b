"""Forms that trainers leave: names of wrappers, heads, leftovers in configs, experts apart and stacked."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, safe_open, save_file

import models
from takeback.checkpoint import load_model, open_checkpoint, open_pair
from takeback.hybrid import hybrid, write_hybrid
from takeback.hybrid.live import taken_back
from takeback.run.errors import TakebackError, TakebackWarning
from takeback.weights.entries import diff

NAME = "llama-gqa-biases"


def rename(folder: Path, change: Callable[[str], str]) -> None:
    file = folder / "model.safetensors"
    save_file({change(name): tensor for name, tensor in load_file(file).items()}, file, {"format": "pt"})


def edit_config(folder: Path, **changed: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(models.tokens()).logits


# names of wrappers

WRAPPERS: dict[str, Callable[[str], str]] = {
    "peft": lambda name: f"base_model.model.{name}",
    "ddp": lambda name: f"module.{name}",
    "deepspeed and peft": lambda name: f"module.base_model.model.{name}",
    "fsdp": lambda name: (
        "_fsdp_wrapped_module." + re.sub(r"(layers\.\d+\.)", r"\1_fsdp_wrapped_module.", name)
    ),
    "fsdp of checkpointed layers": lambda name: re.sub(
        r"(layers\.\d+\.)", r"\1_fsdp_wrapped_module._checkpoint_wrapped_module.", name
    ),
    "compiled layers": lambda name: re.sub(r"(layers\.\d+\.)", r"\1_orig_mod.", name),
    "vision, older": lambda name: f"language_model.{name}",
    "vision, newer": lambda name: name.replace("model.", "model.language_model."),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_names_of_wrappers_are_read_and_not_written(wrapper: str, tmp_path: Path) -> None:
    base, tuned = models.save_pair(NAME, tmp_path)
    digest, wanted = open_checkpoint(tuned).digest, logits(load_model(open_checkpoint(tuned)))
    rename(tuned, WRAPPERS[wrapper])
    opened = open_checkpoint(tuned)
    assert opened.digest == digest
    assert torch.equal(logits(load_model(opened)), wanted)
    pair = open_pair(base, tuned)
    nothing = pair.anatomy().universe - pair.anatomy().universe
    out = write_hybrid(hybrid(pair, nothing), tmp_path / "out")
    assert torch.equal(logits(transformers.AutoModelForCausalLM.from_pretrained(out)), wanted)


@pytest.mark.slow
def test_a_compiled_model_is_read_as_torch_names_it(tmp_path: Path) -> None:
    base, tuned = models.save_pair("llama-mha", tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch, of its own modules
        compiled: Any = torch.compile(models.build("llama-mha", 1))
    names = compiled.state_dict()
    assert all(name.startswith("_orig_mod.") for name in names)
    save_file({name: tensor.contiguous() for name, tensor in names.items()}, tuned / "model.safetensors")
    assert (
        open_pair(base, tuned).tuned.digest
        == open_checkpoint(models.save_pair("llama-mha", tmp_path / "x")[1]).digest
    )


# heads


def save_classifiers(folder: Path) -> tuple[Path, Path]:
    folders = folder / "base", folder / "tuned"
    for seed, target in enumerate(folders):
        config = models.CONFIGS[NAME]()
        config.num_labels = 1
        model = transformers.AutoModelForSequenceClassification.from_config(config)
        models.randomised(model, seed).save_pretrained(target)
    return folders


def test_reward_models_are_a_pair_with_a_head(tmp_path: Path) -> None:
    base, tuned = save_classifiers(tmp_path)
    pair = open_pair(base, tuned)
    anatomy = pair.anatomy()
    assert anatomy.parameters(anatomy.parse("HEAD")) == anatomy.shapes["score.weight"][1]
    assert "HEAD" in diff(pair).components["component"].tolist()
    out = write_hybrid(hybrid(pair, anatomy.parse("HEAD")), tmp_path / "out")
    made = transformers.AutoModelForSequenceClassification.from_pretrained(out)
    assert torch.equal(made.score.weight, open_checkpoint(base).read("score.weight"))
    with pytest.raises(TakebackError, match=r"score\.weight"):
        load_model(pair.tuned)


def test_a_reward_model_and_the_model_it_came_from(tmp_path: Path) -> None:
    base, _ = models.save_pair("llama-mha", tmp_path / "lm")
    config = models.CONFIGS["llama-mha"]()
    config.num_labels = 1
    tuned = tmp_path / "rm"
    models.randomised(transformers.AutoModelForSequenceClassification.from_config(config), 1).save_pretrained(
        tuned
    )
    pair = open_pair(base, tuned)
    aside = {one.place: (one.base, one.tuned) for one in pair.differences() if one.kind == "aside"}
    assert aside == {"lm_head.weight": ("[23, 24]", None), "score.weight": (None, "[1, 24]")}
    universe = pair.anatomy().universe
    assert not {"HEAD", "UNEMBED"} & {one.kind for one in universe}
    out = write_hybrid(hybrid(pair, universe), tmp_path / "out")
    held = load_file(out / "model.safetensors")
    assert torch.equal(held["score.weight"], load_file(tuned / "model.safetensors")["score.weight"])
    assert torch.equal(held["model.norm.weight"], load_file(base / "model.safetensors")["model.norm.weight"])


def test_a_value_head_beside_a_language_model(tmp_path: Path) -> None:
    """TRL's AutoModelForCausalLMWithValueHead saves the model's tensors and `v_head.summary` beside them."""
    base, tuned = models.save_pair("llama-mha", tmp_path)
    file = tuned / "model.safetensors"
    head = {"v_head.summary.weight": torch.ones(1, 24), "v_head.summary.bias": torch.ones(1)}
    save_file({**load_file(file), **head}, file, {"format": "pt"})
    pair = open_pair(base, tuned)
    assert {one.place for one in pair.differences()} == set(head)
    wanted = logits(load_model(pair.tuned))
    file = base / "model.safetensors"
    save_file({**load_file(file), **head}, file, {"format": "pt"})
    pair = open_pair(base, tuned)
    anatomy = pair.anatomy()
    assert anatomy.parameters(anatomy.parse("HEAD")) == 25
    live = load_model(pair.tuned)
    with taken_back(live, pair.base, anatomy.parse("HEAD")):
        assert torch.equal(logits(live), wanted)


def test_bare_decoders(tmp_path: Path) -> None:
    folders = tmp_path / "base", tmp_path / "tuned"
    for seed, target in enumerate(folders):
        models.build("llama-mha", seed).model.save_pretrained(target)
    pair = open_pair(*folders)
    assert len(diff(pair).tensors) == len(load_file(folders[0] / "model.safetensors"))
    with pytest.raises(TakebackError, match="a decoder without output embeddings"):
        pair.anatomy().parse("UNEMBED")
    with pytest.raises(TakebackError, match=r"lm_head\.weight"):
        load_model(pair.tuned)


# configs, and other leftovers


def test_a_quantization_that_was_undone_is_no_obstacle(tmp_path: Path) -> None:
    base, tuned = models.save_pair(NAME, tmp_path)
    edit_config(tuned, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    pair = open_pair(base, tuned)
    assert logits(load_model(pair.tuned)).isfinite().all()
    out = write_hybrid(hybrid(pair, pair.anatomy().parse("L0.MLP")), tmp_path / "out")
    assert "quantization_config" not in json.loads((out / "config.json").read_text())
    tensors = load_file(tuned / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    save_file({**tensors, name: tensors[name].to(torch.uint8)}, tuned / "model.safetensors")
    with pytest.raises(TakebackError, match="quantized weights"):
        open_checkpoint(tuned)


def test_an_attention_that_is_not_installed(tmp_path: Path) -> None:
    _, tuned = models.save_pair(NAME, tmp_path)
    wanted = logits(load_model(open_checkpoint(tuned)))
    edit_config(tuned, attn_implementation="flash_attention_2", _attn_implementation="flash_attention_2")
    with pytest.warns(TakebackWarning, match="flash_attention_2, which is not installed"):
        model = load_model(open_checkpoint(tuned))
    torch.testing.assert_close(logits(model), wanted, rtol=1e-4, atol=1e-5)


def test_stray_buffers_on_one_side(tmp_path: Path) -> None:
    base, tuned = models.save_pair(NAME, tmp_path)
    file = tuned / "model.safetensors"
    buffers = {
        "model.rotary_emb.inv_freq": torch.ones(3),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(3),
    }
    save_file({**load_file(file), **buffers}, file, {"format": "pt"})
    assert open_pair(base, tuned).differences() == ()


# files that are out of date, numbers that are none


@pytest.mark.slow
def test_a_single_file_beside_shards_is_told(tmp_path: Path) -> None:
    base, tuned = models.save_pair(NAME, tmp_path)
    models.build(NAME, 2).save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    for file in (tmp_path / "shards").glob("model*"):
        file.rename(tuned / file.name)
    os.utime(tuned / "model.safetensors", (0, 0))
    with pytest.warns(TakebackWarning, match=r"holds both model\.safetensors and shards.*older than them"):
        pair = open_pair(base, tuned)
    assert [one.kind for one in pair.differences()] == ["warning"]
    run = subprocess.run(
        [sys.executable, "-m", "takeback", "diff", str(base), str(tuned)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr.startswith(f"takeback: warning: {tuned} holds both")
    assert run.stderr.count("\n") == 1
    assert "WARNING:" in run.stdout
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert json.loads(diff(pair).to_json())["differences"][0]["kind"] == "warning"


def test_a_hybrid_of_a_broken_parent_is_told(tmp_path: Path) -> None:
    base, tuned = models.save_pair(NAME, tmp_path)
    tensors = load_file(base / "model.safetensors")
    tensors["model.norm.weight"][0] = torch.nan
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    pair = open_pair(base, tuned)
    with pytest.warns(TakebackWarning, match=r"not finite, in model\.norm\.weight"):
        write_hybrid(hybrid(pair, pair.anatomy().parse("NORM")), tmp_path / "out")
    write_hybrid(hybrid(pair, pair.anatomy().parse("L0.*")), tmp_path / "other")


# experts


@pytest.mark.parametrize("stacked", ["base", "tuned"])
@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe"])
def test_stacked_experts_against_experts_one_by_one(name: str, stacked: str, tmp_path: Path) -> None:
    base, tuned = models.save_pair(name, tmp_path)
    wanted = diff(open_pair(base, tuned)).components
    folder = tmp_path / stacked
    live = models.build(name, ["base", "tuned"].index(stacked))
    tensors = {key: tensor.contiguous() for key, tensor in live.state_dict().items()}
    assert any("experts.gate_up_proj" in key for key in tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    pair = open_pair(base, tuned)
    found = diff(pair).components
    assert found.equals(wanted)
    taken = pair.anatomy().parse("L0.E1")
    out = write_hybrid(hybrid(pair, taken), tmp_path / "out")
    made = transformers.AutoModelForCausalLM.from_pretrained(out).state_dict()
    sides = [models.build(name, seed).state_dict() for seed in (0, 1)]
    for key in ("gate_up_proj", "down_proj"):
        where = f"model.layers.0.mlp.experts.{key}"
        assert torch.equal(made[where][1], sides[0][where][1])
        assert torch.equal(made[where][0], sides[1][where][0])


def test_both_stacked(tmp_path: Path) -> None:
    folders = tmp_path / "base", tmp_path / "tuned"
    for seed, folder in enumerate(folders):
        live = models.build("mixtral", seed)
        live.save_pretrained(folder)
        save_file(dict(live.state_dict()), folder / "model.safetensors", {"format": "pt"})
    pair = open_pair(*folders)
    assert "L1.E2" in diff(pair).components["component"].tolist()


# headers


def header_of(file: Path) -> tuple[dict[str, Any], bytes]:
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def write_header(file: Path, header: bytes, data: bytes) -> None:
    file.write_bytes(struct.pack("<Q", len(header)) + header + data)


HEADERS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "overlap": (lambda rows: rows["b"].update(data_offsets=[4, 12]), "overlaps"),
    "hole": (lambda rows: rows["b"].update(data_offsets=[12, 20]), "truncated|no tensor's"),
    "fraction": (lambda rows: rows["a"].update(shape=[2.0]), "not all whole numbers"),
    "text": (lambda rows: rows["a"].update(shape=["2"]), "not all whole numbers"),
    "truth": (lambda rows: rows["a"].update(shape=[True, 2]), "not all whole numbers"),
    "negative": (lambda rows: rows["a"].update(shape=[-1, -2]), "not all whole numbers"),
    "no list": (lambda rows: rows["a"].update(shape=2), "not all whole numbers"),
    "more keys": (lambda rows: rows["a"].update(more=1), "not just dtype"),
    "metadata": (lambda rows: rows.update(__metadata__={"a": 1}), "no table of texts"),
    "unknown": (lambda rows: rows["a"].update(dtype="F4"), "element type F4"),
}


@pytest.fixture
def two(tmp_path: Path) -> Path:
    file = tmp_path / "two.safetensors"
    save_file({"a": torch.ones(2), "b": torch.zeros(2)}, file)
    return file


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_that_break_the_rules(kind: str, two: Path) -> None:
    change, told = HEADERS[kind]
    header, data = header_of(two)
    change(header)
    write_header(two, json.dumps(header).encode(), data)
    with pytest.raises(TakebackError, match=told) as caught:
        open_checkpoint(two)
    assert "\n" not in str(caught.value)
    if kind not in ("metadata", "more keys"):
        with pytest.raises(SafetensorError), safe_open(two, "pt") as held:
            held.get_tensor("a")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda header, data: (b"\xef\xbb\xbf" + header, data), "does not begin with a brace"),
        (lambda header, data: (header.decode().encode("utf-16"), data), "does not begin with a brace"),
        (lambda header, data: (header, data + b"more"), "4 bytes after b are no tensor's"),
        (lambda header, data: (header.replace(b'"b"', b'"a"'), data), "has 'a' twice"),
        (lambda header, data: (b'{"a":' * 100_000, data), "broken safetensors header"),
        (lambda header, data: (header.replace(b'"a"', b'"\xff"'), data), "broken safetensors header"),
    ],
)
def test_bytes_that_break_the_rules(
    change: Callable[[bytes, bytes], tuple[bytes, bytes]], told: str, two: Path
) -> None:
    header, data = header_of(two)
    write_header(two, *change(json.dumps(header).encode(), data))
    with pytest.raises(TakebackError, match=told):
        open_checkpoint(two)
