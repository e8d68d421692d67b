"""The prover: what holds is proved, and every way in which a block may be wrong is told with its law."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import transformers
from transformers import PreTrainedModel

import models
from takeback.anatomy import Anatomy, Cut, anatomy_of
from takeback.hybrid import heads
from takeback.hybrid.heads import BrokenLaw, check_heads, check_neurons
from takeback.hybrid.proof import prove, random_model
from takeback.hybrid.tiny import shrunk, tiny_config
from takeback.run.errors import TakebackError, UnknownName

Change = Callable[[tuple[Cut, ...]], tuple[Cut, ...]]


@pytest.mark.slow
def test_laws_hold_on_every_family(name: str) -> None:
    proof = prove(models.CONFIGS[name]())
    assert proof.holds, str(proof)
    assert [law.number for law in proof.laws] == [1, 2, 3, 4]


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "falcon, each head with its keys": (
        "falcon",
        {"multi_query": False, "num_kv_heads": 4, "parallel_attn": False, "alibi": True, "bias": True},
    ),
    "falcon, groups": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon, one group, in turn": ("falcon", {"parallel_attn": False}),
    "gpt_bigcode, each head with its keys": ("gpt_bigcode", {"multi_query": False}),
    "cohere, gains for each head": ("cohere", {"use_qk_norm": True}),
    "cohere2, untied": ("cohere2", {"tie_word_embeddings": False}),
    "stablelm, a norm for each head, side by side": (
        "stablelm",
        {"qk_layernorm": True, "use_parallel_residual": True, "use_qkv_bias": True},
    ),
    "phi, norms": ("phi", {"qk_layernorm": True}),
    "mpt, biases": ("mpt", {"no_bias": False}),
    "olmo, clipped": ("olmo", {"clip_qkv": 1.0, "attention_bias": True}),
    "bitnet, biases": ("bitnet", {"attention_bias": True}),
    "granite, factors": ("granite", {"attention_bias": True, "mlp_bias": True, "residual_multiplier": 0.3}),
    "nemotron, biases": ("nemotron", {"attention_bias": True, "mlp_bias": True}),
    "gptj, tied": ("gptj", {"tie_word_embeddings": True}),
    "bart, untied": ("bart", {"tie_word_embeddings": False}),
}
"""Settings of further types that change which tensors there are, or the order of their rows."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS])
def test_laws_hold_with_other_settings(name: str) -> None:
    model_type, settings = VARIANTS[name]
    config = tiny_config(model_type)
    proof = prove(type(config)(**{**config.to_dict(), **settings}))
    assert proof.holds, str(proof)
    assert proof.laws[-1].told.startswith("8 heads, 8 of them by the attention that the module reports")


def test_a_norm_that_spans_heads_fails_where_the_block_gives_it_to_no_head() -> None:
    """OLMoE fits the block of Qwen 3 MoE with exact ends; its q/k norms span the heads."""
    model = random_model(tiny_config("olmoe"), 0)
    assert "held" in check_heads(model)
    vars(model.config)["model_type"] = "qwen3_moe"
    with pytest.raises(BrokenLaw, match=r"L0\.H0: .*q_proj.* feeds slots 0, 1, 2, 3, and should feed slot 0"):
        check_heads(model)


def _planted(monkeypatch: pytest.MonkeyPatch, tensor: str, change: Change) -> None:
    """Let the anatomy give a tensor's stretches to other owners."""

    def wrong(model: PreTrainedModel, resolution: str = "heads") -> Anatomy:
        anatomy = anatomy_of(model, resolution)
        cuts = {name: change(cut) if name == tensor else cut for name, cut in anatomy.cuts.items()}
        return replace(anatomy, cuts=cuts)

    monkeypatch.setattr(heads, "anatomy_of", wrong)


def _whole(kind: str) -> Change:
    return lambda cuts: (Cut(cuts[0].tensor, kind, cuts[0].layer),)


def _last_first(cuts: tuple[Cut, ...]) -> tuple[Cut, ...]:
    (cut,) = cuts
    places = (cut.count - 1, *range(cut.count - 1))
    return tuple(
        replace(cut, start=place * cut.width, index=index, count=1) for index, place in enumerate(places)
    )


def _queries_last(cuts: tuple[Cut, ...]) -> tuple[Cut, ...]:
    queries, keys, values = cuts
    first = keys.width * keys.count
    return (replace(keys, start=0), replace(queries, start=first), values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tensor", "change", "told"),
    [
        (
            "llama-gqa-biases",
            "model.layers.1.self_attn.o_proj.weight",
            _last_first,
            "zeroing .* is not zeroing",
        ),
        ("llama-gqa-biases", "model.layers.1.self_attn.o_proj.weight", _whole("ATTN"), "must own columns"),
        (
            "llama-gqa-biases",
            "model.layers.0.self_attn.q_proj.weight",
            _last_first,
            r"should feed slot 0 alone",
        ),
        ("llama-gqa-biases", "model.layers.0.self_attn.q_proj.bias", _whole("ATTN"), "feeds head 0 alone"),
        ("llama-gqa-biases", "model.layers.0.self_attn.v_proj.weight", _last_first, r"L0\.KV0: .*v_proj"),
        ("phi3", "model.layers.1.self_attn.qkv_proj.weight", _queries_last, r"L1\.H0: .*qkv_proj"),
        ("olmo2", "model.layers.0.self_attn.q_norm.weight", _whole("ATTN"), "L0"),
    ],
)
def test_what_is_wrong_with_a_head_is_told(
    name: str, tensor: str, change: Change, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(models.CONFIGS[name](), 0)
    check_heads(model)
    _planted(monkeypatch, tensor, change)
    with pytest.raises(BrokenLaw, match=told):
        check_heads(model)


def test_what_is_wrong_with_a_neuron_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(models.CONFIGS["phi3"](), 0)
    assert check_neurons(model) == "6 neurons"
    _planted(monkeypatch, "model.layers.0.mlp.down_proj.weight", _last_first)
    with pytest.raises(BrokenLaw, match=r"L0\.N0: zeroing"):
        check_neurons(model)


def test_a_type_without_a_block_is_proved_as_far_as_tensors_go() -> None:
    proof = prove(tiny_config("doge"))
    assert not proof.holds
    assert proof.broken is None
    assert [law.number for law in proof.laws] == [1, 2, 3]
    assert str(proof).startswith("doge by tensors: laws 1 to 3 hold")


def test_what_cannot_be_built_or_is_not_tiny_is_refused() -> None:
    with pytest.raises(TakebackError, match=r"has [0-9,]+ parameters; make it tiny"):
        prove(transformers.LlamaConfig())
    with pytest.raises(UnknownName, match="did you mean 'llama'"):
        tiny_config("lama")
    broken = tiny_config("llama")
    broken.hidden_act = "none such"
    with pytest.raises(TakebackError, match="can't build a llama"):
        prove(broken)


def test_a_users_config_keeps_its_kinds_of_layers_and_its_switches() -> None:
    given = transformers.Qwen2Config(
        use_sliding_window=True,
        num_hidden_layers=6,
        layer_types=["full_attention"] * 4 + ["sliding_attention"] * 2,
        rope_parameters={"rope_type": "yarn", "factor": 4.0, "rope_theta": 7.0},
    )
    made = shrunk(given)
    assert made.layer_types == ["full_attention", "sliding_attention"]
    assert made.rope_parameters["rope_theta"] == 7.0
    assert made.rope_parameters["rope_type"] == "default"
    assert prove(made).holds
