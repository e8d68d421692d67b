"""Laws 1 to 4 on every model type with experts, latents, gated delta layers or mixers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
from takeback.anatomy import Region, anatomy_of
from takeback.anatomy.source import parameters_of
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.component import Component, ComponentSet
from takeback.hybrid import hybrid, taken_back, write_hybrid

OUTPUTS = ("out_proj", "o_proj", "output", "linear_out", "down_proj", "output_linear", "dense", "w2")
"""What the last projection of a mixer, a shared expert or attention may be called."""


@pytest.fixture(scope="module", params=mixtures.MARKED)
def pair(request: pytest.FixtureRequest) -> tuple[PreTrainedModel, PreTrainedModel]:
    return mixtures.build(request.param, 0), mixtures.build(request.param, 1)


def logits(model: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        return model(models.tokens(), use_cache=False).logits


@contextmanager
def altered(model: nn.Module, regions: list[Region], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    tensors = parameters_of(model)
    before = {region.tensor: tensors[region.tensor].detach().clone() for region in regions}
    with torch.no_grad():
        for region in regions:
            part = tensors[region.tensor][region.index]
            part.copy_(change(part))
        yield
        for name, values in before.items():
            tensors[name].copy_(values)


def perturbed(part: Tensor) -> Tensor:
    return part + torch.linspace(0.5, 1.0, part.numel()).reshape(part.shape)


@contextmanager
def hooked(*hooks: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for hook in hooks:
            stack.callback(hook.remove)
        yield


def silenced(module: nn.Module) -> Any:
    """Let a module give zeros."""

    def zero(_: nn.Module, __: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return torch.zeros_like(output)
        return (torch.zeros_like(output[0]), *output[1:])

    return module.register_forward_hook(zero)


def without_head(model: nn.Module, projection: nn.Module, head: int, heads: int) -> list[Any]:
    """Zero what one of so many heads gives to the output projection, wherever its weight is used."""

    def zero(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        changed = inputs[0].clone().unflatten(-1, (heads, -1))
        changed[..., head, :] = 0.0
        return (changed.flatten(-2), *inputs[1:])

    sharing = (one for one in model.modules() if getattr(one, "weight", None) is projection.weight)
    return [one.register_forward_pre_hook(zero) for one in sharing]


def parent(model: nn.Module, tensor: str, up: int = 1) -> nn.Module:
    return model.get_submodule(tensor.rsplit(".", up)[0])


def output_of(regions: list[Region]) -> Region:
    """Return the region that is the weight of an output projection."""
    found = [
        one for one in regions if one.tensor.rsplit(".", 2)[-2:] in [[name, "weight"] for name in OUTPUTS]
    ]
    (output,) = found
    return output


def regions_of(model: PreTrainedModel, kind: str) -> Iterator[tuple[Component, list[Region]]]:
    anatomy = anatomy_of(model)
    for component in anatomy.universe:
        if component.kind == kind:
            yield component, list(anatomy.regions(component))


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_components_cover_every_entry_once_live_and_on_disk(
    pair: tuple[PreTrainedModel, PreTrainedModel], tmp_path: Path
) -> None:
    model, _ = pair
    for resolution in ("heads", "neurons"):
        anatomy = anatomy_of(model, resolution)
        assert anatomy.shapes.keys() >= dict(model.named_parameters()).keys()
        for name, shape in anatomy.shapes.items():
            owners = torch.zeros(shape, dtype=torch.int8)
            for _, region in anatomy.of_tensor(name):
                owners[region.index] += 1
            assert bool((owners == 1).all()), name
        model.save_pretrained(tmp_path / resolution)
        on_disk = open_checkpoint(tmp_path / resolution).anatomy(resolution)
        assert list(on_disk.universe) == list(anatomy.universe)
        for component in anatomy.universe:
            assert on_disk.parameters(component) == anatomy.parameters(component), component


def test_ends_are_bit_exact_and_order_makes_no_difference(
    pair: tuple[PreTrainedModel, PreTrainedModel],
) -> None:
    model, base = pair
    universe = anatomy_of(model).universe
    mine, theirs = ({n: v.clone() for n, v in one.state_dict().items()} for one in pair)
    with taken_back(model, base, universe):
        assert all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())
    with taken_back(model, base, universe - universe):
        assert all(torch.equal(value, mine[name]) for name, value in model.state_dict().items())
    draw = random.Random(0)
    one, other = (ComponentSet(draw.sample(list(universe), len(universe) // 2), universe) for _ in range(2))
    with taken_back(model, base, one | other):
        both = {name: value.clone() for name, value in model.state_dict().items()}
    for first, second in ((one, other), (other, one)):
        with taken_back(model, base, first), taken_back(model, base, second):
            assert all(torch.equal(value, both[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, mine[name]) for name, value in model.state_dict().items())


def test_written_ends_are_the_parents(pair: tuple[PreTrainedModel, PreTrainedModel], tmp_path: Path) -> None:
    for name, one in zip(("tuned", "base"), pair, strict=True):
        one.save_pretrained(tmp_path / name)
    opened = open_pair(tmp_path / "base", tmp_path / "tuned")
    universe = opened.anatomy().universe
    for components, end in ((universe, opened.base), (universe - universe, opened.tuned)):
        made = hybrid(opened, components)
        folder = tmp_path / ("all" if components else "nothing")
        write_hybrid(made, folder)
        again = open_checkpoint(folder)
        assert again.digest == end.digest
    whole = type(pair[0]).from_pretrained(tmp_path / "all", attn_implementation="eager")
    same(logits(whole.eval()), logits(pair[1]))


def _scales_held(block: nn.Module, seen: dict[nn.Module, Tensor]) -> list[Any]:
    """Hold the scale of norms that span the heads, as in `test_head_is_a_head`."""
    hooks: list[Any] = []
    for norm in (getattr(block, name, None) for name in ("q_norm", "k_norm")):
        if norm is not None and norm.weight.numel() > block.head_dim:
            scale = torch.rsqrt(seen[norm].pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)

            def held(norm: nn.Module, inputs: Any, _: Tensor, scale: Tensor = scale) -> Tensor:
                return norm.weight * (inputs[0] * scale)

            hooks.append(norm.register_forward_hook(held))
    return hooks


def _inputs(model: PreTrainedModel, *modules: nn.Module) -> dict[nn.Module, Tensor]:
    seen: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.setdefault(module, inputs[0].clone())  # the first time, where a block is run again

    with hooked(*(module.register_forward_pre_hook(keep) for module in modules)):
        logits(model)
    return seen


def test_a_head_is_a_head(pair: tuple[PreTrainedModel, PreTrainedModel]) -> None:
    """Zeroing output columns is zeroing the head's output; all its other rows feed it and no other head."""
    model, _ = pair
    anatomy = anatomy_of(model)
    for component, regions in regions_of(model, "H"):
        head, layer = component.index or 0, component.layer
        heads = sum(one.kind == "H" and one.layer == layer for one in anatomy.universe)
        output = output_of(regions)
        projection = parent(model, output.tensor)
        block = parent(model, output.tensor, 2)
        with hooked(*without_head(model, projection, head, heads)):
            expected = logits(model)
        with altered(model, [output], torch.zeros_like):
            same(logits(model), expected)
        norms = [one for one in (getattr(block, n, None) for n in ("q_norm", "k_norm")) if one is not None]
        seen = _inputs(model, projection, *norms)
        with hooked(*_scales_held(block, seen)):
            before = _inputs(model, projection)[projection].unflatten(-1, (heads, -1))
            with hooked(*without_head(model, projection, head, heads)):
                expected = logits(model)
                with altered(model, [one for one in regions if one is not output], perturbed):
                    same(logits(model), expected)
            for region in regions:
                if region is not output:
                    with altered(model, [region], perturbed):
                        after = _inputs(model, projection)[projection].unflatten(-1, (heads, -1))
                    moved = (after - before).abs().amax((0, 1, 3)) > 1e-6
                    assert moved.nonzero().flatten().tolist() == [head], (component, region)


def test_a_group_feeds_its_heads_only(pair: tuple[PreTrainedModel, PreTrainedModel]) -> None:
    model, _ = pair
    universe = anatomy_of(model).universe
    for component, regions in regions_of(model, "KV"):
        of_layer = [one for one in universe if one.layer == component.layer]
        heads, groups = (sum(one.kind == kind for one in of_layer) for kind in ("H", "KV"))
        first = list(anatomy_of(model).regions(Component("H", component.layer, 0)))
        output = output_of(first)
        projection, block = parent(model, output.tensor), parent(model, output.tensor, 2)
        norms = [one for one in (getattr(block, n, None) for n in ("q_norm", "k_norm")) if one is not None]
        with hooked(*_scales_held(block, _inputs(model, *norms))):
            before = _inputs(model, projection)[projection].unflatten(-1, (heads, -1))
            for region in regions:
                with altered(model, [region], perturbed):
                    after = _inputs(model, projection)[projection].unflatten(-1, (heads, -1))
                moved = (after - before).abs().amax((0, 1, 3)) > 1e-6
                share, index = heads // groups, component.index or 0
                assert moved.nonzero().flatten().tolist() == list(range(index * share, (index + 1) * share))


@pytest.mark.parametrize("kind", ["DELTA", "MIXER", "SHARED"])
def test_a_mixer_acts_through_its_output_only(
    kind: str, pair: tuple[PreTrainedModel, PreTrainedModel]
) -> None:
    """Zeroing its output projection is hooking its output; with that hooked, the rest of it does nothing."""
    model, _ = pair
    whole = logits(model)
    for component, regions in regions_of(model, kind):
        output = output_of(regions)
        stem = output.tensor.rpartition(".")[0]
        last = [one for one in regions if one.tensor.rpartition(".")[0] == stem]
        with hooked(silenced(parent(model, output.tensor, 2))):
            expected = logits(model)
            with altered(model, regions, perturbed):
                same(logits(model), expected)
        assert (whole - expected).abs().max() > 1e-4, component
        with altered(model, last, torch.zeros_like):
            same(logits(model), expected)


def test_a_latent_feeds_all_heads_and_nothing_else(pair: tuple[PreTrainedModel, PreTrainedModel]) -> None:
    model, _ = pair
    anatomy = anatomy_of(model)
    for component, regions in regions_of(model, "LATENT"):
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


def _without_expert(experts: nn.Module, expert: int, count: int) -> Any:
    def unweighted(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        states, chosen, weights = inputs
        return states, chosen, weights.masked_fill(chosen == expert, 0.0)

    def unheard(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        changed = output.clone().unflatten(0, (count, -1))
        changed[expert] = 0.0
        return changed.flatten(0, 1)

    if type(experts).__name__ == "Llama4TextExperts":  # every expert sees every token, side by side
        return experts.register_forward_hook(unheard)
    return experts.register_forward_pre_hook(unweighted)


def test_an_expert_is_an_expert(pair: tuple[PreTrainedModel, PreTrainedModel]) -> None:
    model, _ = pair
    whole, heard = logits(model), 0
    for component, regions in regions_of(model, "E"):
        experts = parent(model, regions[0].tensor)
        outputs = [one for one in regions if "down_proj" in one.tensor]
        with hooked(_without_expert(experts, component.index or 0, 3)):
            expected = logits(model)
            with altered(model, regions, perturbed):
                same(logits(model), expected)
        with altered(model, outputs, torch.zeros_like):
            same(logits(model), expected)
        heard += bool((whole - expected).abs().max() > 1e-4)
    assert heard or not list(regions_of(model, "E"))


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


def test_a_neuron_is_a_neuron(pair: tuple[PreTrainedModel, PreTrainedModel]) -> None:
    model, _ = pair
    anatomy = anatomy_of(model, "neurons")
    layers = {one.layer for one in anatomy.universe if one.kind == "N"}
    for layer in layers:
        count = sum(one.kind == "N" and one.layer == layer for one in anatomy.universe)
        for neuron in (0, 5, count - 1):
            regions = list(anatomy.regions(Component("N", layer, neuron)))
            (output,) = [one for one in regions if one.axis == 1]
            projection = parent(model, output.tensor)
            with hooked(*without_head(model, projection, neuron, count)):
                expected = logits(model)
                with altered(model, [one for one in regions if one is not output], perturbed):
                    same(logits(model), expected)
            with altered(model, [output], torch.zeros_like):
                same(logits(model), expected)
            before = _inputs(model, projection)[projection]
            with altered(model, [one for one in regions if one is not output], perturbed):
                after = _inputs(model, projection)[projection]
            moved = (after - before).abs().amax((0, 1)) > 1e-6
            assert moved.nonzero().flatten().tolist() in ([neuron], []), (layer, neuron)


def test_stacked_experts_on_disk_are_those_kept_apart(
    pair: tuple[PreTrainedModel, PreTrainedModel], tmp_path: Path
) -> None:
    """A trainer that writes the live tensors stacks experts; files on the hub hold them one by one."""
    model, base = pair
    if not anatomy_of(model).stored:
        pytest.skip("its files hold experts as the live module does")
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
