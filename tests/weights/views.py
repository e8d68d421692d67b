"""Views of live Hugging Face models by role, written by hand for each family from its modeling code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Norm:
    """A norm's gain and shift; `one` is what the module adds to its gain."""

    weight: Tensor
    bias: Tensor | None = None
    one: float = 0.0

    def multiply(self, factors: Tensor) -> None:
        self.weight.copy_((self.weight + self.one) * factors - self.one)
        if self.bias is not None:
            self.bias *= factors

    @property
    def gain(self) -> Tensor:
        return self.weight + self.one


@dataclass
class Neurons:
    """Views of an MLP: `gate` and `up` are (N, d), `down` is (N, d)."""

    gate: Tensor
    up: Tensor | None
    down: Tensor
    gate_bias: Tensor | None = None
    up_bias: Tensor | None = None


@dataclass
class Attention:
    """Views of attention: `q` (G, m, w, d), `k` and `v` (G, w, d), `o` (d, G, m, w); biases without d."""

    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor
    q_bias: Tensor | None = None
    k_bias: Tensor | None = None
    v_bias: Tensor | None = None
    o_bias: Tensor | None = None
    q_norm: Norm | None = None
    k_norm: Norm | None = None


@dataclass
class Block:
    """One layer: `pairs` of a head's dimensions are rotated, `spans` says that q/k norms span the heads."""

    attention: Attention
    mlps: list[Neurons]
    mlp_bias: Tensor | None
    pairs: int
    norm: Norm | None
    mlp_norm: Norm | None
    post: Norm | None = None
    mlp_post: Norm | None = None
    router: Tensor | None = None
    layer_norms: bool = False
    relu: bool = False
    spans: bool = False


def blocks(model: Any) -> list[Block]:
    """Return the views of a model's layers."""
    kind = model.config.model_type
    with torch.no_grad():
        if kind in NAMED:
            layers = model.get_submodule(NAMED[kind].layers)
            return [_named(layer, model.config, NAMED[kind]) for layer in layers]
        if kind == "gpt2":
            return [_gpt2(layer, model.config) for layer in model.transformer.h]
        if kind == "gpt_neox":
            return [_neox(layer, model.config) for layer in model.gpt_neox.layers]
        if kind == "opt":
            return [_opt(layer, model.config) for layer in model.model.decoder.layers]
        return [_llama(layer, model.config) for layer in model.model.layers]


@dataclass
class Named:
    """Where a family has what; `gate` alone where its MLP is not gated."""

    layers: str
    out: str
    norm: str
    mlp_norm: str
    gate: str
    up: str
    down: str
    attention: str = "self_attn"
    heads: str = "num_attention_heads"
    one: float = 0.0
    layer_norms: bool = False
    rotated: bool = True
    qk_norms: bool = False


_LLAMA = ("model.layers", "o_proj", "input_layernorm", "post_attention_layernorm")
_GATED = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
_PLAIN = ("mlp.up_proj", "", "mlp.down_proj")
_FC = ("out_proj", "self_attn_layer_norm", "final_layer_norm", "fc1", "", "fc2")
NAMED = {
    "granite": Named(*_LLAMA, *_GATED),
    "gemma": Named(*_LLAMA, *_GATED, one=1.0),
    "vaultgemma": Named(*_LLAMA[:3], "pre_feedforward_layernorm", *_GATED, one=1.0),
    "arcee": Named(*_LLAMA, *_PLAIN),
    "apertus": Named(*_LLAMA[:2], "attention_layernorm", "feedforward_layernorm", *_PLAIN, qk_norms=True),
    "starcoder2": Named(*_LLAMA, "mlp.c_fc", "", "mlp.c_proj", layer_norms=True),
    "gpt_neo": Named(
        "transformer.h",
        "out_proj",
        "ln_1",
        "ln_2",
        "mlp.c_fc",
        "",
        "mlp.c_proj",
        "attn.attention",
        heads="num_heads",
        layer_norms=True,
        rotated=False,
    ),
    "biogpt": Named("biogpt.layers", *_FC, layer_norms=True, rotated=False),
    "xglm": Named("model.layers", *_FC, heads="attention_heads", layer_norms=True, rotated=False),
}


def _named(layer: Any, config: Any, names: Named) -> Block:
    heads = getattr(config, names.heads)
    groups = getattr(config, "num_key_value_heads", heads)
    module = layer.get_submodule(names.attention)
    attention = _projections(module, getattr(module, names.out), groups, heads // groups)
    if names.qk_norms:
        attention.q_norm, attention.k_norm = _norm(module.q_norm), _norm(module.k_norm)
    gate, down = layer.get_submodule(names.gate), layer.get_submodule(names.down)
    up = layer.get_submodule(names.up) if names.up else None
    biases = [None if part is None or part.bias is None else part.bias.data for part in (gate, up, down)]
    mlp = Neurons(
        gate.weight.data, None if up is None else up.weight.data, down.weight.data.T, biases[0], biases[1]
    )
    return Block(
        attention,
        [mlp],
        biases[2],
        attention.k.shape[1] // 2 if names.rotated else 0,
        _norm(layer.get_submodule(names.norm), names.one),
        _norm(layer.get_submodule(names.mlp_norm), names.one),
        layer_norms=names.layer_norms,
    )


def _gpt2(layer: Any, config: Any) -> Block:
    heads, hidden = config.n_head, config.n_embd
    weight, bias = layer.attn.c_attn.weight.data.T, layer.attn.c_attn.bias.data
    q, k, v = (weight[place * hidden : (place + 1) * hidden].unflatten(0, (heads, -1)) for place in range(3))
    biases = [bias[place * hidden : (place + 1) * hidden].unflatten(0, (heads, -1)) for place in range(3)]
    attention = Attention(
        q.unsqueeze(1),
        k,
        v,
        layer.attn.c_proj.weight.data.T.unflatten(1, (heads, 1, -1)),
        biases[0].unsqueeze(1),
        *biases[1:],
        layer.attn.c_proj.bias.data,
    )
    mlp = Neurons(layer.mlp.c_fc.weight.data.T, None, layer.mlp.c_proj.weight.data, layer.mlp.c_fc.bias.data)
    return Block(
        attention,
        [mlp],
        layer.mlp.c_proj.bias.data,
        0,
        _norm(layer.ln_1),
        _norm(layer.ln_2),
        layer_norms=True,
    )


def _neox(layer: Any, config: Any) -> Block:
    heads = config.num_attention_heads
    joined = layer.attention.query_key_value
    weight = joined.weight.data.unflatten(0, (heads, 3, -1))
    bias = joined.bias.data.unflatten(0, (heads, 3, -1))
    attention = Attention(
        weight[:, :1],
        weight[:, 1],
        weight[:, 2],
        layer.attention.dense.weight.data.unflatten(1, (heads, 1, -1)),
        bias[:, :1],
        bias[:, 1],
        bias[:, 2],
        layer.attention.dense.bias.data,
    )
    inner, outer = layer.mlp.dense_h_to_4h, layer.mlp.dense_4h_to_h
    mlp = Neurons(inner.weight.data, None, outer.weight.data.T, inner.bias.data)
    pairs = int(weight.shape[2] * config.rope_parameters["partial_rotary_factor"]) // 2
    return Block(
        attention,
        [mlp],
        outer.bias.data,
        pairs,
        _norm(layer.input_layernorm),
        _norm(layer.post_attention_layernorm),
        layer_norms=True,
    )


def _opt(layer: Any, config: Any) -> Block:
    first = config.do_layer_norm_before
    mlp = Neurons(layer.fc1.weight.data, None, layer.fc2.weight.data.T, layer.fc1.bias.data)
    return Block(
        _projections(layer.self_attn, layer.self_attn.out_proj, config.num_attention_heads, 1),
        [mlp],
        layer.fc2.bias.data,
        0,
        _norm(layer.self_attn_layer_norm) if first else None,
        _norm(layer.final_layer_norm) if first else None,
        layer_norms=True,
        relu=config.activation_function == "relu",
    )


def _llama(layer: Any, config: Any) -> Block:
    kind, self_attn = config.model_type, layer.self_attn
    groups, one = config.num_key_value_heads, 1.0 if kind.startswith("gemma") else 0.0
    each = config.num_attention_heads // groups
    if kind == "phi3":
        attention = _phi3(self_attn, groups, each)
    else:
        attention = _projections(self_attn, self_attn.o_proj, groups, each)
    width = attention.k.shape[1]
    if kind in ("qwen3", "qwen3_moe", "gemma3_text", "olmo2"):
        attention.q_norm, attention.k_norm = _norm(self_attn.q_norm, one), _norm(self_attn.k_norm, one)
    mlps, router, bias = _mlps(layer.mlp)
    block = Block(attention, mlps, bias, width // 2, None, None, router=router, spans=kind == "olmo2")
    if kind != "olmo2":
        block.norm = _norm(layer.input_layernorm, one)
        block.mlp_norm = _norm(layer.post_attention_layernorm, one)
    if kind.startswith("gemma"):
        block.mlp_norm = _norm(layer.pre_feedforward_layernorm, one)
    if kind.startswith("gemma") or kind == "olmo2":
        block.post = _norm(layer.post_attention_layernorm, one)
        block.mlp_post = _norm(layer.post_feedforward_layernorm, one)
    return block


def _projections(module: Any, out: Any, groups: int, each: int) -> Attention:
    biases = [
        None if part.bias is None else part.bias.data
        for part in (module.q_proj, module.k_proj, module.v_proj)
    ]
    return Attention(
        module.q_proj.weight.data.unflatten(0, (groups, each, -1)),
        module.k_proj.weight.data.unflatten(0, (groups, -1)),
        module.v_proj.weight.data.unflatten(0, (groups, -1)),
        out.weight.data.unflatten(1, (groups, each, -1)),
        None if biases[0] is None else biases[0].unflatten(0, (groups, each, -1)),
        None if biases[1] is None else biases[1].unflatten(0, (groups, -1)),
        None if biases[2] is None else biases[2].unflatten(0, (groups, -1)),
        None if out.bias is None else out.bias.data,
    )


def _phi3(module: Any, groups: int, each: int) -> Attention:
    weight = module.qkv_proj.weight.data
    width = weight.shape[0] // (groups * (each + 2))
    queries, keys = groups * each * width, groups * width
    return Attention(
        weight[:queries].unflatten(0, (groups, each, width)),
        weight[queries : queries + keys].unflatten(0, (groups, width)),
        weight[queries + keys :].unflatten(0, (groups, width)),
        module.o_proj.weight.data.unflatten(1, (groups, each, width)),
    )


def _mlps(mlp: Any) -> tuple[list[Neurons], Tensor | None, Tensor | None]:
    if hasattr(mlp, "experts"):
        joined, down = mlp.experts.gate_up_proj.data, mlp.experts.down_proj.data
        half = joined.shape[1] // 2
        parts = [Neurons(both[:half], both[half:], out.T) for both, out in zip(joined, down, strict=True)]
        return parts, mlp.gate.weight.data, None
    if hasattr(mlp, "gate_up_proj"):
        gate, up = mlp.gate_up_proj.weight.data.chunk(2)
        return [Neurons(gate, up, mlp.down_proj.weight.data.T)], None, None
    biases = [
        None if part.bias is None else part.bias.data for part in (mlp.gate_proj, mlp.up_proj, mlp.down_proj)
    ]
    weights = (mlp.gate_proj.weight.data, mlp.up_proj.weight.data, mlp.down_proj.weight.data.T)
    return [Neurons(*weights, *biases[:2])], None, biases[2]


def _norm(module: Any, one: float = 0.0) -> Norm:
    bias = getattr(module, "bias", None)
    return Norm(module.weight.data, None if bias is None else bias.data, one)
