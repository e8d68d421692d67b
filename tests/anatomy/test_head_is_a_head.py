"""Law 4: what the anatomy calls a head, a group or a neuron is one for the unmodified Hugging Face module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

import models
from takeback.anatomy import Region, anatomy_of
from takeback.component import Component

Built = Callable[..., PreTrainedModel]


def attention(model: PreTrainedModel, layer: int) -> tuple[nn.Module, nn.Module]:
    """Return the attention of a layer and its output projection."""
    if model.config.model_type == "gpt2":
        block = model.transformer.h[layer].attn
        return block, block.c_proj
    block = model.model.layers[layer].self_attn
    return block, block.o_proj


def down_projection(model: PreTrainedModel, layer: int) -> nn.Module:
    if model.config.model_type == "gpt2":
        return model.transformer.h[layer].mlp.c_proj
    return model.model.layers[layer].mlp.down_proj


def is_output(region: Region) -> bool:
    return region.tensor.endswith(("o_proj.weight", "attn.c_proj.weight"))


def is_query(model: PreTrainedModel, region: Region) -> bool:
    if model.config.model_type == "gpt2":
        return "attn.c_attn" in region.tensor and (region.stop or 0) <= model.config.n_embd
    return "q_proj" in region.tensor


def logits(model: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        return model(models.tokens()).logits


@contextmanager
def zeroed_input(module: nn.Module, columns: slice) -> Iterator[None]:
    """Zero columns of a module's input by a forward pre-hook."""

    def zero(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        changed = inputs[0].clone()
        changed[..., columns] = 0.0
        return (changed, *inputs[1:])

    handle = module.register_forward_pre_hook(zero)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def altered(model: nn.Module, regions: list[Region], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    before = {region.tensor: model.get_parameter(region.tensor).detach().clone() for region in regions}
    with torch.no_grad():
        for region in regions:
            part = model.get_parameter(region.tensor)[region.index]
            part.copy_(change(part))
        yield
        for name, values in before.items():
            model.get_parameter(name).copy_(values)


def input_of(model: PreTrainedModel, module: nn.Module) -> Tensor:
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    logits(model)
    handle.remove()
    return seen[0]


def changed_heads(before: Tensor, after: Tensor, width: int) -> set[int]:
    heads = before.shape[-1] // width
    moved = ((before - after).abs() > 1e-6).reshape(-1, heads, width).any(-1).any(0)
    return set(moved.nonzero().flatten().tolist())


def perturbed(part: Tensor) -> Tensor:
    return part + torch.linspace(0.5, 1.0, part.numel()).reshape(part.shape)


@pytest.mark.parametrize("layer", [0, 1])
def test_zeroing_output_columns_is_zeroing_the_heads_output(name: str, layer: int, built: Built) -> None:
    model = built(name)
    anatomy = anatomy_of(model)
    block, projection = attention(model, layer)
    whole = logits(model)
    for head in range(anatomy.heads):
        with zeroed_input(projection, slice(head * block.head_dim, (head + 1) * block.head_dim)):
            expected = logits(model)
        outputs = [region for region in anatomy.regions(Component("H", layer, head)) if is_output(region)]
        assert len(outputs) == 1
        with altered(model, outputs, torch.zeros_like):
            torch.testing.assert_close(logits(model), expected)
        assert (whole - expected).abs().max() > 1e-3


@pytest.mark.parametrize("layer", [0, 1])
def test_query_rows_feed_their_head_only(name: str, layer: int, built: Built) -> None:
    model = built(name)
    anatomy = anatomy_of(model)
    block, projection = attention(model, layer)
    before = input_of(model, projection)
    for head in range(anatomy.heads):
        queries = [
            region for region in anatomy.regions(Component("H", layer, head)) if is_query(model, region)
        ]
        assert queries
        for region in queries:
            with altered(model, [region], perturbed):
                assert changed_heads(before, input_of(model, projection), block.head_dim) == {head}


@pytest.mark.parametrize("layer", [0, 1])
def test_key_and_value_rows_feed_the_heads_of_their_group_only(name: str, layer: int, built: Built) -> None:
    model = built(name)
    anatomy = anatomy_of(model)
    block, projection = attention(model, layer)
    before = input_of(model, projection)
    kind = "H" if anatomy.groups == anatomy.heads else "KV"
    share = anatomy.heads // anatomy.groups
    for group in range(anatomy.groups):
        rows = [
            region
            for region in anatomy.regions(Component(kind, layer, group))
            if not is_query(model, region) and not is_output(region)
        ]
        readers = set(range(group * share, (group + 1) * share))
        assert len(rows) >= 2
        for region in rows:
            with altered(model, [region], perturbed):
                moved = changed_heads(before, input_of(model, projection), block.head_dim)
            # A bias on keys that no rotation follows adds the same to all scores of a query.
            assert moved == readers or (
                moved == set() and anatomy.family == "gpt2" and "bias" in region.tensor
            )


def test_attention_has_no_other_rows_than_those_tested(name: str, built: Built) -> None:
    model = built(name)
    anatomy = anatomy_of(model)
    for component in anatomy.universe:
        if component.kind in ("H", "KV"):
            tensors = {region.tensor for region in anatomy.regions(component)}
            assert all("attn" in tensor for tensor in tensors)
        if component.kind == "KV":
            assert not any(is_output(r) or is_query(model, r) for r in anatomy.regions(component))


@pytest.mark.parametrize("name", sorted(set(models.CONFIGS) - {"mixtral"}))
def test_a_neuron_is_a_neuron(name: str, built: Built) -> None:
    model = built(name)
    anatomy = anatomy_of(model, "neurons")
    down = down_projection(model, 1)
    before = input_of(model, down)
    for neuron in (0, 7, before.shape[-1] - 1):
        regions = list(anatomy.regions(Component("N", 1, neuron)))
        outputs = [r for r in regions if r.tensor.endswith(("down_proj.weight", "mlp.c_proj.weight"))]
        inputs = [r for r in regions if r not in outputs]
        with zeroed_input(down, slice(neuron, neuron + 1)):
            expected = logits(model)
        with altered(model, outputs, torch.zeros_like):
            torch.testing.assert_close(logits(model), expected)
        with altered(model, inputs, perturbed):
            assert changed_heads(before, input_of(model, down), 1) == {neuron}


def test_an_expert_is_an_expert(built: Built) -> None:
    model = built("mixtral")
    experts = model.model.layers[0].mlp.experts
    anatomy = anatomy_of(model)
    states = torch.randn(5, 24, generator=torch.Generator().manual_seed(0))
    weights = torch.ones(5, 1)

    def output_of(expert: int) -> Tensor:
        with torch.no_grad():
            return experts(states, torch.full((5, 1), expert), weights)

    whole = [output_of(expert) for expert in range(3)]
    for expert in range(3):
        with altered(model, list(anatomy.regions(Component("E", 0, expert))), torch.zeros_like):
            for other in range(3):
                expected = torch.zeros_like(whole[other]) if other == expert else whole[other]
                torch.testing.assert_close(output_of(other), expected)
