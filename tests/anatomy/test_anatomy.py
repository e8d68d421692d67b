"""Anatomy from data: a partition for every family (law 1), live and on disk, and no silent name (law 7)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from packaging.version import Version
from safetensors import safe_open
from torch import nn
from transformers import AutoModelForCausalLM, Olmo3Config, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import mixtures
import models
from partition import assert_partition
from takeback.anatomy import Anatomy, Region, anatomy_of, canonical_name, families, family_of
from takeback.component import Component, ComponentSet
from takeback.run.errors import TakebackError, UnknownName

Built = Callable[..., PreTrainedModel]


LARGE = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "intermediate_size": 14336,
}


@dataclass(frozen=True)
class Described:
    config: Any
    shapes: Mapping[str, tuple[int, ...]]


def described(model: nn.Module) -> Described:
    return Described(model.config, {name: tuple(p.shape) for name, p in model.named_parameters()})


def on_disk(folder: Path) -> Described:
    with safe_open(folder / "model.safetensors", "pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return Described(json.loads((folder / "config.json").read_text()), shapes)


@pytest.mark.parametrize("resolution", ["heads", "neurons"])
def test_components_cover_every_entry_once(name: str, resolution: str, built: Built) -> None:
    model = built(name)
    anatomy = anatomy_of(model, resolution)
    parameters = dict(model.named_parameters())
    assert_partition(anatomy, parameters)
    total = sum(parameter.numel() for parameter in parameters.values())
    assert anatomy.parameters(anatomy.universe) == total
    assert sum(anatomy.parameters(component) for component in anatomy.universe) == total


@pytest.mark.parametrize("resolution", ["heads", "neurons"])
def test_a_set_has_the_entries_of_its_members_in_joined_regions(
    name: str, resolution: str, built: Built
) -> None:
    model = built(name)
    anatomy = anatomy_of(model, resolution)
    for components in [
        *anatomy.named_sets("each layer").values(),
        anatomy.parse("*.H1 EMBED"),
        anatomy.parse(""),
    ]:
        claimed = {name: torch.zeros(tuple(p.shape), dtype=torch.int) for name, p in model.named_parameters()}
        for region in anatomy.regions(components):
            claimed[region.tensor][region.index] += 1
        for component in components:
            for region in anatomy.regions(component):
                claimed[region.tensor][region.index] -= 1
        assert not any(bool(count.any()) for count in claimed.values())
    assert anatomy.regions(anatomy.universe) == tuple(Region(tensor) for tensor in anatomy.shapes)
    assert len(anatomy.regions(anatomy.parse("L0.H0 L0.H1"))) == len(anatomy.regions(Component("H", 0, 0)))


@pytest.mark.parametrize(
    ("name", "components"),
    [
        ("gpt2", "EMBED L0.H0 L0.H1 L0.H2 L0.ATTN L0.MLP L0.LN1 L0.LN2 NORM"),
        ("gpt2-untied", "EMBED L0.H0 L0.H1 L0.H2 L0.ATTN L0.MLP L0.LN1 L0.LN2 NORM UNEMBED"),
        ("llama-mha", "EMBED L0.H0 L0.H1 L0.H2 L0.MLP L0.LN1 L0.LN2 NORM UNEMBED"),
        ("llama-gqa-biases", "EMBED L0.H0 L0.H1 L0.H2 L0.H3 L0.KV0 L0.KV1 L0.ATTN L0.MLP L0.LN1 L0.LN2 NORM"),
        ("llama-mqa", "EMBED L0.H0 L0.H1 L0.H2 L0.KV0 L0.MLP L0.LN1 L0.LN2 NORM UNEMBED"),
        ("qwen3", "EMBED L0.H0 L0.H1 L0.H2 L0.H3 L0.KV0 L0.KV1 L0.ATTN L0.MLP L0.LN1 L0.LN2 NORM UNEMBED"),
        ("gemma2", "EMBED L0.H0 L0.H1 L0.H2 L0.H3 L0.KV0 L0.KV1 L0.MLP L0.LN1 L0.LN2 L0.LN3 L0.LN4 NORM"),
        (
            "mixtral",
            "EMBED L0.H0 L0.H1 L0.H2 L0.H3 L0.KV0 L0.KV1 L0.ROUTER L0.E0 L0.E1 L0.E2 L0.LN1 L0.LN2 "
            "NORM UNEMBED",
        ),
        ("gpt_neox", "EMBED L0.H0 L0.H1 L0.H2 L0.ATTN L0.MLP L0.LN1 L0.LN2 NORM UNEMBED"),
        ("phi3", "EMBED L0.H0 L0.H1 L0.H2 L0.H3 L0.KV0 L0.KV1 L0.MLP L0.LN1 L0.LN2 NORM"),
        ("olmo2", "EMBED L0.H0 L0.H1 L0.H2 L0.H3 L0.KV0 L0.KV1 L0.ATTN L0.MLP L0.LN1 L0.LN2 NORM UNEMBED"),
        ("olmo2-mha", "EMBED L0.H0 L0.H1 L0.H2 L0.MLP L0.LN1 L0.LN2 NORM UNEMBED"),
        (
            "gemma3",
            "EMBED L0.H0 L0.H1 L0.H2 L0.H3 L0.KV0 L0.KV1 L0.ATTN L0.MLP L0.LN1 L0.LN2 L0.LN3 L0.LN4 NORM",
        ),
        ("opt", "EMBED L0.H0 L0.H1 L0.H2 L0.ATTN L0.MLP L0.LN1 L0.LN2 NORM"),
        ("opt-350m", "EMBED L0.H0 L0.H1 L0.H2 L0.ATTN L0.MLP L0.LN1 L0.LN2"),
    ],
)
def test_components_of_each_kind_of_model(name: str, components: str) -> None:
    universe = anatomy_of(models.on_meta(name)).universe
    assert [str(c) for c in universe if c.layer in (None, 0)] == components.split()
    assert sum(c.layer == 1 for c in universe) == sum(c.layer == 0 for c in universe)


def test_neurons_take_the_place_of_the_mlp() -> None:
    with_biases = anatomy_of(models.on_meta("llama-gqa-biases"), "neurons")
    assert len(with_biases.parse("L1.N*")) == 16
    assert with_biases.parameters(Component("N", 1, 3)) == 24 * 3 + 2
    assert with_biases.parameters(Component("MLPB", 1)) == 24
    with pytest.raises(UnknownName, match="neurons"):
        with_biases.parse("L0.MLP")
    with pytest.raises(UnknownName, match="resolution"):
        anatomy_of(models.on_meta("gpt2")).parse("L0.N3")
    assert "MLPB" not in {c.kind for c in anatomy_of(models.on_meta("llama-mha"), "neurons").universe}


@pytest.mark.parametrize(
    ("more", "dense"), [({"mlp_only_layers": [1]}, 1), ({"decoder_sparse_step": 2}, 0), ({}, None)]
)
def test_a_layer_has_experts_or_an_mlp(more: dict[str, Any], dense: int | None) -> None:
    config = models.CONFIGS["qwen3_moe"]()
    config.mlp_only_layers = []
    config.update(more)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    for resolution, rest in (("heads", {"MLP"}), ("neurons", {"N"})):
        anatomy = anatomy_of(model, resolution)
        inside = {"H", "KV", "ATTN", "LN1", "LN2"}
        for layer in range(2):
            kinds = {part.kind for part in anatomy.universe if part.layer == layer} - inside
            assert kinds == (rest if layer == dense else {"ROUTER", "E"})
    sparse = 1 - (dense or 0)
    with pytest.raises(UnknownName, match=r"experts.*\(E\*\)"):
        anatomy_of(model).parse(f"L{sparse}.MLP")
    assert len(anatomy_of(model).named_sets("each mlp")[f"L{sparse} mlp"]) == 4


def test_experts_beyond_those_of_the_config_are_named(built: Built, tmp_path: Path) -> None:
    built("qwen3_moe").save_pretrained(tmp_path)
    stored = on_disk(tmp_path)
    for key in ("num_experts", "num_local_experts"):  # of older configs and of newer ones
        config = {k: v for k, v in stored.config.items() if k != "num_local_experts"} | {key: 2}
        with pytest.raises(TakebackError, match=r"experts\.2\..* is of expert 2, .* gives 2"):
            anatomy_of(Described(config, stored.shapes))


def test_projections_of_narrow_embeddings_go_with_the_embeddings() -> None:
    tied, untied = models.CONFIGS["opt-350m"](), models.CONFIGS["opt-350m"]()
    untied.tie_word_embeddings = False
    with torch.device("meta"):
        one, other = (anatomy_of(AutoModelForCausalLM.from_config(config)) for config in (tied, untied))
    out = Region("model.decoder.project_out.weight")
    assert out in one.regions(Component("EMBED"))
    assert Region("model.decoder.project_in.weight") in other.regions(Component("EMBED"))
    assert other.regions(Component("UNEMBED")) == (out, Region("lm_head.weight"))


def test_gains_that_span_the_heads_are_of_their_heads() -> None:
    for name, keys in (("olmo2", "KV"), ("olmo2-mha", "H")):
        anatomy = anatomy_of(models.on_meta(name))
        for norm, kind in (("q_norm", "H"), ("k_norm", keys)):
            owners = anatomy.of_tensor(f"model.layers.1.self_attn.{norm}.weight")
            width = 24 // anatomy.heads
            assert [(str(part), gains.start) for part, gains in owners] == [
                (f"L1.{kind}{place}", place * width) for place in range(len(owners))
            ]


def test_olmo_3_is_built_like_olmo_2() -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            Olmo3Config(**models.CONFIGS["olmo2"]().to_diff_dict() | {"model_type": "olmo3"})
        )
    assert anatomy_of(model).cuts == anatomy_of(models.on_meta("olmo2")).cuts


def test_parameters_of_a_gpt2_head_by_hand() -> None:
    anatomy = anatomy_of(models.on_meta("gpt2"))
    assert anatomy.parameters(Component("H", 0, 1)) == 3 * (24 * 8 + 8) + 8 * 24
    assert anatomy.parameters(anatomy.parse("L0.ATTN NORM EMBED")) == 24 + 48 + (23 + 16) * 24
    assert [
        (r.start, r.stop) for r in anatomy.regions(Component("H", 0, 1)) if "c_attn.weight" in r.tensor
    ] == [
        (8, 16),
        (32, 40),
        (56, 64),
    ]


@pytest.mark.parametrize("tied", ["gpt2", "llama-gqa-biases", "gemma2"])
def test_naming_the_unembedding_of_a_tied_model_says_that_it_is_tied(tied: str) -> None:
    with pytest.raises(UnknownName, match="tied"):
        anatomy_of(models.on_meta(tied)).parse("UNEMBED")


def test_naming_the_key_values_of_multi_head_attention_points_to_the_head() -> None:
    with pytest.raises(UnknownName, match="name the head"):
        anatomy_of(models.on_meta("llama-mha")).parse("L0.KV1")


def test_a_model_untied_by_hand_has_an_unembedding_whatever_its_config_says(built: Built) -> None:
    model = models.build("llama-gqa-biases")
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    assert model.config.tie_word_embeddings
    assert "UNEMBED" in [str(component) for component in anatomy_of(model).universe]
    assert_partition(anatomy_of(model), dict(model.named_parameters()))


def test_anatomy_is_one_live_and_on_disk(name: str, built: Built, tmp_path: Path) -> None:
    model = built(name)
    model.save_pretrained(tmp_path)
    live, stored = anatomy_of(model), anatomy_of(on_disk(tmp_path))
    assert stored.universe == live.universe == anatomy_of(models.on_meta(name)).universe
    for component in live.universe:
        assert stored.parameters(component) == live.parameters(component)
    assert set(live.shapes) - set(stored.shapes) == set(live.stored)


@pytest.mark.parametrize("name", sorted(models.WITH_EXPERTS))
def test_fused_experts_of_the_live_module_know_their_parts_on_disk(
    name: str, built: Built, tmp_path: Path
) -> None:
    model = built(name)
    model.save_pretrained(tmp_path)
    live, stored = anatomy_of(model), anatomy_of(on_disk(tmp_path))
    assert any("experts.gate_up_proj" in tensor for tensor in live.shapes)
    assert not any("experts.gate_up_proj" in tensor for tensor in stored.shapes)
    parts = [part for slices in live.stored.values() for names in slices for part in names]
    assert sorted(parts) == sorted(set(stored.shapes) - set(live.shapes))
    router = Region("model.layers.0.mlp.gate.weight")
    assert live.regions(Component("ROUTER", 0)) == stored.regions(Component("ROUTER", 0)) == (router,)


def test_gpt2_files_of_the_hub_lack_the_prefix_and_hold_masks(built: Built) -> None:
    live = described(built("gpt2"))
    shapes = {name.removeprefix("transformer."): shape for name, shape in live.shapes.items()}
    shapes |= {"h.0.attn.bias": (1, 1, 16, 16), "h.0.attn.masked_bias": (), "lm_head.weight": (23, 24)}
    anatomy = anatomy_of(Described(live.config.to_dict(), shapes))
    assert anatomy.shapes == live.shapes
    assert anatomy.universe == anatomy_of(built("gpt2")).universe


def test_gpt_neox_files_of_the_hub_hold_masks_and_another_name(built: Built) -> None:
    live = described(built("gpt_neox"))
    shapes = {("embed_out.weight" if n == "lm_head.weight" else n): s for n, s in live.shapes.items()}
    for layer in range(2):
        for mask, shape in {"bias": (1, 1, 16, 16), "masked_bias": (), "rotary_emb.inv_freq": (2,)}.items():
            shapes[f"gpt_neox.layers.{layer}.attention.{mask}"] = shape
    assert anatomy_of(Described(live.config.to_dict(), shapes)).shapes == live.shapes


def test_canonical_names_of_old_files() -> None:
    assert canonical_name("llama", "model.layers.3.self_attn.rotary_emb.inv_freq") is None
    assert canonical_name("llama", "layers.3.mlp.up_proj.weight") == "model.layers.3.mlp.up_proj.weight"
    assert canonical_name("llama", "odd.weight") == "odd.weight"


def test_a_type_without_a_family_is_told_and_names_no_other() -> None:
    for model_type in ("lama", ""):
        with pytest.raises(UnknownName, match=f"no family knows the model type '{model_type}'") as told:
            family_of(model_type)
        assert "did you mean" not in str(told.value)


def test_an_unknown_resolution_names_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="heads, neurons"):
        anatomy_of(models.on_meta("gpt2"), "neuron")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.layers.0.self_attn.sinks": (4,)}, r"'model\.layers\.0\.self_attn\.sinks' is unknown"),
        (
            {"model.layers.0.self_attn.q_proj.weight": (28, 24)},
            r"q_proj\.weight' has shape \(28, 24\).*24 long",
        ),
        ({"model.layers.1.self_attn.k_proj.bias": (13,)}, r"layers\.1\.self_attn\.k_proj\.bias'.*12 long"),
        ({"model.layers.1.mlp.down_proj.weight": (24, 21)}, r"down_proj\.weight'.*16 long"),
        ({"model.layers.2.input_layernorm.weight": (24,)}, "gives 2 layers.* 2 are there too"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change: dict[str, tuple[int, ...]], message: str) -> None:
    source = described(models.on_meta("qwen2"))
    with pytest.raises(TakebackError, match=message):
        anatomy_of(Described(source.config, {**source.shapes, **change}))


def test_missing_layers_are_named() -> None:
    source = described(models.on_meta("qwen2"))
    shapes = {name: shape for name, shape in source.shapes.items() if ".layers.1." not in name}
    with pytest.raises(TakebackError, match="tensors of layer 1 are missing"):
        anatomy_of(Described(source.config, shapes))


def test_an_incomplete_config_is_named() -> None:
    source = described(models.on_meta("qwen2"))
    config = {key: value for key, value in source.config.to_dict().items() if key != "num_attention_heads"}
    with pytest.raises(TakebackError, match="'num_attention_heads'"):
        anatomy_of(Described(config, source.shapes))


def test_unknown_tensors_components_and_set_families_are_named() -> None:
    anatomy = anatomy_of(models.on_meta("llama-mha"))
    with pytest.raises(UnknownName, match=r"model\.norm\.weight"):
        anatomy.of_tensor("model.norm.weigth")
    with pytest.raises(UnknownName, match=r"L1\.H2"):
        anatomy.regions(Component("H", 1, 9))
    with pytest.raises(UnknownName, match="'each head'"):
        anatomy.named_sets("each heads")
    with pytest.raises(TakebackError, match="different models"):
        anatomy.regions(anatomy_of(models.on_meta("qwen3")).parse("L0.H0"))


def test_regions_of_one_component_make_no_set(monkeypatch: pytest.MonkeyPatch) -> None:
    anatomy = anatomy_of(models.on_meta("qwen3"), "neurons")
    as_sets = {part: anatomy.regions(ComponentSet([part], anatomy.universe)) for part in anatomy.universe}

    def refused(*_: object) -> None:
        pytest.fail("a set takes time in proportion to all components")

    monkeypatch.setattr(ComponentSet, "__init__", refused)
    monkeypatch.setattr(ComponentSet, "_with", refused)
    universe = list(as_sets)
    assert [anatomy.regions(part) for part in universe] == list(as_sets.values())


def test_named_sets_of_a_model_with_groups() -> None:
    anatomy = anatomy_of(models.on_meta("qwen3"))

    def sets(family: str) -> dict[str, str]:
        return {name: str(components) for name, components in anatomy.named_sets(family).items()}

    assert sets("each head") == {text: text for text in (f"L{i}.H{h}" for i in range(2) for h in range(4))}
    assert sets("each mlp") == {"L0 mlp": "L0.MLP", "L1 mlp": "L1.MLP"}
    assert sets("heads of each layer") == {"L0 heads": "L0.H* L0.KV*", "L1 heads": "L1.H* L1.KV*"}
    assert sets("each layer") == {"L0": "L0.*", "L1": "L1.*"}
    assert sets("each kind") == {
        "embeddings": "EMBED UNEMBED",
        "all heads": "*.H* *.KV*",
        "attention rest": "*.ATTN",
        "all mlps": "*.MLP",
        "all norms": "*.LN1 *.LN2 NORM",
    }


@pytest.mark.parametrize("resolution", ["heads", "neurons"])
def test_every_component_is_of_one_kind(name: str, resolution: str) -> None:
    anatomy = anatomy_of(models.on_meta(name), resolution)
    kinds = list(anatomy.named_sets("each kind").values())
    assert sum(map(len, kinds)) == len(anatomy.universe)
    mlps = anatomy.named_sets("each mlp")
    assert list(mlps) == ["L0 mlp", "L1 mlp"]


def test_every_family_in_the_data_is_well_formed() -> None:
    for family in families().values():
        assert family.match(family.embedding)
        assert family.match(family.unembedding)
        names = [pattern.replace("{l}", "0").split("|")[0] for pattern in family.ignored]
        assert all(canonical_name(family, name) is None for name in names)


@pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.24"), reason="blocks are written for the types of 5.24"
)
def test_every_family_has_a_tiny_model() -> None:
    known = {one for family in families().values() for one in family.model_types}
    assert known <= {*CONFIG_MAPPING}, "a type that transformers has not can't be proved"
    assert {family_of(name.partition("-")[0]).name for name in mixtures.TYPES} <= set(families())


def test_a_model_type_that_is_not_read_says_what_to_do() -> None:
    with pytest.raises(UnknownName, match=r"'gemma3' are not read: .*language model.*docs/families\.md"):
        family_of("gemma3")


def test_one_neuron_of_a_large_model_makes_no_object_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**LARGE, "model_type": "llama"}
    shapes = {"model.embed_tokens.weight": (1000, 4096), "lm_head.weight": (1000, 4096)}
    for layer in range(32):
        for name, shape in {"gate_proj": (14336, 4096), "down_proj": (4096, 14336)}.items():
            shapes[f"model.layers.{layer}.mlp.{name}.weight"] = shape
    anatomy = anatomy_of(Described(config, shapes), "neurons")
    monkeypatch.setattr(Anatomy, "universe", property(lambda _: pytest.fail("one object per neuron")))
    gate, down = (f"model.layers.7.mlp.{name}.weight" for name in ("gate_proj", "down_proj"))
    assert anatomy.regions(Component("N", 7, 9000)) == (
        Region(gate, 0, 9000, 9001),
        Region(down, 1, 9000, 9001),
    )
    assert anatomy.parameters(Component("N", 7, 9000)) == 2 * 4096
    (cut,) = anatomy.cuts[down]
    assert (cut.kind, cut.layer, cut.count, cut.width, cut.axis, cut.start) == ("N", 7, 14336, 1, 1, 0)


def test_anatomy_from_shapes_loads_no_torch(tmp_path: Path) -> None:
    source = described(models.on_meta("qwen3"))
    (tmp_path / "shapes.json").write_text(json.dumps([source.config.to_dict(), dict(source.shapes)]))
    script = (
        "import json, sys, types\n"
        "from takeback.anatomy import anatomy_of\n"
        "config, shapes = json.load(open(sys.argv[1]))\n"
        "print(anatomy_of(types.SimpleNamespace(config=config, shapes=shapes)).parse('*.MLP'))\n"
        "assert 'torch' not in sys.modules\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "shapes.json"], capture_output=True, text=True, check=True
    )
    assert run.stdout == "*.MLP\n"
