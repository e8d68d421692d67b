"""A whole vision-language folder is read by tensors and layers, the tower's among them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import transformers

import models
from takeback.checkpoint import Pair, open_pair
from takeback.hybrid import hybrid, write_hybrid
from takeback.weights.entries import diff

SHARED = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 4}
TEXT = {"num_hidden_layers": 2, "num_key_value_heads": 2, "vocab_size": 32, "max_position_embeddings": 64}
ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 0]}
TOWER = {"depth": 2, "num_heads": 4, "out_hidden_size": 16, "patch_size": 2, "fullatt_block_indexes": [1]}


def built(seed: int) -> transformers.Qwen2_5_VLForConditionalGeneration:
    config = transformers.Qwen2_5_VLConfig(
        text_config={**SHARED, **TEXT, "rope_parameters": ROPE},
        vision_config={"hidden_size": 16, "intermediate_size": 24, **TOWER},
    )
    return models.randomised(transformers.Qwen2_5_VLForConditionalGeneration(config), seed)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    for seed, name in enumerate(("base", "tuned")):
        built(seed).save_pretrained(tmp_path / name)
    return open_pair(tmp_path / "base", tmp_path / "tuned")


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    model = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(folder)
    return dict(model.named_parameters())


def test_a_diff_has_every_tensor_of_the_tower_and_the_decoder(pair: Pair) -> None:
    told = diff(pair).tensors
    first, second = (dict(built(seed).named_parameters()) for seed in (0, 1))
    assert len(told) == len(first)
    wanted = sum((first[name] - second[name]).double().square().sum().item() for name in first)
    assert told["delta_norm"].pow(2).sum() == pytest.approx(wanted, rel=1e-5)


def test_what_has_the_number_of_a_layer_goes_back_and_nothing_else(pair: Pair, tmp_path: Path) -> None:
    out = write_hybrid(hybrid(pair, pair.anatomy().parse("L0.*")), tmp_path / "out")
    made, sides = loaded(out), [loaded(tmp_path / name) for name in ("base", "tuned")]
    back = {name for name in made if re.search(r"^[^\d]*\.0\.", name)}
    assert {".".join(name.split(".")[1:3]) for name in back} == {
        *("language_model.layers", "visual.blocks", "visual.merger")
    }
    assert all(torch.equal(made[name], sides[name not in back][name]) for name in made)


def test_the_ends_are_exact(pair: Pair, tmp_path: Path) -> None:
    anatomy = pair.anatomy()
    for place, wanted in ((anatomy.universe - anatomy.universe, "tuned"), (anatomy.universe, "base")):
        made = loaded(write_hybrid(hybrid(pair, place), tmp_path / f"as-{wanted}"))
        side = loaded(tmp_path / wanted)
        assert made.keys() == side.keys()
        assert all(torch.equal(made[name], side[name]) for name in made)
