import pytest
import yaml

from takeback.run.errors import TakebackError, UnknownName
from takeback.study import load_plan, run_plan
from takeback.study.claim import claim_plan, settings
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


NETWORKS = {
    "name": "networks",
    "arena": "gym:CartPole-v1",
    "base": {"method": "fresh", "architecture": {"hidden": [4], "outputs": "logits"}, "seed": 7},
    "seeds": [0, 1],
    "arms": {
        "clone": {"method": "clone", "goal": "reward", "teacher": "ppo", "steps": 2, "learning_rate": 1e-3},
        "ppo": {"method": "agent", "goal": "reward", "steps": 64, "learning_rate": 1e-3},
        "on": {"method": "agent", "goal": "left", "steps": 64, "learning_rate": 1e-3, "parent": "ppo"},
        "both": {
            "method": "clone",
            "goal": "reward",
            "parent": "on",
            "teacher": "clone",
            "steps": 2,
            "learning_rate": 1e-3,
        },
        "other": {
            "method": "clone",
            "goal": "reward",
            "teacher": "elsewhere.zip",
            "steps": 2,
            "learning_rate": 1e-3,
        },
    },
}


def test_a_base_may_be_a_recipe(tmp_path):
    plan = check_plan(NETWORKS)
    recipe = plan.base_recipe()
    assert (recipe.method, recipe.arena, recipe.seed) == ("fresh", "gym:CartPole-v1", 7)
    assert plan.base_in(tmp_path) == str(tmp_path / "base" / "final")
    assert plan.recipe("ppo", 1, tmp_path).parent == str(tmp_path / "base" / "final")
    (tmp_path / "plan.yaml").write_text(dump_plan(plan))
    assert load_plan(tmp_path / "plan.yaml") == plan
    assert check_plan(FIELDS).base_recipe() is None


def test_arms_start_from_and_imitate_the_same_seed_of_other_arms(tmp_path):
    plan = check_plan(NETWORKS)

    def final(arm, seed):
        return str(tmp_path / "arms" / arm / f"seed-{seed}" / "final")

    for seed in (0, 1):
        made = {arm: plan.recipe(arm, seed, tmp_path) for arm in plan.arms}
        assert made["clone"].teacher == final("ppo", seed)
        assert made["on"].parent == final("ppo", seed)
        assert (made["both"].parent, made["both"].teacher) == (final("on", seed), final("clone", seed))
        assert made["other"].teacher == "elsewhere.zip"
        assert {recipe.seed for recipe in made.values()} == {seed}
        assert {recipe.arena for recipe in made.values()} == {"gym:CartPole-v1"}
    assert [plan.parent(arm) for arm in plan.arms] == ["base", "base", "ppo", "on", "base"]
    assert plan.waves() == [["ppo", "other"], ["clone", "on"], ["both"]]


def with_arm(**change):
    return {**NETWORKS, "arms": {**NETWORKS["arms"], "ppo": {**NETWORKS["arms"]["ppo"], **change}}}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (with_arm(parent="on"), "arms wait for each other: clone, ppo, on, both; one must start from base"),
        (with_arm(parent="ppo"), "arms wait for each other"),
        (with_arm(parent="elsewhere.zip"), "unknown parent of arm ppo 'elsewhere.zip'"),
        (with_arm(method="forge"), "arm ppo: "),
        (with_arm(threads=2), "threads is the plan's to say"),
        (with_arm(arena="endgames"), "arena is the plan's to say"),
        ({**NETWORKS, "base": {"method": "fresh", "steps": 3}}, "base: steps: Extra inputs"),
        (
            {**NETWORKS, "base": {"method": "fresh", "architecture": {"hidden": [0]}}},
            "base: architecture.hid",
        ),
        ({**NETWORKS, "base": {"method": "forge"}}, "base: "),
        ({**NETWORKS, "games": -1}, "games"),
    ],
)
def test_a_bad_plan_of_networks_is_told_in_one_line(fields, told):
    with pytest.raises(TakebackError) as caught:
        check_plan(fields)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["pretrain", "fresh"])
def test_an_arm_does_not_make_a_base(method):
    own = {"method": method, **({"steps": 2, "learning_rate": 1e-3} if method == "pretrain" else {})}
    with pytest.raises(TakebackError, match=f"method {method} makes a base; arms start from one"):
        check_plan({**NETWORKS, "arms": {"new": own}})


def test_a_plan_may_play_no_games_and_keep_no_readouts():
    plan = check_plan({**NETWORKS, "games": 0, "readouts": False})
    assert (plan.games, plan.readouts) == (0, False)
    assert check_plan(NETWORKS).readouts


def test_a_plan_s_project_is_found_from_its_folder_and_changes_nothing_that_is_done(tmp_path):
    (tmp_path / "plans").mkdir()
    path = tmp_path / "plans" / "tiny.yaml"
    path.write_text(yaml.safe_dump({**FIELDS, "project": "../a.md"}))
    plan = load_plan(path)
    assert plan.project == str(tmp_path.resolve() / "a.md")
    without = check_plan(FIELDS)
    assert settings(plan) == settings(without)
    claim_plan(without, tmp_path / "run")
    claim_plan(plan, tmp_path / "run")
    assert load_plan(tmp_path / "run" / "plan.yaml") == plan


def test_a_plan_whose_project_is_not_there_is_told_before_anything_runs(tmp_path):
    with pytest.raises(TakebackError, match=r"no project at .*none\.md"):
        run_plan(check_plan({**FIELDS, "project": str(tmp_path / "none.md")}), tmp_path / "run")
    assert not (tmp_path / "run" / "plan.yaml").exists()


def test_a_goal_that_runs_do_not_measure_is_refused_before_anything_is_trained(tmp_path):
    arm = {"method": "sft", "goal": "random-7", "steps": 1, "learning_rate": 1e-3}
    plan = check_plan({"name": "seeded", "base": "endgame-mlp", "arms": {"sft": arm}, "situations": 4})
    with pytest.raises(
        UnknownName, match="goal of arm sft that runs measure 'random-7': did you mean 'random'"
    ):
        run_plan(plan, tmp_path / "run")
    assert not (tmp_path / "run" / "arms").exists()
