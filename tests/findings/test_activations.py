"""Activations put from one model into another are what the other computes there."""

from __future__ import annotations

import pytest
import torch

from models import build, outputs_of, tokens
from takeback import TakebackError, taken_back
from takeback.anatomy import anatomy_of
from takeback.findings.activations import ablated, with_activations, with_paths
from takeback.hybrid.heads import distance

FAMILIES = ("llama-mha", "llama-gqa-biases", "gpt2", "gemma2", "opt")


def run(model):
    with torch.no_grad():
        return model(tokens(), use_cache=False).logits


@pytest.mark.parametrize("name", FAMILIES[:2])
def test_patching_everything_gives_the_other_model(name):
    model, source = build(name), build(name, seed=1)
    residual = anatomy_of(model).parse("EMBED *.H* *.MLP *.LN* NORM")
    before, states = run(model), []
    for one in (model, source):
        one.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))
    with with_activations(model, source, residual):
        run(model)
    mine, theirs = states[1], states[0]  # the source runs first
    assert distance(mine, theirs) < 1e-5
    assert torch.equal(run(model), before)


@pytest.mark.parametrize("name", ["llama-mha", "llama-mqa", "mistral"])
def test_patching_the_residual_stream_alone_leaves_the_reading_to_the_model(name):
    model, source = build(name), build(name, seed=1)
    anatomy = anatomy_of(model)
    with with_activations(model, source, anatomy.parse("EMBED *.H* *.MLP")):
        patched = run(model)
    with taken_back(source, model, anatomy.parse("NORM UNEMBED")):
        assert distance(patched, run(source)) < 1e-5


@pytest.mark.parametrize("name", FAMILIES[:3])
def test_where_two_models_agree_a_patch_changes_nothing(name):
    model, other = build(name), build(name, seed=1)
    anatomy = anatomy_of(model)
    before = run(model)
    later = anatomy.parse("L1.* NORM")
    with taken_back(other, model, ~later):  # the other differs in the last layer alone
        with with_activations(model, other, anatomy.parse("EMBED L0.H* L0.MLP")):
            assert distance(run(model), before) < 1e-5
        with with_activations(model, other, anatomy.parse("L1.H0")):
            assert distance(run(model), before) > 1e-3


@pytest.mark.parametrize("name", FAMILIES)
def test_ablating_a_head_is_zeroing_what_the_projection_reads_of_it(name):
    model = build(name)
    anatomy = anatomy_of(model)
    projection = model.get_submodule(outputs_of(model, 1)[0])
    count = sum(one.kind == "H" and one.layer == 1 for one in anatomy.universe)

    def zero(_, inputs):
        changed = inputs[0].clone().unflatten(-1, (count, -1))
        changed[..., 1, :] = 0.0
        return (changed.flatten(-2),)

    hook = projection.register_forward_pre_hook(zero)
    expected = run(model)
    hook.remove()
    with ablated(model, anatomy.parse("L1.H1")):
        assert distance(run(model), expected) < 1e-5
    assert distance(run(model), expected) > 1e-4


@pytest.mark.parametrize("name", FAMILIES[:3])
def test_ablating_an_mlp_is_zeroing_its_output_weights(name):
    model = build(name)
    projection = model.get_submodule(outputs_of(model, 0)[1])
    kept = {key: value.detach().clone() for key, value in projection.named_parameters()}
    with torch.no_grad():
        for parameter in projection.parameters():
            parameter.zero_()
    expected = run(model)
    with torch.no_grad():
        for key, value in kept.items():
            projection.get_parameter(key).copy_(value)
    with ablated(model, anatomy_of(model).parse("L0.MLP")):
        assert distance(run(model), expected) < 1e-5


def test_a_patch_of_a_head_is_its_part_of_the_sum():
    model, source = build("llama-mha"), build("llama-mha", seed=1)
    seen = {}
    for key, one in (("model", model), ("source", source)):
        module = one.model.layers[0].self_attn.o_proj
        module.register_forward_hook(
            lambda _, inputs, output, key=key: seen.update({key: (inputs[0], output)})
        )
    run(model), run(source)
    width = seen["model"][0].shape[-1] // 3
    weights = {
        key: one.model.layers[0].self_attn.o_proj.weight
        for key, one in (("model", model), ("source", source))
    }
    part = {key: seen[key][0][..., width : 2 * width] @ weights[key][:, width : 2 * width].T for key in seen}
    expected = seen["model"][1] - part["model"] + part["source"]
    found = []
    with with_activations(model, source, anatomy_of(model).parse("L0.H1")):
        hook = model.model.layers[0].self_attn.o_proj.register_forward_hook(
            lambda _, inputs, output: found.append(output)
        )
        run(model)
        hook.remove()
    assert torch.allclose(found[0], expected, atol=1e-5)


def test_what_writes_nothing_of_its_own_and_caches_are_refused():
    model, source = build("llama-gqa-biases"), build("llama-gqa-biases", seed=1)
    anatomy = anatomy_of(model)
    with (
        pytest.raises(TakebackError, match=r"L0\.KV0 writes nothing of its own"),
        with_activations(model, source, anatomy.parse("L0.KV0")),
    ):
        pass
    cache = model(tokens(), use_cache=True).past_key_values
    for name in ("past_key_values", "cache"):
        with (
            with_activations(model, source, anatomy.parse("L0.MLP")),
            pytest.raises(TakebackError, match=f"whole passes.*leave {name} out"),
        ):
            model(tokens(), **{name: cache})


def test_a_patch_of_the_embedding_is_its_takeback_and_one_of_the_unembedding_the_other_model():
    model, source = build("llama-mha"), build("llama-mha", seed=1)
    anatomy = anatomy_of(model)
    with taken_back(model, source, anatomy.parse("EMBED")):
        taken = run(model)
    with with_activations(model, source, anatomy.parse("EMBED")):
        assert torch.equal(run(model), taken)
    with with_activations(model, source, anatomy.parse("UNEMBED")):
        assert torch.equal(run(model), run(source))


def test_a_source_that_is_a_hybrid_gives_the_other_weights_at_its_own_inputs():
    model, source = build("llama-mha"), build("llama-mha", seed=1)
    part = anatomy_of(model).parse("L1.MLP")
    mlp, seen = model.model.layers[1].mlp, []
    hook = source.model.layers[1].mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    run(source)
    hook.remove()
    with torch.no_grad():
        expected = mlp(seen[0])
    found = []
    with taken_back(source, model, part), with_activations(model, source, part):
        hook = mlp.register_forward_hook(lambda _, inputs, output: found.append(output))
        run(model)
        hook.remove()
    assert torch.equal(found[0], expected)


@pytest.mark.parametrize(
    ("name", "reader"),
    [("llama-mha", "model.layers.1.post_attention_layernorm"), ("gpt2", "transformer.h.1.ln_2")],
)
def test_all_paths_to_a_module_are_what_it_reads_in_the_other_model(name, reader):
    model, source = build(name), build(name, seed=1)
    anatomy, read, before = anatomy_of(model), [], run(model)
    with taken_back(source, model, anatomy.parse("*.ATTN") if name == "gpt2" else anatomy.parse("")):
        with with_paths(model, source, anatomy.parse("EMBED L0.H* L0.MLP L1.H*"), reader):
            hooks = [
                one.get_submodule(reader).register_forward_hook(lambda _, i, o: read.append(i[0]))
                for one in (source, model)
            ]
            after = run(model)
            [hook.remove() for hook in hooks]
        assert distance(read[1], read[0]) < 1e-5
        assert distance(after, before) > 1e-3
    assert torch.equal(run(model), before)


def test_a_path_to_the_end_is_the_direct_part_of_a_patch():
    model, source = build("llama-mha"), build("llama-mha", seed=1)
    anatomy, states = anatomy_of(model), []
    model.get_submodule("model.norm").register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))
    last = anatomy.parse("L1.MLP")
    with with_activations(model, source, last):
        whole = run(model)
    with with_paths(model, source, last, "model.norm"):
        assert distance(run(model), whole) < 1e-5, "nothing stands between the last MLP and the end"
    first = anatomy.parse("L0.H0")
    with with_activations(model, source, first):
        whole = run(model)
    with with_paths(model, source, first, "model.norm"):
        assert distance(run(model), whole) > 1e-3, "later components read the head too"
