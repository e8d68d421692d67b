"""Laws 1 to 4 on every model type with experts, latents, gated delta layers or mixers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

import mixtures
import models
from takeback.anatomy import Anatomy, Cut, Region, anatomy_of
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.component import Component
from takeback.hybrid import hybrid, mixers, write_hybrid
from takeback.hybrid.heads import BrokenLaw, altered, hooked, perturbed
from takeback.hybrid.proof import prove


@pytest.fixture(scope="module", params=mixtures.MARKED)
def pair(request: pytest.FixtureRequest) -> tuple[PreTrainedModel, PreTrainedModel]:
    return mixtures.build(request.param, 0), mixtures.build(request.param, 1)


def logits(model: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        return model(models.tokens(), use_cache=False).logits


def silenced(module: nn.Module) -> Any:
    """Let a module give zeros."""

    def zero(_: nn.Module, __: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return torch.zeros_like(output)
        return (torch.zeros_like(output[0]), *output[1:])

    return module.register_forward_hook(zero)


def parent(model: nn.Module, tensor: str, up: int = 1) -> nn.Module:
    return model.get_submodule(tensor.rsplit(".", up)[0])


def output_of(regions: list[Region]) -> Region:
    """Return the region that is the weight of an output projection."""
    names = [f"{name}.weight" for name in mixers.OUTPUTS]
    (output,) = (one for one in regions if ".".join(one.tensor.rsplit(".", 2)[-2:]) in names)
    return output


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def _inputs(model: PreTrainedModel, *modules: nn.Module) -> dict[nn.Module, Tensor]:
    seen: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.setdefault(module, inputs[0].clone())  # the first time, where a block is run again

    with hooked(*(module.register_forward_pre_hook(keep) for module in modules)):
        logits(model)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("kind", mixtures.of_every_claim())
def test_laws_hold(kind: str) -> None:
    """In four layers; `test_census.py` tries them in two, on every type there is."""
    proof = prove(mixtures.config_of(kind))
    assert proof.holds, str(proof)


def test_a_mixer_with_a_part_that_acts_elsewhere_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The norm before the mixer is that of attention too."""
    name = "model.layers.0.input_layernorm.weight"

    def wrong(model: PreTrainedModel) -> Anatomy:
        anatomy = anatomy_of(model)
        return replace(anatomy, cuts={**anatomy.cuts, name: (Cut(name, "MIXER", 0),)})

    model = mixtures.build("falcon_h1")
    assert mixers.check_mixers(model) == "4 mixers"
    monkeypatch.setattr(mixers, "anatomy_of", wrong)
    with pytest.raises(BrokenLaw, match=r"L0\.MIXER has parts that act beside its output: .* off by"):
        mixers.check_mixers(model)


def test_a_latent_feeds_all_heads_and_nothing_else(pair: tuple[PreTrainedModel, PreTrainedModel]) -> None:
    model, _ = pair
    anatomy = anatomy_of(model)
    for component in anatomy.universe:
        if component.kind != "LATENT":
            continue
        regions = list(anatomy.regions(component))
        output = output_of(list(anatomy.regions(Component("H", component.layer, 0))))
        projection, block = parent(model, output.tensor), parent(model, output.tensor, 2)
        down = [getattr(block, name, None) for name in ("q_a_proj", "kv_a_proj_with_mqa")]
        with hooked(*(silenced(module) for module in down if module is not None)):
            expected = logits(model)
        with altered(model, regions, torch.zeros_like):
            same(logits(model), expected)
        before = _inputs(model, projection)[projection].unflatten(-1, (mixtures.HEADS, -1))
        for region in regions:
            with altered(model, [region], perturbed):
                after = _inputs(model, projection)[projection].unflatten(-1, (mixtures.HEADS, -1))
            assert ((after - before).abs().amax((0, 1, 3)) > 1e-6).all(), region
        with hooked(silenced(projection)):
            expected = logits(model)
            with altered(model, regions, perturbed):
                same(logits(model), expected)


def test_what_is_left_of_a_layer_acts_where_it_says(pair: tuple[PreTrainedModel, PreTrainedModel]) -> None:
    """A router acts through the experts, what no head owns through attention."""
    model, _ = pair
    anatomy = anatomy_of(model)
    for component in anatomy.universe:
        regions = list(anatomy.regions(component))
        layer = component.layer
        of_layer = [one.kind for one in anatomy.universe if one.layer == layer]
        if component.kind == "ROUTER" and not hasattr(model.config, "expert_layer_period"):
            (name,) = {one.tensor.rpartition(".")[0] for one in anatomy.regions(Component("E", layer, 0))}
            hooks = [silenced(model.get_submodule(name))]
        elif component.kind == "ATTN" and "H" in of_layer and not hasattr(model.config, "n_mamba_heads"):
            output = output_of(list(anatomy.regions(Component("H", layer, 0))))
            lent = getattr(model.config, "num_kv_shared_layers", 0)  # later layers read keys of earlier ones
            readers = range(layer or 0, len(model.model.layers)) if lent else (layer or 0,)
            names = (output.tensor.replace(f".{layer}.", f".{reader}.", 1) for reader in readers)
            hooks = [silenced(parent(model, name)) for name in names]
        elif component.kind == "PLE":
            (name,) = (one.tensor for one in regions if one.tensor.endswith("per_layer_projection.weight"))
            hooks = [silenced(parent(model, name))]
        elif component.kind == "LAUREL":
            block = model.get_submodule(regions[0].tensor.partition(".laurel.")[0] + ".laurel")
            hooks = [block.register_forward_hook(lambda _, inputs, __: inputs[0])]
        else:
            continue
        with hooked(*hooks):
            expected = logits(model)
            with altered(model, regions, partial(torch.add, other=0.3)):
                same(logits(model), expected)
        with altered(model, regions, perturbed):
            assert component.kind == "ROUTER" or (logits(model) - expected).abs().max() > 1e-5, component


def test_stacked_experts_on_disk_are_those_kept_apart(
    pair: tuple[PreTrainedModel, PreTrainedModel], tmp_path: Path
) -> None:
    """A trainer that writes the live tensors stacks experts; files on the hub hold them one by one."""
    model, base = pair
    if not anatomy_of(model).stored:
        model.save_pretrained(tmp_path)
        assert dict(open_checkpoint(tmp_path).shapes) == dict(anatomy_of(model).shapes)
        return
    model.save_pretrained(tmp_path / "apart")
    base.save_pretrained(tmp_path / "base")
    (tmp_path / "stacked").mkdir()
    model.config.save_pretrained(tmp_path / "stacked")
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    save_file(tensors, tmp_path / "stacked" / "model.safetensors", {"format": "pt"})
    apart, stacked = (open_checkpoint(tmp_path / name) for name in ("apart", "stacked"))
    assert stacked.shapes == apart.shapes
    assert stacked.digest == apart.digest
    for name in stacked.entries:
        assert np.array_equal(stacked.flat(name).block(0, 7), apart.flat(name).block(0, 7)), name
    made = hybrid(open_pair(tmp_path / "base", tmp_path / "stacked"), apart.anatomy().universe)
    write_hybrid(made, tmp_path / "hybrid")
    assert open_checkpoint(tmp_path / "hybrid").digest == open_checkpoint(tmp_path / "base").digest
    again = type(model).from_pretrained(tmp_path / "hybrid", attn_implementation="eager").eval()
    same(logits(again), logits(base))
