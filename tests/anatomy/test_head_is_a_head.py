"""Law 4: what the anatomy calls a head, a group or a neuron is one for the unmodified Hugging Face module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

import models
from takeback.anatomy import Region, anatomy_of
from takeback.component import Component

Built = Callable[..., PreTrainedModel]


def writer(model: PreTrainedModel, layer: int) -> nn.Module:
    """Return the module whose input is what the heads of a layer give, side by side."""
    return model.get_submodule(models.outputs_of(model, layer)[0])


def roles(model: PreTrainedModel, layer: int, component: Component) -> dict[str, list[Region]]:
    """Say what the attention of Hugging Face does with each region of a head or a key/value group."""
    found: dict[str, list[Region]] = {"query": [], "key or value": [], "output": []}
    for region in anatomy_of(model).regions(component):
        if region.tensor == f"{models.outputs_of(model, layer)[0]}.weight":
            found["output"].append(region)
        elif "query_key_value" in region.tensor:  # in GPT-NeoX each head has the three in a row
            first, last = region.start, region.stop or 0
            edges = range(first, last + 1, (last - first) // 3)
            query, *others = (
                replace(region, start=edge, stop=edges[i + 1]) for i, edge in enumerate(edges[:3])
            )
            found["query"].append(query)
            found["key or value"] += others
        elif "c_attn" in region.tensor or "qkv_proj" in region.tensor:  # all queries, all keys, all values
            queries = input_width(writer(model, layer))
            found["query" if (region.stop or 0) <= queries else "key or value"].append(region)
        else:
            found["query" if ".q_" in region.tensor else "key or value"].append(region)
    return found


def input_width(projection: nn.Module) -> int:
    return projection.weight.shape[0 if isinstance(projection, Conv1D) else 1]


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


def output_of(model: PreTrainedModel, module: nn.Module) -> Tensor:
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    logits(model)
    handle.remove()
    return seen[0]


def changed_heads(before: Tensor, after: Tensor, heads: int) -> set[int]:
    moved = ((before - after).abs() > 1e-6).reshape(-1, heads, before.shape[-1] // heads).any(-1).any(0)
    return set(moved.nonzero().flatten().tolist())


def perturbed(part: Tensor) -> Tensor:
    return part + torch.linspace(0.5, 1.0, part.numel()).reshape(part.shape)


@contextmanager
def scales_held(model: PreTrainedModel, layer: int) -> Iterator[None]:
    """Hold the scale of norms that span the heads at what it is now, by hooks.

    OLMo 2 divides the queries of all heads by one root mean square, and the keys. A change of one head's rows
    reaches the others through this number, one for each token, and through nothing else.
    """
    block = model.get_submodule(models.outputs_of(model, layer)[0].rpartition(".")[0])
    handles: list[RemovableHandle] = []
    for norm in (getattr(block, name, None) for name in ("q_norm", "k_norm")):
        if norm is not None and norm.weight.numel() > block.head_dim:
            values = input_of(model, norm)
            scale = torch.rsqrt(values.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)

            def held(norm: nn.Module, inputs: tuple[Tensor, ...], _: Tensor, scale: Tensor = scale) -> Tensor:
                return norm.weight * (inputs[0] * scale)

            handles.append(norm.register_forward_hook(held))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("layer", [0, 1])
def test_zeroing_output_columns_is_zeroing_the_heads_output(name: str, layer: int, built: Built) -> None:
    model = built(name)
    projection = writer(model, layer)
    width = input_width(projection) // model.config.num_attention_heads
    whole = logits(model)
    for head in range(model.config.num_attention_heads):
        with zeroed_input(projection, slice(head * width, (head + 1) * width)):
            expected = logits(model)
        outputs = roles(model, layer, Component("H", layer, head))["output"]
        assert len(outputs) == 1
        with altered(model, outputs, torch.zeros_like):
            torch.testing.assert_close(logits(model), expected)
        assert (whole - expected).abs().max() > 1e-3


@pytest.mark.parametrize("layer", [0, 1])
def test_query_rows_feed_their_head_only(name: str, layer: int, built: Built) -> None:
    model = built(name)
    projection, heads = writer(model, layer), model.config.num_attention_heads
    with scales_held(model, layer):
        before = input_of(model, projection)
        for head in range(heads):
            queries = roles(model, layer, Component("H", layer, head))["query"]
            assert queries
            for region in queries:
                with altered(model, [region], perturbed):
                    assert changed_heads(before, input_of(model, projection), heads) == {head}


@pytest.mark.parametrize("layer", [0, 1])
def test_key_and_value_rows_feed_the_heads_of_their_group_only(name: str, layer: int, built: Built) -> None:
    model = built(name)
    anatomy = anatomy_of(model)
    projection = writer(model, layer)
    kind = "H" if anatomy.groups == anatomy.heads else "KV"
    share = anatomy.heads // anatomy.groups
    with scales_held(model, layer):
        before = input_of(model, projection)
        for group in range(anatomy.groups):
            rows = roles(model, layer, Component(kind, layer, group))["key or value"]
            readers = set(range(group * share, (group + 1) * share))
            assert len(rows) >= 2
            for region in rows:
                with altered(model, [region], perturbed):
                    moved = changed_heads(before, input_of(model, projection), anatomy.heads)
                # A bias on keys that no rotation follows adds the same to all scores of a query.
                assert moved == readers or (
                    moved == set() and anatomy.family in ("gpt2", "opt") and "bias" in region.tensor
                )


@pytest.mark.parametrize("name", ["olmo2", "olmo2-mha"])
def test_a_norm_across_heads_couples_them_by_one_number_per_token(name: str, built: Built) -> None:
    model = built(name)
    norm, heads = model.model.layers[1].self_attn.q_norm, model.config.num_attention_heads

    def queries() -> Tensor:
        return output_of(model, norm).unflatten(-1, (heads, -1))

    before = queries()
    (rows, *_), others = roles(model, 1, Component("H", 1, 1))["query"], [h for h in range(heads) if h != 1]
    assert "q_proj" in rows.tensor
    with altered(model, [rows], perturbed):
        ratio = queries()[..., others, :] / before[..., others, :]
    one = ratio[..., :1, :1]
    torch.testing.assert_close(ratio, one.expand_as(ratio))
    assert (one < 0.9).any()


def test_attention_has_no_other_rows_than_those_tested(name: str, built: Built) -> None:
    model = built(name)
    for component in anatomy_of(model).universe:
        if component.layer is not None and component.kind in ("H", "KV"):
            found = roles(model, component.layer, component)
            assert all("att" in region.tensor for regions in found.values() for region in regions)
            assert component.kind == "H" or not found["query"] + found["output"]


@pytest.mark.parametrize("name", models.marked(sorted(set(models.CONFIGS) - {"mixtral"})))
def test_a_neuron_is_a_neuron(name: str, built: Built) -> None:
    model = built(name)
    anatomy = anatomy_of(model, "neurons")
    written = models.outputs_of(model, 1)[1]
    down = model.get_submodule(written)
    before = input_of(model, down)
    for neuron in (0, 7, before.shape[-1] - 1):
        regions = list(anatomy.regions(Component("N", 1, neuron)))
        outputs = [region for region in regions if region.tensor == f"{written}.weight"]
        inputs = [region for region in regions if region not in outputs]
        with zeroed_input(down, slice(neuron, neuron + 1)):
            expected = logits(model)
        with altered(model, outputs, torch.zeros_like):
            torch.testing.assert_close(logits(model), expected)
        with altered(model, inputs, perturbed):
            assert changed_heads(before, input_of(model, down), before.shape[-1]) == {neuron}


@pytest.mark.parametrize("name", sorted(models.WITH_EXPERTS))
def test_an_expert_is_an_expert(name: str, built: Built) -> None:
    model = built(name)
    experts = model.model.layers[0].mlp.experts
    anatomy = anatomy_of(model)
    states = torch.randn(5, 24, generator=torch.Generator().manual_seed(0))
    weights = torch.ones(5, 1)

    def given_by(expert: int) -> Tensor:
        with torch.no_grad():
            return experts(states, torch.full((5, 1), expert), weights)

    whole = [given_by(expert) for expert in range(3)]
    for expert in range(3):
        with altered(model, list(anatomy.regions(Component("E", 0, expert))), torch.zeros_like):
            for other in range(3):
                expected = torch.zeros_like(whole[other]) if other == expert else whole[other]
                torch.testing.assert_close(given_by(other), expected)
