"""Scenes: small however large the model is, and nothing in them that JSON has not."""

from __future__ import annotations

import json

import pytest
import torch
import transformers

from takeback.anatomy import anatomy_of
from takeback.draw.colour import variables
from takeback.lab.lab import Lab
from takeback.lab.scene import Colouring, components_of, grid_of
from takeback.lab.views import several


def test_a_model_of_eighty_layers_has_a_small_scene() -> None:
    config = transformers.LlamaConfig(
        num_hidden_layers=80,
        hidden_size=8192,
        intermediate_size=28672,
        num_attention_heads=64,
        num_key_value_heads=8,
        vocab_size=128256,
    )
    with torch.device("meta"):
        anatomy = anatomy_of(transformers.AutoModelForCausalLM.from_config(config))
    columns, grid = components_of(anatomy), grid_of(anatomy)
    assert len(columns["name"]) == len(anatomy.universe) == 80 * (64 + 8 + 1 + 2) + 3
    assert sum(columns["parameters"]) == anatomy.parameters(anatomy.universe)
    assert [row["layer"] for row in grid["rows"]] == list(range(80))
    titles = [column["title"] for column in grid["columns"]]
    assert titles[:2] == ["H0", "H1"]
    assert len(titles) == len(set(titles)) == 64 + 8 + 1 + 2
    values = {name: 1 / (3 + place) for place, name in enumerate(columns["name"])}
    colouring = Colouring("weights share", "weights", "share", "", "sequential", values).told(anatomy)
    size = len(json.dumps([columns, grid, colouring], separators=(",", ":")))
    assert size < 500_000
    assert all(len(one.components) > 1 for one in several(anatomy))


def test_a_scene_has_the_words_and_colours_of_reports(shown: Lab) -> None:
    scene = shown.scene("pair")
    text = json.dumps(scene, allow_nan=False)
    assert scene["draw"]["light"] == variables(dark=False)
    assert scene["words"]["situation"] == "position"
    assert {one["group"] for one in scene["colourings"]} >= {"weights"}
    n = len(scene["components"]["name"])
    for colouring in scene["colourings"]:
        columns = [colouring[name] for name in ("values", "low", "high", "null")]
        assert all(len(column) == n for column in columns if column is not None)
    assert len(scene["situations"]["text"]) == len(scene["situations"]["distance"])
    assert len(text) < 200_000


@pytest.mark.slow
def test_what_is_thought_of_colours_the_map(shown: Lab) -> None:
    stage = shown.stage("pair")
    for thought in stage.thoughts:
        while not thought.finished:
            thought.go_on()
    found = {one.key: one for thought in stage.thoughts for one in thought.colourings()}
    assert found["circuits change"].null is not None
    assert set(found) >= {"attribution utility win", "attribution legal", "circuits raw"}
    assert stage.estimates is not None
    alone = stage.alone_set(next(iter(stage.bench.anatomy.universe)))
    (win,) = [one for one in stage.estimates.effects(alone) if one["measure"] == "utility win"]
    assert win["effect"] == found["attribution utility win"].values["EMBED"]
