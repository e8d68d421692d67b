"""Bends GGUF files: written field by field after the format's description, so that any of them can be odd."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuzz.bend import bytes_of
from takeback.checkpoint import open_checkpoint

WIDTH, HEADS, KEYS, INNER, WORDS = 32, 4, 2, 64, 5
Field = tuple[str, Any]
"""A format of `struct` and a value, or `s` and the bytes of a text whose length stands before it."""

ODD = {
    "I": (0, 1, 7, 9, 13, 255, 2**31, 2**32 - 1, 10**6),
    "Q": (0, 1, 33, 2**31, 2**40, 2**60, 2**61 + 1, 2**63, 2**64 - 1, 2**64 - 32),
    "f": (float("nan"), float("inf"), 0.0, -1.0),
}
TEXTS = (b"", b"\xff", b"x" * 400, b"llama", b"mamba", b"qwen3moe", b"../x", b"general.alignment", b"\0")
SETTINGS: tuple[tuple[bytes, str, Any], ...] = (
    *((b"general.architecture", "s", b"llama"), (b"general.alignment", "I", 32)),
    *((b"llama.context_length", "I", 16), (b"llama.embedding_length", "I", WIDTH)),
    *((b"llama.block_count", "I", 1), (b"llama.feed_forward_length", "I", INNER)),
    *((b"llama.attention.head_count", "I", HEADS), (b"llama.attention.head_count_kv", "I", KEYS)),
    *((b"llama.attention.layer_norm_rms_epsilon", "f", 1e-5), (b"llama.vocab_size", "I", WORDS)),
    (b"llama.rope.dimension_count", "I", WIDTH // HEADS),
)
TENSORS = {
    **{"token_embd": ("model.embed_tokens", (WORDS, WIDTH)), "output_norm": ("model.norm", (WIDTH,))},
    **{"blk.0.attn_norm": ("model.layers.0.input_layernorm", (WIDTH,))},
    **{"blk.0.ffn_norm": ("model.layers.0.post_attention_layernorm", (WIDTH,))},
    **{"blk.0.attn_q": ("model.layers.0.self_attn.q_proj", (WIDTH, WIDTH))},
    **{"blk.0.attn_k": ("model.layers.0.self_attn.k_proj", (KEYS * WIDTH // HEADS, WIDTH))},
    **{"blk.0.attn_v": ("model.layers.0.self_attn.v_proj", (KEYS * WIDTH // HEADS, WIDTH))},
    **{"blk.0.attn_output": ("model.layers.0.self_attn.o_proj", (WIDTH, WIDTH))},
    **{"blk.0.ffn_gate": ("model.layers.0.mlp.gate_proj", (INNER, WIDTH))},
    **{"blk.0.ffn_up": ("model.layers.0.mlp.up_proj", (INNER, WIDTH))},
    **{"blk.0.ffn_down": ("model.layers.0.mlp.down_proj", (WIDTH, INNER))},
}
KINDS = {"F32": 0, "F16": 1, "Q8_0": 8}
KIND_OF = {"s": 8, "I": 4, "f": 6}


def gguf(place: Path, common: Path, draw: random.Random) -> bool:
    """A GGUF file with odd fields, deep arrays or bent bytes."""
    found = open_checkpoint(bent_gguf(place, common, draw))
    anatomy = found.anatomy()
    held = {name: found.read(name) for name in found.shapes}
    whole = anatomy.parameters(anatomy.universe) == sum(one.numel() for one in held.values())
    if found.settings is None or found.settings["model_type"] != "llama":
        return whole  # a type that another name of the file's architecture gives
    return whole and all(
        np.array_equal(held[name].numpy(), one, equal_nan=True)
        for name, one in _wanted(place / "model.gguf").items()
    )


def bent_gguf(place: Path, common: Path, draw: random.Random) -> str:
    """Write a bent GGUF file and return its name."""
    fields, data = _parts(draw)
    settings = next(at for at, (_, value) in enumerate(fields) if value == SETTINGS[0][0])
    if draw.random() < 0.15:
        deep = draw.choice((1, 3, 200, 3000))
        count = draw.choice((1, 1, 2**60, 10**8))
        odd: list[Field] = [("s", b"x"), ("I", 9)]
        odd += [("I", 9), ("Q", 1)] * deep + [
            ("I", draw.choice((0, 4, 8, 77))),
            ("Q", count),
            ("Q", 3),
            ("I", 1),
        ]
        fields[settings:settings] = odd
        fields[3] = ("Q", fields[3][1] + 1)
    for at in draw.sample(range(len(fields)), draw.choice((0, 1, 1, 1, 2))):
        kind, value = fields[at]
        if kind == "s":
            fields[at] = kind, draw.choice((bytes_of(value, draw), draw.choice(TEXTS)))
        else:
            near = (value + 1, max(0, value - 1)) if kind in "IQ" else ()
            fields[at] = kind, draw.choice((*ODD[kind], *near))
    packed = b"".join(_packed(*field, draw) for field in fields)
    packed += b"\0" * (-len(packed) % 32)
    if draw.random() < 0.25:
        packed = bytes_of(packed, draw)
    data = packed + data
    if draw.random() < 0.1:
        data = data[: draw.randrange(len(data))]
    file = place / "model.gguf"
    file.write_bytes(data)
    return str(file)


def _parts(draw: random.Random) -> tuple[list[Field], bytes]:
    kind = draw.choice(tuple(KINDS))
    fields: list[Field] = [("I", 0x46554747), ("I", 3), ("Q", len(TENSORS)), ("Q", len(SETTINGS) + 1)]
    for key, form, value in SETTINGS:
        fields += [("s", key), ("I", KIND_OF[form]), (form, value)]
    words = [("s", b"w%d" % word) for word in range(WORDS)]
    fields += [("s", b"tokenizer.ggml.tokens"), ("I", 9), ("I", 8), ("Q", WORDS), *words]
    data = b""
    for number, (name, (_, shape)) in enumerate(TENSORS.items()):
        luck = np.random.default_rng(number)
        own = kind if len(shape) > 1 else "F32"
        fields += [("s", f"{name}.weight".encode()), ("I", len(shape))]
        fields += [("Q", extent) for extent in reversed(shape)] + [("I", KINDS[own]), ("Q", len(data))]
        data += _numbers(luck.standard_normal(shape, np.float32), own)
        data += b"\0" * (-len(data) % 32)
    return fields, data


def _numbers(weight: NDArray[Any], kind: str) -> bytes:
    if kind == "Q8_0":
        blocks = weight.reshape(-1, 32)
        scale = (np.abs(blocks).max(1, keepdims=True) / 127).astype(np.float16)
        small = np.round(blocks / scale.astype(np.float32)).astype(np.int8)
        return np.concatenate([scale.view(np.int8), small], 1).tobytes()
    return weight.astype(np.float16 if kind == "F16" else np.float32).tobytes()


def _packed(kind: str, value: Any, draw: random.Random) -> bytes:
    if kind != "s":
        return struct.pack(f"<{kind}", value)
    length = len(value) if draw.random() > 0.01 else draw.choice(ODD["Q"])
    return struct.pack("<Q", length) + value


def _wanted(file: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors as the package gguf has them, rows put back in the order of transformers."""
    from gguf import GGUFReader, dequantize

    reader, found = GGUFReader(file), {}
    heads = {
        name: int(reader.fields[f"llama.attention.{key}"].parts[-1][0])
        for name, key in (("blk.0.attn_q", "head_count"), ("blk.0.attn_k", "head_count_kv"))
    }
    for tensor in reader.tensors:
        name = tensor.name.removesuffix(".weight")
        if name not in TENSORS:
            continue
        called, shape = TENSORS[name]
        numbers = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
        if name in heads:
            numbers = numbers.reshape(heads[name], -1, 2, shape[1]).swapaxes(1, 2).reshape(shape)
        found[f"{called}.weight"] = numbers
    return found
