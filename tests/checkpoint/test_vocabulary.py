"""Vocabularies of two sizes: rows in common are compared, the others are components, ends are bit-exact."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
import transformers
from packaging.version import Version
from safetensors.torch import load_file

import adapters
import models
from takeback.anatomy import anatomy_of
from takeback.checkpoint import load_model, open_checkpoint, open_pair
from takeback.component import ComponentSet
from takeback.hybrid import hybrid, write_hybrid
from takeback.hybrid.live import taken_back
from takeback.run.errors import TakebackError
from takeback.weights import compare

LARGER = models.VOCABULARY + 5
NAMES = {"llama-gqa-biases": True, "llama-mha": False, "gpt2": True, "gemma2": True, "mixtral": False}
"""Models, and whether their embeddings are tied."""


def save_sides(name: str, folder: Path, larger: str = "tuned") -> tuple[Path, Path]:
    """Save two models, of which one has its vocabulary resized by transformers."""
    folders = folder / "base", folder / "tuned"
    for seed, target in enumerate(folders):
        model = models.build(name, seed)
        if target.name == larger:
            model.resize_token_embeddings(LARGER, mean_resizing=False)
            models.randomised(model, seed)
        model.save_pretrained(target)
    return folders


def tensors_in(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(tensor, other[name]) for name, tensor in one.items()
    )


@pytest.mark.slow
@pytest.mark.parametrize("larger", ["base", "tuned"])
@pytest.mark.parametrize("name", NAMES)
def test_ends_on_disk_are_the_sides(name: str, larger: str, tmp_path: Path) -> None:
    base, tuned = save_sides(name, tmp_path, larger)
    pair = open_pair(base, tuned)
    universe = pair.anatomy().universe
    for text, side in (("", tuned), ("*", base)):
        out = write_hybrid(hybrid(pair, universe.parse(text, universe)), tmp_path / f"hybrid-{side.name}")
        assert same(tensors_in(out), tensors_in(side))
        loaded = transformers.AutoModelForCausalLM.from_pretrained(out)
        assert loaded.config.vocab_size == (LARGER if side.name == larger else models.VOCABULARY)


@pytest.mark.parametrize("name", NAMES)
def test_components_are_a_partition(name: str, tmp_path: Path) -> None:
    pair = open_pair(*save_sides(name, tmp_path))
    anatomy = pair.anatomy()
    kinds = [component.kind for component in anatomy.universe]
    assert "EMBED+" in kinds
    assert ("UNEMBED+" in kinds) is not NAMES[name]
    total = sum(anatomy.parameters(component) for component in anatomy.universe)
    assert total == sum(map(torch.Size.numel, map(torch.Size, pair.tuned.shapes.values())))
    width = models.CONFIGS[name]().hidden_size
    assert anatomy.parameters(anatomy.parse("EMBED+")) == 5 * width
    assert str(anatomy.parse("EMBED*")) == "EMBED EMBED+"
    assert anatomy.parse(str(anatomy.parse("~EMBED+"))) == ~anatomy.parse("EMBED+")


@pytest.mark.slow
@pytest.mark.parametrize("larger", ["base", "tuned"])
@pytest.mark.parametrize("name", NAMES)
def test_hybrids_in_memory_have_the_logits_of_those_on_disk(name: str, larger: str, tmp_path: Path) -> None:
    pair = open_pair(*save_sides(name, tmp_path, larger))
    anatomy = pair.anatomy()
    live, source = load_model(pair.tuned), load_model(pair.base)
    if Version(transformers.__version__) < Version("5.22"):  # whose gemma2 has no cap in sdpa
        live.set_attn_implementation("eager")
    asked = models.tokens()
    new = "EMBED+" if NAMES[name] else "EMBED+ UNEMBED+"
    for place, text in enumerate(["", "*", new, f"{new} L0.*", "L1.* EMBED"]):
        components = anatomy.parse(text) if text else anatomy.universe - anatomy.universe
        out = write_hybrid(hybrid(pair, components), tmp_path / f"hybrid-{place}")
        alone = transformers.AutoModelForCausalLM.from_pretrained(out, attn_implementation="eager").eval()
        with torch.inference_mode():
            wanted = alone(asked).logits
            for given in (source, pair.base):
                with taken_back(live, given, components):
                    found = live(asked).logits
                rows = wanted.shape[-1]
                torch.testing.assert_close(found[..., :rows], wanted, rtol=1e-5, atol=1e-5)
                assert bool((found[..., rows:].softmax(-1) < 1).all()) or rows == found.shape[-1]
                assert bool((found.log_softmax(-1)[..., rows:] < -1e30).all())
                torch.testing.assert_close(found.softmax(-1)[..., :rows], wanted.softmax(-1))


def test_algebra_holds_over_two_sizes(tmp_path: Path) -> None:
    pair = open_pair(*save_sides("llama-mha", tmp_path))
    universe = pair.anatomy().universe
    one, other = (ComponentSet.parse(text, universe) for text in ("EMBED+ L0.H*", "UNEMBED+ L1.MLP"))
    both, live = hybrid(pair, one | other), load_model(pair.tuned)
    with taken_back(live, pair.base, one), taken_back(live, pair.base, other):
        for name, parameter in live.named_parameters():
            assert torch.equal(parameter, both.read(name)), name
        assert live.absent_rows.tolist() == [False] * models.VOCABULARY + [True] * 5
    assert not bool(live.absent_rows.any())


def test_one_half_of_a_vocabulary_is_refused_on_disk(tmp_path: Path) -> None:
    pair = open_pair(*save_sides("llama-mha", tmp_path))
    made = hybrid(pair, pair.anatomy().parse("EMBED+"))
    with pytest.raises(TakebackError, match=r"EMBED\+ is taken back alone"):
        write_hybrid(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("larger", ["base", "tuned"])
def test_diff_compares_the_rows_in_common(larger: str, tmp_path: Path) -> None:
    base, tuned = save_sides("llama-mha", tmp_path, larger)
    pair = open_pair(base, tuned)
    found = compare(pair, ("ulps", "spectra", "circuits", "published"))
    before, after = tensors_in(base), tensors_in(tuned)
    deltas, parameters = 0.0, 0
    for name, tensor in before.items():
        rows = min(len(tensor), len(after[name]))
        deltas += float((after[name][:rows].double() - tensor[:rows].double()).square().sum())
        parameters += tensor[:rows].numel()
    diff = found.parts["diff"]
    assert diff.total["parameters"].item() == parameters
    assert diff.total["delta_norm"].item() == pytest.approx(deltas**0.5)
    new = diff.components.set_index("component").loc["UNEMBED+"]
    most = max((before, after), key=lambda side: len(side["lm_head.weight"]))
    assert new["delta_norm"] == pytest.approx(float(most["lm_head.weight"][models.VOCABULARY :].norm()))
    assert new[["relative", "share", "changed_bitwise"]].isna().all()
    assert "vocabulary of another size" in found.words[0]
    json.loads(diff.to_json())
    name, rows = "model.embed_tokens.weight", models.VOCABULARY
    moved = torch.linalg.svdvals(after[name][:rows].double() - before[name][:rows].double())
    spectra = found.parts["spectra"].table.query("tensor == @name")
    whole = spectra[spectra["role"] == "whole"]
    stable = float((moved**2).sum() / moved[0] ** 2)
    assert whole["stable_rank"].item() == pytest.approx(stable)


def test_a_live_model_knows_its_components(tmp_path: Path) -> None:
    pair = open_pair(*save_sides("llama-mha", tmp_path))
    assert anatomy_of(load_model(pair.base)).universe == pair.anatomy().universe
    assert open_checkpoint(pair.base.ref).digest == pair.base.digest


def test_an_adapter_with_a_larger_vocabulary(tmp_path: Path) -> None:
    """Trainers resize the base, and peft saves the embeddings of the new size beside the adapter."""
    import peft

    base = models.build("llama-mha")
    base.save_pretrained(tmp_path / "base")
    base.resize_token_embeddings(LARGER, mean_resizing=False)
    settings = {**adapters.LLAMA, "modules_to_save": ["embed_tokens", "lm_head"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuned = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
        models.randomised(tuned, 3).save_pretrained(tmp_path / "lora")
        for name, parameter in models.build("llama-mha").named_parameters():
            part, _, last = name.rpartition(".")
            held = tuned.get_base_model().get_submodule(part)
            if (
                "lora" not in name
                and parameter.shape == getattr(getattr(held, "base_layer", held), last).shape
            ):
                with torch.no_grad():
                    getattr(getattr(held, "base_layer", held), last).copy_(parameter)
        merged = tuned.merge_and_unload()
    pair = open_pair(tmp_path / "base", f"{tmp_path}/base+{tmp_path}/lora")
    assert (pair.base.vocabulary.own, pair.tuned.vocabulary.own) == (models.VOCABULARY, LARGER)
    live = load_model(pair.tuned.alone)
    with torch.inference_mode():
        torch.testing.assert_close(
            live(models.tokens()).logits, merged(models.tokens()).logits, rtol=1e-4, atol=1e-5
        )
    out = write_hybrid(hybrid(pair, pair.anatomy().parse("L0.MLP")), tmp_path / "out")
    assert transformers.AutoModelForCausalLM.from_pretrained(out).config.vocab_size == LARGER
