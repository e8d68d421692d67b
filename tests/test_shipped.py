from pathlib import Path

import pytest
import torch

import takeback
from takeback.arenas import arena
from takeback.checkpoint import open_checkpoint, shipped, shipped_names
from takeback.measure.measures import measures
from takeback.policies.load import load_policy
from takeback.policies.policy import read
from takeback.run.errors import UnknownName
from takeback.training import load_recipe

ROOT = Path(takeback.__file__).parents[2]


@pytest.mark.slow
def test_the_base_knows_the_rules_and_pursues_little():
    endgames = arena("endgames")
    situations = endgames.situations("held-out", 300, 1)
    readouts = read(load_policy("endgame-base", endgames), endgames, situations)
    table = measures(readouts, endgames).set_index("measure")
    assert table.loc["legal", "low"] > 0.97
    assert 0.35 < table.loc["utility win", "value"] < 0.6


@pytest.mark.parametrize("name", shipped_names())
def test_cards_recipes_and_weights_belong_together(name):
    folder, checkpoint = shipped(name), open_checkpoint(name)
    assert checkpoint.digest in (folder / "README.md").read_text()
    assert set(checkpoint.dtypes.values()) == {torch.float32}
    assert load_recipe(folder / "recipe.yaml") == load_recipe(ROOT / "recipes" / f"{name}.yaml")


def test_the_base_has_the_shape_of_its_recipe():
    anatomy = open_checkpoint("endgame-base").anatomy()
    assert load_recipe(ROOT / "recipes" / "endgame-base.yaml").architecture.layers == anatomy.layers
    assert anatomy.heads == anatomy.groups == 4


def test_the_network_knows_the_rules_and_pursues_little():
    endgames = arena("endgames")
    readouts = read(load_policy("endgame-mlp", endgames), endgames, endgames.situations("held-out", 300, 1))
    table = measures(readouts, endgames).set_index("measure")
    assert table.loc["legal", "low"] > 0.95
    assert 0.35 < table.loc["utility win", "value"] < 0.6


def test_a_name_that_does_not_ship_is_told():
    with pytest.raises(UnknownName, match="did you mean 'endgame-base'"):
        shipped("endgame-bas")
