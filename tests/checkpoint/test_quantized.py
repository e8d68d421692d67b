"""Quantised weights: GGUF and scaled FP8 are dequantised and said to be, other kinds are refused by name."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import gguf
import models
import takeback
from takeback.checkpoint import load_model, open_checkpoint, open_pair
from takeback.hybrid import hybrid, write_hybrid
from takeback.run.errors import TakebackError, TakebackWarning

SIZES = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "vocab_size": models.VOCABULARY,
    "max_position_embeddings": models.POSITIONS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}


def wide_model(seed: int, tied: bool = True) -> Any:
    config = transformers.LlamaConfig(**{**SIZES, "tie_word_embeddings": tied})
    return models.randomised(transformers.AutoModelForCausalLM.from_config(config).eval(), seed)


# GGUF


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Order the rows of queries or keys as llama.cpp has them (convert_hf_to_gguf.py, `permute`)."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def save_gguf(model: Any, file: Path, kind: str) -> None:
    config, writer = model.config, gguf.GGUFWriter(file, "llama")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    quantized = getattr(gguf.GGMLQuantizationType, kind)
    for name, parameter in model.named_parameters():
        weight = parameter.detach().numpy()
        for part, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            weight = interleaved(weight, heads) if f".{part}." in name else weight
        stored = names.get_name(name.removesuffix(".weight")) + ".weight"
        if weight.ndim == 1:
            writer.add_tensor(stored, weight)
        else:
            writer.add_tensor(stored, gguf.quants.quantize(weight, quantized), raw_dtype=quantized)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_1"])
def test_a_gguf_file_is_what_transformers_reads_of_it(kind: str, tmp_path: Path) -> None:
    saved = wide_model(0)
    save_gguf(saved, tmp_path / f"model.{kind}.gguf", kind)
    expected = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=f"model.{kind}.gguf", dtype=torch.float32
    )
    opened = open_checkpoint(tmp_path / f"model.{kind}.gguf")
    assert f"GGUF ({kind}" in repr(opened)
    assert "dequantised" in repr(opened)
    for name, parameter in expected.named_parameters():
        assert opened.read(name).equal(parameter), name
    if kind == "F32":
        assert all(opened.read(name).equal(parameter) for name, parameter in saved.named_parameters())
    asked = {"input_ids": models.tokens()}
    assert load_model(opened)(**asked).logits.equal(expected(**asked).logits)
    assert open_checkpoint(tmp_path).digest == opened.digest


def test_a_gguf_file_goes_through_diff_and_hybrid(tmp_path: Path) -> None:
    wide_model(0).save_pretrained(tmp_path / "base")
    save_gguf(wide_model(1), tmp_path / "tuned.gguf", "Q8_0")
    pair = open_pair(tmp_path / "base", tmp_path / "tuned.gguf")
    assert takeback.diff(pair).total["delta_norm"].item() > 0
    made = hybrid(pair, pair.anatomy().parse("L1.H2"))
    written = open_checkpoint(write_hybrid(made, tmp_path / "out"))
    assert written.digest == made.digest
    assert written.form == "safetensors"
    (tmp_path / "tuned.gguf").write_bytes((tmp_path / "tuned.gguf").read_bytes()[:5000])
    with pytest.raises(TakebackError, match="no whole GGUF file"):
        open_checkpoint(tmp_path / "tuned.gguf")


def text_of(word: bytes) -> bytes:
    return struct.pack("<Q", len(word)) + word


def header_of(tensors: int, *settings: bytes) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", 3, tensors, len(settings)) + b"".join(settings)


def tensor_of(name: bytes, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text_of(name) + sizes + struct.pack("<IQ", kind, offset)


BENT_GGUF = {
    "no magic": (b"GGUX" + b"\0" * 60, "does not begin with GGUF"),
    "a count of 2^60": (header_of(2**60), "says that it has 1152921504606846976 tensors"),
    "a long text": (header_of(0, struct.pack("<Q", 2**60)), "is 1152921504606846976 bytes long"),
    "a vast array": (header_of(0, text_of(b"a") + struct.pack("<IIQ", 9, 0, 2**60)), "no vocabulary has"),
    "an array past the end": (header_of(0, text_of(b"a") + struct.pack("<IIQ", 9, 4, 2**20)), "cut off"),
    "deep arrays": (
        header_of(0, text_of(b"a") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 3000),
        "deeper than 4 levels",
    ),
    "a type of no setting": (header_of(0, text_of(b"a") + struct.pack("<I", 77)), "unknown type 77"),
    "a type of no tensor": (header_of(1) + tensor_of(b"a", (4,), 77, 0), "unknown type 77"),
    "an offset outside": (header_of(1) + tensor_of(b"a", (4,), 0, 2**40), "ends at byte"),
    "sizes that wrap": (header_of(1) + tensor_of(b"a", (2**32, 2**32), 0, 0), "ends at byte"),
    "many axes": (header_of(1) + text_of(b"a") + struct.pack("<I", 2**31), "has 2147483648 axes"),
    "an overlap": (
        header_of(2) + tensor_of(b"a", (4,), 0, 0) + tensor_of(b"b", (4,), 0, 8) + b"\0" * 64,
        "'b' overlaps 'a'",
    ),
}


@pytest.mark.parametrize(("data", "words"), BENT_GGUF.values(), ids=BENT_GGUF)
def test_a_bent_gguf_file_is_refused_in_one_line_and_soon(data: bytes, words: str, tmp_path: Path) -> None:
    """The library has no bounds: it would go round 2^60 times, or read sizes that wrap as 0."""
    (tmp_path / "a.gguf").write_bytes(data)
    began = time.monotonic()
    with pytest.raises(TakebackError, match=f"no whole GGUF file: .*({words})") as told:
        open_checkpoint(tmp_path / "a.gguf")
    assert "\n" not in str(told.value)
    assert time.monotonic() - began < 20


def test_a_gguf_file_of_more_layers_than_tensors_is_refused(tmp_path: Path) -> None:
    """Names are made for each layer that it says it has: of 2,000 that took minutes."""
    save_gguf(wide_model(0), tmp_path / "a.gguf", "F32")
    key = b"llama.block_count" + struct.pack("<I", 4)
    data = (tmp_path / "a.gguf").read_bytes()
    assert key + struct.pack("<I", 2) in data
    (tmp_path / "a.gguf").write_bytes(data.replace(key + struct.pack("<I", 2), key + struct.pack("<I", 2040)))
    with pytest.raises(TakebackError, match="says that its model has 2040 layers, and holds 20 tensors"):
        open_checkpoint(tmp_path / "a.gguf")
    (tmp_path / "a.gguf").write_bytes(data.replace(b"llama.block_count", b"llama.block_other"))
    with pytest.raises(TakebackError, match="says that its model has 32 layers, and holds 20 tensors"):
        open_checkpoint(tmp_path / "a.gguf")


# FP8


def in_blocks(weight: torch.Tensor, rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantise as DeepSeek does: a scale for each block, by which its numbers are multiplied again."""
    down, across = -(-weight.shape[0] // rows), -(-weight.shape[1] // columns)
    scale, small = torch.empty(down, across), torch.empty(weight.shape, dtype=torch.float8_e4m3fn)
    for i in range(down):
        for j in range(across):
            place = slice(i * rows, (i + 1) * rows), slice(j * columns, (j + 1) * columns)
            scale[i, j] = weight[place].abs().max() / 448
            small[place] = (weight[place] / scale[i, j]).to(torch.float8_e4m3fn)
    return small, scale


def save_fp8(folder: Path, out: Path, how: str) -> dict[str, torch.Tensor]:
    """Save a folder's linear layers in FP8, and return what each is when it is multiplied out by hand."""
    tensors, stored, expected = load_file(folder / "model.safetensors"), dict[str, torch.Tensor](), {}
    for name, weight in tensors.items():
        stored[name] = expected[name] = weight
        if "_proj" not in name:
            continue
        if how == "block":
            small, scale = in_blocks(weight, 32, 16)
            wide = torch.empty(weight.shape)
            for i in range(weight.shape[0]):
                for j in range(weight.shape[1]):
                    wide[i, j] = small[i, j].float() * scale[i // 32, j // 16]
            stored[f"{name}_scale_inv"] = scale
        else:
            largest = weight.abs().amax(1, keepdim=True) if how == "row" else weight.abs().max()
            scale = largest / 448
            small = (weight / scale).to(torch.float8_e4m3fn)
            wide = small.float() * scale
            stored[f"{name}_scale"] = scale
            stored[f"{name.removesuffix('.weight')}.input_scale"] = torch.ones(1)
        stored[name], expected[name] = small, wide
    out.mkdir()
    save_file(stored, out / "model.safetensors")
    method = {"quant_method": "fp8", "weight_block_size": [32, 16] if how == "block" else None}
    config = json.loads((folder / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**config, "quantization_config": method}))
    return expected


@pytest.mark.slow
@pytest.mark.parametrize("how", ["block", "row", "tensor"])
def test_fp8_with_scales_is_multiplied_out(how: str, tmp_path: Path) -> None:
    wide_model(0).save_pretrained(tmp_path / "base")
    expected = save_fp8(tmp_path / "base", tmp_path / "fp8", how)
    opened = open_checkpoint(tmp_path / "fp8")
    assert "FP8 with scales, dequantised (14 tensors)" in repr(opened)
    assert all(opened.read(name).equal(tensor) for name, tensor in expected.items())
    one_side = takeback.diff(open_pair(tmp_path / "base", opened))
    assert 0 < one_side.total["delta_norm"].item() < 0.05 * one_side.total["base_norm"].item()
    assert "FP8 with scales" in str(takeback.diff(open_pair(tmp_path / "base", opened)).differences)
    assert takeback.diff(open_pair(opened, opened)).total["delta_norm"].item() == 0
    pair = open_pair(tmp_path / "base", opened)
    made = hybrid(pair, pair.anatomy().parse("*.MLP"))
    config = json.loads((write_hybrid(made, tmp_path / "out") / "config.json").read_text())
    assert "quantization_config" not in config
    assert open_checkpoint(tmp_path / "out").digest == made.digest
    assert load_model(opened)(models.tokens()).logits.isfinite().all()


def test_fp8_without_scales_is_said(tmp_path: Path) -> None:
    wide_model(0).to(torch.float8_e4m3fn).save_pretrained(tmp_path / "raw")
    with pytest.warns(TakebackWarning, match="no scales: their numbers are compared as they stand"):
        opened = open_checkpoint(tmp_path / "raw")
    assert "FP8 without scales, taken as it is" in repr(opened)


PACKED = {
    "gptq": ({"qweight": torch.ones(8, 64, dtype=torch.int32)}, "quantized by gptq .*gptqmodel"),
    "awq": ({"qweight": torch.ones(64, 8, dtype=torch.int32)}, "quantized by awq .*autoawq"),
    "bitsandbytes": (
        {"weight": torch.ones(2048, 1, dtype=torch.uint8), "weight.absmax": torch.ones(64)},
        "quantized by bitsandbytes .*dequantize",
    ),
    "compressed-tensors": (
        {"weight_packed": torch.ones(64, 8, dtype=torch.int32), "weight_scale": torch.ones(64, 1)},
        "quantized by compressed-tensors .*decompress_model",
    ),
    "mxfp4": ({"weight_blocks": torch.ones(64, 8, dtype=torch.uint8)}, "quantized by mxfp4 .*Mxfp4Config"),
}


@pytest.mark.parametrize("method", PACKED)
def test_packed_weights_are_refused_by_name(method: str, tmp_path: Path) -> None:
    parts, named = PACKED[method]
    wide_model(0).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    layer = "model.layers.0.self_attn.q_proj"
    del tensors[f"{layer}.weight"]
    save_file(
        {**tensors, **{f"{layer}.{n}": part for n, part in parts.items()}}, tmp_path / "model.safetensors"
    )
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(TakebackError, match=named):
        open_checkpoint(tmp_path)


def test_a_scale_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    wide_model(0).save_pretrained(tmp_path / "base")
    save_fp8(tmp_path / "base", tmp_path / "fp8", "block")
    file = tmp_path / "fp8" / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("_scale_inv"))
    save_file({**tensors, name: tensors[name][:, :1].contiguous()}, file)
    with pytest.raises(TakebackError, match="has a scale of shape"):
        open_checkpoint(tmp_path / "fp8")
