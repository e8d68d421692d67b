"""Opening checkpoints: all that a user may name, equal to what transformers and peft load; errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import kill
import mixtures
import models
from adapters import LLAMA, PLAIN, save_adapter
from takeback.anatomy import Region
from takeback.checkpoint import Checkpoint, load_model, narrowest_dtype, open_checkpoint
from takeback.checkpoint.shards import ELEMENTS, read_metadata
from takeback.run.errors import TakebackError, UnknownName


def live_tensors(folder: Path, **more: Any) -> dict[str, torch.Tensor]:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, **more)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def refusal(ref: str | Path) -> str:
    with pytest.raises(TakebackError) as caught:
        open_checkpoint(ref)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models.build("llama-mha").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", models.marked(sorted(models.CONFIGS.keys() - models.WITH_EXPERTS)))
def test_tensors_are_those_of_the_live_module(name: str, tmp_path: Path) -> None:
    models.build(name).save_pretrained(tmp_path)
    opened, live = open_checkpoint(tmp_path), live_tensors(tmp_path)
    assert opened.shapes == {name: tuple(tensor.shape) for name, tensor in live.items()}
    assert opened.dtypes == {name: tensor.dtype for name, tensor in live.items()}
    assert all(torch.equal(opened.read(name), tensor) for name, tensor in live.items())


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("gpt2", "h.0.ln_1.weight"),  # as on the hub
        ("gpt_neox-odd-tied", "layers.0.input_layernorm.weight"),
        ("opt", "decoder.layers.0.self_attn_layer_norm.weight"),
        ("gemma3", "layers.0.input_layernorm.weight"),
    ],
)
def test_shards_and_prefix_make_no_difference(name: str, without: str, tmp_path: Path) -> None:
    model = models.build(name)
    model.save_pretrained(tmp_path / "single")
    model.save_pretrained(tmp_path / "sharded", max_shard_size="15KB")
    model.base_model.save_pretrained(tmp_path / "bare")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    single, sharded, bare = (open_checkpoint(tmp_path / form) for form in ("single", "sharded", "bare"))
    assert without in bare.stored.values()
    assert single.shapes.keys() == sharded.shapes.keys() == bare.shapes.keys()
    assert single.digest == sharded.digest == bare.digest


def test_digest_moves_with_one_bit_and_the_name(folder: Path) -> None:
    file = folder / "model.safetensors"
    before = open_checkpoint(folder).digest
    tensors = load_file(file)
    tensors["model.norm.weight"].view(torch.int32)[3] ^= 1
    save_file(tensors, file)
    assert open_checkpoint(folder).digest != before


def test_region_is_a_part_of_the_tensor(folder: Path) -> None:
    opened = open_checkpoint(folder)
    for component in opened.anatomy("neurons").universe:
        for region in opened.anatomy("neurons").regions(component):
            assert torch.equal(opened.read_region(region), opened.read(region.tensor)[region.index])


def test_trainer_checkpoint_opens_among_its_other_files(folder: Path) -> None:
    inner = folder.parent / "run" / "checkpoint-20"
    shutil.copytree(folder, inner)
    for other in ("optimizer.pt", "rng_state.pth", "training_args.bin", "trainer_state.json"):
        (inner / other).write_bytes(b"{}")
    assert open_checkpoint(inner).digest == open_checkpoint(folder).digest
    assert "checkpoint-20" in refusal(folder.parent / "run")


def test_plain_state_dict_has_units(tmp_path: Path) -> None:
    stack = models.build_mlp()
    save_file(stack.state_dict(), tmp_path / "policy.safetensors")
    opened = open_checkpoint(tmp_path / "policy.safetensors")
    assert opened.config is None
    assert len(opened.anatomy().universe) == 7 + 4 + 3
    assert torch.equal(opened.read("2.bias"), stack[2].bias)


def test_unknown_tensor_names_the_nearest(folder: Path) -> None:
    opened = open_checkpoint(folder)
    for read in (opened.read, lambda name: opened.read_region(Region(name))):
        with pytest.raises(UnknownName, match=r"model\.norm\.weight"):
            read("model.norm.weigth")


def test_tied_embeddings_stored_twice_are_one(tmp_path: Path) -> None:
    models.build("qwen2").save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    embedding = tensors["model.embed_tokens.weight"]
    digest = open_checkpoint(tmp_path).digest

    save_file(
        {**tensors, "lm_head.weight": embedding.clone()}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    assert open_checkpoint(tmp_path).tied
    assert open_checkpoint(tmp_path).digest == digest

    rest = {name: tensor for name, tensor in tensors.items() if name != "model.embed_tokens.weight"}
    save_file({**rest, "lm_head.weight": embedding.clone()}, tmp_path / "model.safetensors", {"format": "pt"})
    assert open_checkpoint(tmp_path).tied
    assert open_checkpoint(tmp_path).digest == digest

    save_file({**tensors, "lm_head.weight": embedding + 1}, tmp_path / "model.safetensors", {"format": "pt"})
    assert not open_checkpoint(tmp_path).tied  # as transformers does, whatever the config says
    assert "lm_head.weight" in open_checkpoint(tmp_path).shapes


def test_the_language_model_of_gemma_3_opens_as_the_docs_save_it(tmp_path: Path) -> None:
    text = models.CONFIGS["gemma3"]().to_diff_dict() | {"vocab_size": 40}
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.Gemma3Config(
        text_config=text, vision_config={**vision, "image_size": 28, "patch_size": 14}, image_token_index=30
    )
    whole = transformers.Gemma3ForConditionalGeneration(config).eval()
    whole.save_pretrained(tmp_path / "whole")
    assert "language model" in refusal(tmp_path / "whole")
    language = transformers.Gemma3ForCausalLM(whole.config.text_config)
    language.model, language.lm_head = whole.model.language_model, whole.lm_head
    language.save_pretrained(tmp_path / "language")
    live = load_model(open_checkpoint(tmp_path / "language"))
    with torch.no_grad():
        torch.testing.assert_close(live(models.tokens()).logits, whole(models.tokens()).logits)


# adapters


ADAPTERS = {
    "one for queries, keys and values": (
        "phi3",
        {**PLAIN, "target_modules": ["qkv_proj", "gate_up_proj"]},
    ),
    "heads in a row": ("gpt_neox", {**PLAIN, "target_modules": ["query_key_value", "dense"]}),
    "alpha": ("llama-mha", LLAMA),
    "rslora": ("llama-mha", {**LLAMA, "use_rslora": True}),
    "patterns": (
        "llama-mha",
        {
            **LLAMA,
            "rank_pattern": {"v_proj": 2, "layers.0.mlp.down_proj": 5},
            "alpha_pattern": {"1.*q_proj": 11},
        },
    ),
    "saved modules": ("llama-mha", {**LLAMA, "modules_to_save": ["lm_head", "input_layernorm"]}),
    "inputs first": ("gpt2", {**PLAIN, "target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "some inputs first": (
        "gpt2-untied",
        {**PLAIN, "target_modules": ["attn.c_proj", "lm_head"], "fan_in_fan_out": True},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ADAPTERS)
def test_adapter_merges_as_peft_does(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    name, settings = ADAPTERS[kind]
    models.build(name).to(dtype).save_pretrained(tmp_path / "base")
    expected = save_adapter(tmp_path / "base", tmp_path / "lora", dtype, **settings)
    base, opened = open_checkpoint(tmp_path / "base"), open_checkpoint(f"{tmp_path}/base+{tmp_path}/lora")
    assert opened.shapes == base.shapes
    changed = {name for name in base.shapes if not torch.equal(base.read(name).float(), expected[name])}
    assert len(changed) >= 3
    for tensor in base.shapes:
        torch.testing.assert_close(opened.read(tensor).float(), expected[tensor], rtol=1e-6, atol=1e-6)
        if tensor in opened.deltas:
            assert opened.dtypes[tensor] == opened.read(tensor).dtype == torch.float32
        elif tensor not in changed:
            assert torch.equal(opened.read(tensor), base.read(tensor))
    region = opened.anatomy().regions(next(iter(opened.anatomy().parse("L0.H1"))))[0]
    assert torch.equal(opened.read_region(region), opened.read(region.tensor)[region.index])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "some"}, "bias=some"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights=loftq"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"r": 4}, "rank 3"),
    ],
)
def test_other_adapters_are_refused_by_name(
    changed: dict[str, Any], named: str, folder: Path, tmp_path: Path
) -> None:
    save_adapter(folder, tmp_path / "lora", torch.float32, **LLAMA)
    file = tmp_path / "lora" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    assert named in refusal(f"{folder}+{tmp_path}/lora")


def test_an_adapter_alone_is_of_the_base_that_it_names(folder: Path, tmp_path: Path) -> None:
    save_adapter(folder, tmp_path / "lora", torch.float32, **LLAMA)
    assert open_checkpoint(tmp_path / "lora").digest == open_checkpoint(f"{folder}+{tmp_path}/lora").digest
    config = tmp_path / "lora" / "adapter_config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "base_model_name_or_path": "nowhere.at.all"}))
    assert "is an adapter of nowhere.at.all, and there is no file" in refusal(tmp_path / "lora")
    config.write_text(json.dumps({**settings, "base_model_name_or_path": None}))
    assert f"write BASE+{tmp_path}/lora" in refusal(tmp_path / "lora")


# what cannot be opened


def test_missing_folder(tmp_path: Path) -> None:
    assert "there is no file or folder" in refusal(tmp_path / "nowhere")


def test_hub_name_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    text = refusal("nobody/nothing@main")
    assert "local cache has no complete nobody/nothing" in text
    assert "hub could not be reached" in text
    (tmp_path / "runs").mkdir()
    assert "there is no folder 'runs/tuned', and" in refusal("runs/tuned")
    (tmp_path / "runs" / "tuned-1").mkdir()
    assert "there is no folder 'runs/tuned' (did you mean 'runs/tuned-1'?), and" in refusal("runs/tuned")
    (tmp_path / "runs" / "finel").symlink_to(tmp_path / "nowhere")
    assert "did you mean" not in refusal("runs/finel")


def test_hub_name_from_the_local_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    kept = tmp_path / "cache" / "models--org--name"
    shutil.copytree(folder, kept / "snapshots" / revision)
    (kept / "refs").mkdir()
    (kept / "refs" / "v1").write_text(revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    opened = open_checkpoint("org/name@v1")
    assert opened.ref == "org/name@v1"
    assert opened.digest == open_checkpoint(folder).digest


def test_truncated_file(folder: Path) -> None:
    file = folder / "model.safetensors"
    content = file.read_bytes()
    for length in (len(content) - 4, len(content) // 2, 100, 5, 0):
        file.write_bytes(content[:length])
        assert "truncated" in refusal(folder)


def test_broken_header(folder: Path) -> None:
    file = folder / "model.safetensors"
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    file.write_bytes(content[:8] + b"\x00" * length + content[8 + length :])
    assert "broken safetensors header" in refusal(folder)
    header = json.loads(content[8 : 8 + length])
    header["model.norm.weight"]["shape"] = [25]
    changed = json.dumps(header).encode()
    file.write_bytes(len(changed).to_bytes(8, "little") + changed + content[8 + length :])
    assert "model.norm.weight has 96 bytes for shape [25]" in refusal(folder)


def test_index_that_names_what_is_not_there(tmp_path: Path) -> None:
    models.build("llama-mha").save_pretrained(tmp_path, max_shard_size="10KB")
    index = tmp_path / "model.safetensors.index.json"
    good = json.loads(index.read_text())
    first = sorted(set(good["weight_map"].values()))[0]
    places = {**good["weight_map"], "model.norm.weight": first, "model.other.weight": first}
    index.write_text(json.dumps({**good, "weight_map": places}))
    assert "model.other.weight" in refusal(tmp_path)
    index.write_text(json.dumps(good))
    (tmp_path / first).unlink()
    assert first in refusal(tmp_path)
    index.write_text("{")
    assert "not an index" in refusal(tmp_path)


@pytest.mark.parametrize("place", ["../other.safetensors", "/etc/passwd", "a\\\\b", "..", "", 5, None, ["a"]])
def test_an_index_names_files_of_its_folder_only(place: object, tmp_path: Path) -> None:
    models.build("llama-mha").save_pretrained(tmp_path / "model", max_shard_size="10KB")
    save_file({"model.norm.weight": torch.zeros(24)}, tmp_path / "other.safetensors")
    index = tmp_path / "model" / "model.safetensors.index.json"
    good = json.loads(index.read_text())
    places = {**good["weight_map"], "model.norm.weight": place}
    index.write_text(json.dumps({**good, "weight_map": places}))
    assert "not an index of shards" in refusal(tmp_path / "model")


def test_files_without_tensors(folder: Path, tmp_path: Path) -> None:
    save_file({}, folder / "model.safetensors", {"format": "pt"})
    save_file({}, tmp_path / "policy.safetensors")
    assert "no tensors" in refusal(folder)
    assert "no tensors" in refusal(tmp_path / "policy.safetensors")


@pytest.mark.parametrize("ref", ["", "+", "{folder}+", "+{folder}"])
def test_names_with_nothing_in_them(ref: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)  # an empty path would be this folder
    text = refusal(ref.format(folder=folder))
    assert ("names no" if ref else "an empty name") in text


def test_metadata_of_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tensors")
    for name in ("text", "nowhere"):
        with pytest.raises(TakebackError, match="could not read"):
            read_metadata(tmp_path / name)


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "pickled" in refusal(folder)
    (folder / "policy.pt").write_bytes(b"")
    assert "pickled" in refusal(folder / "policy.pt")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"model_type": "llama", "hidden_size": NaN}', "NaN"),
        ('{"model_type": "llama"', "config.json"),
        ('{"hidden_size": 24}', "model_type"),
    ],
)
def test_config_that_is_none(text: str, named: str, folder: Path) -> None:
    (folder / "config.json").write_text(text)
    assert named in refusal(folder)


def test_settings_that_transformers_refuses(folder: Path) -> None:
    settings = json.loads((folder / "config.json").read_text()) | {"hidden_size": "wide"}
    (folder / "config.json").write_text(json.dumps(settings))
    opened = open_checkpoint(folder)
    with pytest.raises(TakebackError, match=r"config\.json.*hidden_size"):
        _ = opened.config


def test_defaults_are_filled_in_where_the_file_leaves_them_out(tmp_path: Path) -> None:
    models.build("gemma2").save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    settings, expected = json.loads(file.read_text()), open_checkpoint(tmp_path)
    del settings["num_hidden_layers"], settings["query_pre_attn_scalar"]
    file.write_text(json.dumps(settings))
    with pytest.raises(TakebackError, match="26"):  # what transformers takes it to mean
        open_checkpoint(tmp_path).anatomy()
    file.write_text(json.dumps({**settings, "num_hidden_layers": 2}))
    found = open_checkpoint(tmp_path)
    assert found.anatomy().universe == expected.anatomy().universe
    assert found.config is not None
    assert found.config.query_pre_attn_scalar == 256


def test_opening_does_not_load_transformers(folder: Path) -> None:
    code = f"""
import sys
from takeback.checkpoint import open_pair
pair = open_pair({str(folder)!r}, {str(folder)!r})
pair.anatomy(), pair.differences()
assert "transformers" not in sys.modules
"""
    kill.run(code)


def test_no_config_and_missing_embeddings(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"], tensors["model.embed_tokens.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert "lm_head.weight" in refusal(folder)
    (folder / "config.json").unlink()
    assert "config.json" in refusal(folder)


def test_integer_weights_are_refused(tmp_path: Path) -> None:
    save_file({"0.weight": torch.zeros(2, 2, dtype=torch.int8)}, tmp_path / "int.safetensors")
    assert "dequantize" in refusal(tmp_path / "int.safetensors")


# element types

FLOATS = [getattr(torch, element) for element in ELEMENTS.values() if "float" in element]


@pytest.mark.parametrize("one", FLOATS)
@pytest.mark.parametrize("other", FLOATS)
def test_narrowest_dtype_holds_every_value_of_both(one: torch.dtype, other: torch.dtype) -> None:
    wide = narrowest_dtype(one, other)
    assert wide == narrowest_dtype(other, one)
    for dtype in (one, other):
        bits = {1: torch.uint8, 2: torch.uint16}.get(dtype.itemsize)
        if bits is None:
            values = torch.tensor([1.1, 1e-40, 3e38, -0.0, float("inf")], dtype=dtype)
        else:
            values = torch.arange(2 ** (8 * dtype.itemsize)).to(bits).view(dtype)
        exact = values.to(torch.float64)
        back = values.to(wide).to(torch.float64)
        assert torch.equal(torch.nan_to_num(back, nan=7.0), torch.nan_to_num(exact, nan=7.0))
    assert wide.itemsize <= max(one.itemsize, other.itemsize) * 2


def test_checkpoint_is_a_value_of_its_files(folder: Path) -> None:
    opened = open_checkpoint(folder)
    assert isinstance(opened, Checkpoint)
    before = opened.read("model.norm.weight").clone()
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    assert torch.equal(opened.read("model.norm.weight"), before)


def test_a_model_whose_file_lacks_a_tensor_is_not_filled_with_random_numbers(tmp_path):
    from safetensors.torch import load_file, save_file

    import models
    from takeback.checkpoint import load_model, open_checkpoint

    base, _ = models.save_pair("llama-mha", tmp_path)
    tensors = load_file(base / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TakebackError, match=r"lacks 1 of its model's tensors: .*\.1\.mlp\.up_proj"):
        load_model(open_checkpoint(base))


@pytest.mark.parametrize("kind", ["deepseek_v3", "qwen3_next", "gemma4_text"])
def test_what_transformers_leaves_out_is_left_out(kind: str, tmp_path: Path) -> None:
    """Heads that predict further tokens (MTP), and keys and values of layers that read those of others."""
    mixtures.build(kind).save_pretrained(tmp_path)
    plain = open_checkpoint(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    if kind == "gemma4_text":
        more = {
            f"model.layers.3.self_attn.{name}.weight": torch.ones(24, 24) for name in ("k_proj", "v_proj")
        }
    elif kind == "qwen3_next":
        more = {"mtp.fc.weight": torch.ones(24, 48), "mtp.layers.0.input_layernorm.weight": torch.ones(24)}
    else:
        names = ("eh_proj", "enorm", "shared_head.norm", "self_attn.o_proj", "mlp.experts.0.down_proj")
        more = {f"model.layers.4.{name}.weight": torch.ones(24, 24) for name in names}
    save_file({**tensors, **more}, file, {"format": "pt"})
    again = open_checkpoint(tmp_path)
    assert again.digest == plain.digest
    assert again.anatomy().universe == plain.anatomy().universe
