"""Models of a type that no family has: whole tensors and layers, and the laws that hold of them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner

import adapters
import models
import unknown
from takeback.anatomy import anatomy_of
from takeback.anatomy.source import parameters_of
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.checkpoint.pair import PairMismatch
from takeback.cli import app
from takeback.component import ComponentSet
from takeback.hybrid import hybrid, taken_back, write_hybrid
from takeback.run.errors import TakebackError
from takeback.weights import compare

NAMES = sorted(unknown.CONFIGS)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown.forgotten(monkeypatch)


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_is_one_component_live_and_on_disk(name: str, tmp_path: Path) -> None:
    live = anatomy_of(unknown.build(name))
    stored = open_checkpoint(unknown.save_pair(name, tmp_path)[0]).anatomy()
    assert live.universe == stored.universe
    assert sorted(one.tensor or "" for one in live.universe) == sorted(live.shapes) == sorted(stored.shapes)
    assert live.parameters(live.universe) == sum(one.numel() for one in unknown.build(name).parameters())
    assert len(stored.parse("L1.*")) == sum(".1." in tensor for tensor in stored.shapes)
    assert stored.resolution == stored.universe.resolution == "tensors"


@pytest.mark.parametrize("name", NAMES)
def test_ends_are_the_parents_and_mixed_tensors_are_either_ones(name: str, tmp_path: Path) -> None:
    folders = unknown.save_pair(name, tmp_path)
    base, tuned = (load_file(folder / "model.safetensors") for folder in folders)
    pair = open_pair(*folders)
    chosen = pair.anatomy().parse("L1.*")
    for take_back in (chosen, ~chosen, ~chosen - ~chosen, chosen | ~chosen):
        out = write_hybrid(hybrid(pair, take_back), tmp_path / "mixed", overwrite=True)
        taken = {one.tensor for one in take_back}
        for tensor, made in load_file(out / "model.safetensors").items():
            assert made.equal((base if tensor in taken else tuned)[tensor])


@pytest.mark.parametrize("name", NAMES)
def test_live_takebacks_are_bit_exact_in_any_order_and_after_errors(name: str) -> None:
    base, tuned = (unknown.build(name, seed) for seed in (0, 1))
    before = {key: one.clone() for key, one in parameters_of(tuned).items()}
    universe, chance = anatomy_of(tuned).universe, random.Random(0)
    one, other = (ComponentSet(chance.sample(list(universe), 5), universe) for _ in range(2))
    ids = models.tokens()
    with torch.no_grad():
        with taken_back(tuned, base, universe):
            assert tuned(ids).logits.equal(base(ids).logits)
        with taken_back(tuned, base, one), taken_back(tuned, base, other):
            first = tuned(ids).logits
        with taken_back(tuned, base, other | one):
            assert tuned(ids).logits.equal(first)
        with pytest.raises(RuntimeError, match="stop"), taken_back(tuned, base, one):
            raise RuntimeError("stop")
    assert all(one.equal(before[key]) for key, one in parameters_of(tuned).items())


def test_saved_buffers_are_components_too() -> None:
    models_of: list[Any] = [unknown.build("mamba", seed) for seed in (0, 1)]
    for seed, model in enumerate(models_of):
        model.backbone.register_buffer("scale", torch.full((3,), float(seed)))
        model.backbone.register_buffer("count", torch.tensor(seed))
        model.backbone.register_buffer("passing", torch.ones(2), persistent=False)
    base, tuned = models_of
    universe = anatomy_of(tuned).universe
    assert "T:backbone.scale" in map(str, universe)
    assert not {"T:backbone.count", "T:backbone.passing"} & set(map(str, universe))
    with taken_back(tuned, base, universe):
        assert tuned.backbone.scale.tolist() == [0.0] * 3
    assert tuned.backbone.scale.tolist() == [1.0] * 3


@pytest.mark.parametrize("name", ["llama", "mamba"])
def test_embeddings_stored_twice_are_one_component_if_they_are_equal(name: str, tmp_path: Path) -> None:
    folder, _ = unknown.save_pair(name, tmp_path)
    alone = open_checkpoint(folder)
    assert alone.tied
    tensors = load_file(folder / "model.safetensors")
    (embed,) = (key for key in tensors if key.endswith(("embed_tokens.weight", "embeddings.weight")))
    save_file({**tensors, "lm_head.weight": tensors[embed].clone()}, folder / "model.safetensors")
    twice = open_checkpoint(folder)
    assert twice.tied
    assert twice.anatomy().universe == alone.anatomy().universe
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({key: value for key, value in settings.items() if key != "tie_word_embeddings"})
    )
    by_default = open_checkpoint(folder)
    assert by_default.tied == (name == "mamba")
    (folder / "config.json").write_text(json.dumps(settings))
    save_file({**tensors, "lm_head.weight": tensors[embed] + 1}, folder / "model.safetensors")
    apart = open_checkpoint(folder)
    assert not apart.tied
    assert "T:lm_head.weight" in map(str, apart.anatomy().universe)


def test_a_side_that_ties_alone_is_refused_unless_untied(tmp_path: Path) -> None:
    base, _ = unknown.save_pair("mamba", tmp_path / "tied")
    _, tuned = unknown.save_pair("mamba", tmp_path / "apart", tie_word_embeddings=False)
    with pytest.raises(PairMismatch, match="tied on one side only"):
        open_pair(base, tuned)
    pair = open_pair(base, tuned, untie=True)
    assert pair.base.read("lm_head.weight").equal(pair.base.read("backbone.embeddings.weight"))
    assert len(pair.anatomy().universe) == len(pair.tuned.shapes)
    tied, apart = unknown.build("mamba"), unknown.build("mamba", 1, tie_word_embeddings=False)
    with pytest.raises(TakebackError, match="has tied to another"):
        taken_back(tied, apart, anatomy_of(tied).universe).__enter__()


def test_tensors_and_layers_of_a_diff_are_those_of_the_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = open_pair(*unknown.save_pair("llama", tmp_path))
    found = compare(pair, ["ulps", "spectra", "circuits", "published"])
    assert "circuits" not in found.parts
    assert sum("ircuits are not known" in line for line in found.words) == 1
    assert sum("takeback family MODEL" in line for line in found.words) == 1
    bare: Any = found.parts["diff"]
    assert set(bare.components["component"]) == {f"T:{name}" for name in pair.tuned.shapes}
    assert "<svg" in bare.svg()
    assert "L1" in bare.picture()
    monkeypatch.undo()
    with_family: Any = compare(open_pair(*pair_folders(tmp_path)), []).parts["diff"]
    both = bare, with_family
    for table in ("tensors", "layers", "total"):
        one, other = (getattr(diff, table) for diff in both)
        if table == "layers":
            one, other = (rows[rows["layer"].notna()].reset_index(drop=True) for rows in (one, other))
        pd.testing.assert_frame_equal(one, other, rtol=1e-6)
        assert len(one) > 0


def pair_folders(folder: Path) -> tuple[Path, Path]:
    return folder / "base", folder / "tuned"


def test_circuits_alone_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    pair = open_pair(*unknown.save_pair("mamba", tmp_path))
    with pytest.raises(TakebackError, match="circuits are not known"):
        compare(pair, ["circuits"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_adapter_merges_as_peft_does(tmp_path: Path) -> None:
    base, _ = unknown.save_pair("mamba", tmp_path)
    settings = {**adapters.PLAIN, "target_modules": ["in_proj", "x_proj"]}
    merged = adapters.save_adapter(base, tmp_path / "adapter", torch.float32, **settings)
    opened = open_checkpoint(f"{base}+{tmp_path / 'adapter'}")
    for name in opened.shapes:
        torch.testing.assert_close(opened.read(name), merged[name], rtol=1e-6, atol=1e-7)


def test_any_state_dict_has_a_diff(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.safetensors" for name in ("base", "tuned")]
    for seed, file in enumerate(files):
        net = models.randomised(nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 4)), seed)
        save_file(net.state_dict(), file)
    pair = open_pair(files[0], files[1])
    assert list(map(str, pair.anatomy().universe)) == ["T:0.bias", "T:0.weight", "T:2.bias", "T:2.weight"]
    out = write_hybrid(hybrid(pair, pair.anatomy().parse("T:0.*")), tmp_path / "mixed.safetensors")
    assert load_file(out)["0.weight"].equal(load_file(files[0])["0.weight"])
    assert load_file(out)["2.weight"].equal(load_file(files[1])["2.weight"])


def test_one_line_says_what_is_missing(tmp_path: Path) -> None:
    base, tuned = unknown.save_pair("mamba", tmp_path)
    ran = CliRunner().invoke(
        app, ["hybrid", str(base), str(tuned), "--take-back", "L0.*", "-o", f"{tmp_path}/h"]
    )
    assert ran.exit_code == 0
    assert ran.stderr.count("no family knows the model type 'mamba'") == 1
    assert "mean" not in ran.stderr
    with pytest.raises(TakebackError, match=r"no component 'L0.H1' .* no family knows"):
        open_checkpoint(base).anatomy().parse("L0.H1")
    with pytest.raises(TakebackError, match="no family knows"):
        open_checkpoint(base).anatomy("neurons")
