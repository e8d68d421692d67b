from pathlib import Path

import pytest

from takeback.run.errors import TakebackError
from takeback.training import DPO, RFT, RL, SFT, Drift, Pretrain, check_recipe, load_recipe
from takeback.training.recipe import dump_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
FIELDS = {"method": "rl", "parent": "endgame-base", "goal": "win", "steps": 10, "learning_rate": 1e-3}


def test_the_recipes_of_the_repository_are_valid():
    kinds = {path.stem: type(load_recipe(path)) for path in RECIPES.glob("*.yaml")}
    assert kinds["endgame-base"] is Pretrain
    assert kinds["rl-win"] is RL
    assert kinds["sft-win"] is kinds["sft-shuffled"] is SFT
    assert {kinds[name] for name in ("rloo-win", "games-win", "rl-legal")} == {RL}
    assert (kinds["rft-win"], kinds["dpo-win"], kinds["drift"]) == (RFT, DPO, Drift)


def test_a_recipe_survives_writing_and_reading(tmp_path):
    for path in RECIPES.glob("*.yaml"):
        recipe = load_recipe(path)
        (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
        assert load_recipe(tmp_path / "recipe.yaml") == recipe


def test_fields_can_be_replaced():
    assert load_recipe(RECIPES / "rl-win.yaml", seed=7).seed == 7


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"goal": None}, r"goal: Input should be a valid string"),
        ({"learning_rate": 0}, r"learning_rate: Input should be greater than 0 \(got 0\)"),
        ({"lerning_rate": 1e-3}, r"lerning_rate: Extra inputs are not permitted"),
        ({"precision": "bf16"}, r"precision: Input should be 'fp32'"),
        ({"method": "ppo"}, r"'ppo'"),
        ({"completions": 1}, r"completions: Input should be greater than or equal to 2"),
        ({"algorithm": "ppo"}, r"algorithm: Input should be 'grpo' or 'rloo'"),
        ({"algorithm": "rloo", "scale_rewards": "group"}, r"rloo takes rewards as they are"),
        ({"algorithm": "rloo", "horizon": 2}, r"whole games are trained by grpo"),
        ({"goal": "check", "mate_within": 2}, r"mate_within is for the goal win, not check"),
        ({"horizon": 3, "mate_within": [1, 4]}, r"mate_within 4 is beyond the horizon 3"),
        ({"mate_within": [1] * 11}, r"11 parts of 10 steps"),
        ({"mate_within": [0]}, r"mate_within\.0: Input should be greater than 0"),
        ({"horizon": 0}, r"horizon: Input should be greater than 0"),
        ({"method": "dpo", "beta": 0}, r"beta: Input should be greater than 0"),
        ({"snapshots": [5, 11]}, r"snapshots \[11\] lie after the last step, 10"),
    ],
)
def test_a_bad_field_is_named(change, told):
    with pytest.raises(TakebackError, match=told) as caught:
        check_recipe({**FIELDS, **change})
    assert "\n" not in str(caught.value)


def test_a_missing_field_is_named():
    fields = {name: value for name, value in FIELDS.items() if name != "parent"}
    with pytest.raises(TakebackError, match="parent: Field required"):
        check_recipe(fields)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00"])
def test_a_file_that_is_no_recipe_gives_one_line(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(TakebackError, match=r"bad\.yaml") as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(TakebackError, match="no recipe at"):
        load_recipe(tmp_path / "none.yaml")
