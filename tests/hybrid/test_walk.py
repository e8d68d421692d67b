"""Hybrids run together give the logits of each swapped in and run as a whole, on every family."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
import transformers

import mixtures
import models
from takeback.anatomy import anatomy_of
from takeback.component import ComponentSet
from takeback.hybrid import taken_back
from takeback.hybrid.proof import random_model
from takeback.hybrid.replay import Inputs, Replay, plain_logits
from takeback.hybrid.tiny import tiny_config
from takeback.hybrid.walk import Hybrids, hybrid_logits, path_of
from takeback.run.errors import TakebackError

Build = Callable[..., transformers.PreTrainedModel]
LENGTH = 9


def every_kind_of_set(model: transformers.PreTrainedModel) -> list[ComponentSet]:
    """Nothing, everything, each component, nested sets from both ends, random sets, one set twice."""
    universe = anatomy_of(model).universe
    members, random = list(universe), np.random.default_rng(0)
    sets = [ComponentSet((), universe), universe, *(ComponentSet([one], universe) for one in members)]
    sets += [ComponentSet(members[:stop], universe) for stop in range(2, len(members), 7)]
    sets += [ComponentSet(members[start:], universe) for start in range(2, len(members), 7)]
    draws = [random.choice(len(members), min(5, len(members)), replace=False) for _ in range(3)]
    sets += [ComponentSet([members[place] for place in draw], universe) for draw in draws]
    return [*sets, sets[-1]]


def swapped_in(
    model: transformers.PreTrainedModel, base: transformers.PreTrainedModel, chosen: ComponentSet, on: Inputs
) -> torch.Tensor:
    """The slow and obvious way; every position's logits, then those that are read."""
    with taken_back(model, base, chosen), torch.no_grad():
        logits = model(**on.arguments, use_cache=False).logits
    return torch.stack([row[places] for row, places in zip(logits, on.read, strict=True)])


def check(
    model: transformers.PreTrainedModel,
    base: transformers.PreTrainedModel,
    on: Inputs,
    sets: Sequence[ComponentSet],
) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = torch.full((len(sets), *on.read.shape, model.config.vocab_size), torch.nan)
    for place, rows, logits in hybrid_logits(model, base, sets, on):
        found[place, rows] = logits
    for got, chosen in zip(found, sets, strict=True):
        expected = swapped_in(model, base, chosen, on)
        scale = float(expected.abs().max())
        torch.testing.assert_close(got / scale, expected / scale, rtol=0, atol=1e-5)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} did not come back"


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_hybrids_have_the_logits_of_the_swapped_model(name: str, attention: str) -> None:
    if name.startswith("gemma"):
        attention = "eager"  # their soft caps need it
    model, base = models.build(name, 0), models.build(name, 1)
    for one in (model, base):
        one.set_attn_implementation(attention)
    sets = every_kind_of_set(model)
    ids = {"input_ids": models.tokens(3, LENGTH)}
    check(model, base, Inputs(ids, torch.full((3, 1), LENGTH - 1)), sets[:: 1 if attention == "eager" else 5])
    check(model, base, Inputs(ids, torch.tensor([[0, 5, 7], [8, 2, 2], [1, 3, 6]])), sets[::5])


@pytest.mark.slow
@pytest.mark.parametrize("kind", mixtures.MARKED)
def test_experts_latents_and_mixers_are_walked_too(kind: str) -> None:
    """Layers of several types, inputs for each layer, keys shared by layers, four residual streams."""
    model, base = mixtures.build(kind, 0), mixtures.build(kind, 1)
    sets = every_kind_of_set(model)
    ids = {"input_ids": models.tokens(3, LENGTH)}
    check(model, base, Inputs(ids, torch.full((3, 1), LENGTH - 1)), sets[::3])
    check(model, base, Inputs(ids, torch.tensor([[0, 5, 7], [8, 2, 2], [1, 3, 6]])), sets[::7])


FURTHER = (
    "bloom",
    "cohere",
    "gpt_neo",
    "falcon",
    "gptj",
    "mpt",
    "phi",
    "stablelm",
    "bart",
    "bert",
    "smollm3",
)
"""Layers with attention and MLP side by side, a norm behind the embeddings, ALiBi, masks of their own."""


@pytest.mark.parametrize(
    "model_type",
    [pytest.param(name, marks=[pytest.mark.slow] * (place > 2)) for place, name in enumerate(FURTHER)],
)
def test_further_types_are_walked_too(model_type: str) -> None:
    model, base = (random_model(tiny_config(model_type), seed) for seed in (0, 1))
    sets = every_kind_of_set(model)[::5]
    ids = {"input_ids": models.tokens(3, LENGTH).clamp(min=3)}
    check(model, base, Inputs(ids, torch.full((3, 1), LENGTH - 1)), sets)
    check(model, base, Inputs(ids, torch.tensor([[0, 5, 7], [8, 2, 2], [1, 3, 6]])), sets)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["gpt_bigcode", "openai-gpt", "xlm"])
def test_types_that_cannot_be_walked_run_one_by_one(model_type: str) -> None:
    model, base = (random_model(tiny_config(model_type), seed) for seed in (0, 1))
    ids = {"input_ids": models.tokens(3, LENGTH).clamp(min=3)}
    with pytest.warns(UserWarning, match="run one by one"):
        check(model, base, Inputs(ids, torch.full((3, 1), LENGTH - 1)), every_kind_of_set(model)[::5])


def test_the_last_layer_is_computed_at_the_read_positions_alone(name: str, built: Build) -> None:
    """Or else every family would be right, and slow, through the way around."""
    model = built(name)
    hybrids = Hybrids(model, built(name, 1))
    on = Inputs({"input_ids": models.tokens(2, LENGTH)}, torch.full((2, 1), LENGTH - 1))
    nothing = path_of(ComponentSet((), anatomy_of(model).universe))
    shapes: list[tuple[int, ...]] = []
    last = Replay.of(model).layers[-1]
    hook = last.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape[:2])))
    try:
        list(hybrids.logits(on, [nothing]))
    finally:
        hook.remove()
    assert shapes[-1] == (2, 1)


@pytest.mark.parametrize("family", ["mistral", "gemma2", "qwen2"])
def test_padding_and_sliding_windows(family: str) -> None:
    config = models.CONFIGS[family]()
    config.sliding_window = 3
    if config.__dict__.get("layer_types"):
        config.layer_types = ["full_attention", "sliding_attention"]
    model, base = (
        models.randomised(transformers.AutoModelForCausalLM.from_config(config).eval(), seed)
        for seed in (0, 1)
    )
    mask = torch.ones(3, LENGTH, dtype=torch.long)
    mask[0, :4] = 0
    on = Inputs({"input_ids": models.tokens(3, LENGTH), "attention_mask": mask}, torch.tensor([[8]] * 3))
    check(model, base, on, every_kind_of_set(model)[::4])


def test_bfloat16(built: Build) -> None:
    model, base = (models.build("llama-gqa-biases", seed).to(torch.bfloat16) for seed in (0, 1))
    sets = every_kind_of_set(model)[::4]
    on = Inputs({"input_ids": models.tokens(3, LENGTH)}, torch.full((3, 1), LENGTH - 1))
    for place, _, logits in hybrid_logits(model, base, sets, on):
        expected = swapped_in(model, base, sets[place], on)
        assert logits.dtype == torch.bfloat16
        assert float((logits - expected).abs().max()) <= 0.05 * float(expected.abs().max())


def test_memory_cuts_rows_and_order_of_sets_changes_nothing_but_rounding(built: Build) -> None:
    model, base = built("llama-mha"), built("llama-mha", 1)
    sets = every_kind_of_set(model)[:12]
    on = Inputs({"input_ids": models.tokens(5, LENGTH)}, torch.full((5, 2), LENGTH - 1))

    def whole(memory: int) -> tuple[torch.Tensor, set[int]]:
        found, sizes = torch.zeros(len(sets), 5, 2, models.VOCABULARY), set[int]()
        for place, rows, logits in hybrid_logits(model, base, sets, on, memory=memory):
            found[place, rows] = logits
            sizes.add(len(logits))
        return found, sizes

    (one, sizes), (many, all_rows) = whole(1), whole(2**28)
    assert (sizes, all_rows) == ({1}, {5})
    torch.testing.assert_close(one, many, rtol=1e-5, atol=1e-5)
    again = torch.zeros_like(many)
    for place, rows, logits in hybrid_logits(model, base, sets[::-1], on):
        again[len(sets) - 1 - place, rows] = logits
    assert torch.equal(again, many)


def test_what_is_shared_is_computed_once(built: Build) -> None:
    """Each layer runs once for each different way of taking back what is in it and below it."""
    model, base = built("llama-mha"), built("llama-mha", 1)
    universe = anatomy_of(model).universe
    sets = [ComponentSet([one], universe) for one in universe if one.kind == "H"]
    on = Inputs({"input_ids": models.tokens(2, LENGTH)}, torch.tensor([list(range(LENGTH))] * 2))
    hybrids = Hybrids(model, base)
    list(hybrids.logits(on, [path_of(sets[0])]))
    runs = [0, 0]

    def count(layer: int) -> Callable[..., None]:
        def ran(*_: object) -> None:
            runs[layer] += 1

        return ran

    hooks = [
        layer.register_forward_hook(count(place))
        for place, layer in enumerate(model.get_submodule("model.layers").children())
    ]
    try:
        list(hybrids.logits(on, [path_of(chosen) for chosen in sets]))
    finally:
        for hook in hooks:
            hook.remove()
    calls, tails = 1, 6
    assert runs[0] - calls - tails == 3 + 1
    assert runs[1] - calls - tails == 3 + 3


def test_a_layer_is_put_back_once_it_is_computed(built: Build) -> None:
    """Or else a hybrid of all layers would have each of them in memory twice."""
    model, base = models.build("llama-mha", 0), built("llama-mha", 1)
    universe = anatomy_of(model).universe
    layers = model.get_submodule("model.layers")
    before = {name: value.clone() for name, value in layers.state_dict().items()}
    on = Inputs({"input_ids": models.tokens(2, LENGTH)}, torch.full((2, 1), LENGTH - 1))
    walk = Hybrids(model, base)
    for _ in walk.ends(on, [path_of(universe), path_of(ComponentSet((), universe))]):
        assert all(torch.equal(value, before[name]) for name, value in layers.state_dict().items())


def test_layers_that_share_weights_stay_taken_back(built: Build) -> None:
    model, base = (models.build("llama-mha", seed) for seed in (0, 1))
    assert Replay.of(model).alone == (True, True)
    for one in (model, base):
        first, second = one.get_submodule("model.layers").children()
        second.mlp = first.mlp
    assert Replay.of(model).alone == (False, False)
    on = Inputs({"input_ids": models.tokens(2, LENGTH)}, torch.full((2, 1), LENGTH - 1))
    check(model, base, on, every_kind_of_set(model))


def test_an_abandoned_walk_leaves_the_model_as_it_was(built: Build) -> None:
    model, base = models.build("gpt2", 0), built("gpt2", 1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    on = Inputs({"input_ids": models.tokens(2, LENGTH)}, torch.full((2, 1), LENGTH - 1))
    walk = hybrid_logits(model, base, every_kind_of_set(model), on)
    for _ in range(5):
        next(walk)
    assert not torch.is_inference_mode_enabled()
    walk.close()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all("forward" not in vars(layer) for layer in Replay.of(model).layers)


class Crossed(transformers.LlamaForCausalLM):
    """Adds to its last layer's output what its first layer was given: its layers alone don't make it."""

    def forward(self, *args, **kwargs):
        kept = []
        hook = self.model.layers[0].register_forward_hook(lambda _, given, output: kept.append(output))
        other = self.model.norm.register_forward_pre_hook(
            lambda _, given: (given[0] + kept[0][:, -given[0].shape[1] :],)
        )
        try:
            return super().forward(*args, **kwargs)
        finally:
            hook.remove()
            other.remove()


def test_a_model_that_cannot_be_replayed_is_run_whole_and_says_so_once() -> None:
    model, base = (models.randomised(Crossed(models.CONFIGS["llama-mha"]()).eval(), seed) for seed in (0, 1))
    sets = every_kind_of_set(model)[:6]
    on = Inputs({"input_ids": models.tokens(2, LENGTH)}, torch.full((2, 1), LENGTH - 1))
    hybrids, paths = Hybrids(model, base), [path_of(chosen) for chosen in sets]
    with pytest.warns(UserWarning, match="run one by one"):
        found = dict(hybrids.logits(on, paths))
    for place, logits in hybrids.logits(on, paths):  # a second warning would be an error
        torch.testing.assert_close(logits, swapped_in(model, base, sets[place], on))
        assert torch.equal(logits, found[place])


def test_a_set_of_another_model_is_refused(built: Build) -> None:
    foreign = ComponentSet((), anatomy_of(built("llama-mha")).universe).universe
    on = Inputs({"input_ids": models.tokens(1, LENGTH)}, torch.full((1, 1), LENGTH - 1))
    with pytest.raises(TakebackError):
        list(hybrid_logits(built("gpt2"), built("gpt2", 1), [foreign], on))


def test_plain_logits_are_those_of_the_forward(built: Build) -> None:
    model = built("llama-mha")
    on = Inputs({"input_ids": models.tokens(2, LENGTH)}, torch.tensor([[3, 7], [8, 4]]))
    with torch.no_grad():
        whole = model(**on.arguments).logits
        expected = torch.stack([row[places] for row, places in zip(whole, on.read, strict=True)])
        torch.testing.assert_close(plain_logits(model, on), expected)
