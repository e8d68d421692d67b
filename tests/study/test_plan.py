import pytest
import yaml

from takeback.errors import TakebackError
from takeback.study import load_plan
from takeback.study.plan import check_plan, dump_plan

FIELDS = {
    "name": "tiny",
    "base": "endgame-base",
    "arms": {"rl-win": {"method": "rl", "goal": "win", "steps": 2, "learning_rate": 1e-3}},
}


def test_the_shipped_plan_has_the_three_arms_and_survives_writing(tmp_path):
    plan = load_plan("demo")
    assert list(plan.arms) == ["rl-win", "sft-win", "rl-corner"]
    assert plan.recipe("rl-win", 3).seed == 3
    assert {plan.recipe(arm, 0).steps for arm in plan.arms} == {plan.recipe("rl-win", 0).steps}
    (tmp_path / "plan.yaml").write_text(dump_plan(plan))
    assert load_plan(tmp_path / "plan.yaml") == plan


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seeds": []}, "seeds"),
        ({"arms": {}}, "arms"),
        (
            {"arms": {"rl": {"method": "rl", "goal": "win", "steps": 2}}},
            "arm rl: learning_rate: Field required",
        ),
        ({"situations": 1}, "situations"),
        ({"contrls": 2}, "contrls: Extra inputs"),
        ({"controls": 0}, "controls"),
        ({"seeds": [1, 1]}, "has one twice"),
        ({"arms": {"a/b": FIELDS["arms"]["rl-win"]}}, "name it with letters"),
        ({"arms": {"base": FIELDS["arms"]["rl-win"]}}, "not base"),
        ({"arms": {"rl": {**FIELDS["arms"]["rl-win"], "seed": 7}}}, "seed is the plan's to say"),
    ],
)
def test_a_bad_plan_is_told_in_one_line(change, told):
    with pytest.raises(TakebackError, match=told) as caught:
        check_plan({**FIELDS, **change})
    assert "\n" not in str(caught.value)


def test_a_missing_plan_names_the_shipped_one(tmp_path):
    with pytest.raises(TakebackError, match="that ships: demo"):
        load_plan(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text(yaml.safe_dump([1]))
    with pytest.raises(TakebackError, match="plan"):
        load_plan(tmp_path / "list.yaml")
