"""Steps are skipped by what they were made from; a plan may grow in its folder; arms have axes."""

import time

import pytest
import yaml

from takeback.run.errors import TakebackError
from takeback.run.files import in_turn, is_held
from takeback.study.axes import spread
from takeback.study.claim import claim_plan, settings, told_out
from takeback.study.plan import check_plan, load_plan
from takeback.study.status import study_status
from takeback.study.steps import Done, Step, Steps, note_workers, path_of, read_steps

RL = {"method": "rl", "goal": "win", "steps": 4, "learning_rate": 1e-3}
FIELDS = {
    "name": "grows",
    "base": "endgame-mlp",
    "seeds": [0, 1],
    "arms": {"rl": RL, "sft": {"method": "sft", "goal": "win", "steps": 8, "learning_rate": 1e-3}},
    "games": 4,
}


class Kitchen:
    """Makes a file of what is at hand, counts how often, and can be killed."""

    def __init__(self, run):
        self.run, self.result, self.made = run, run / "dish", 0

    def cook(self, inputs, killed=False, name="cook"):
        with Steps.held(self.run, "rl-seed-0") as steps:
            steps.do(Step(name, inputs, (self.result,)), lambda: self.make(inputs, killed))

    def make(self, inputs, killed):
        self.made += 1
        self.found = self.result.read_text() if self.result.exists() else None
        if killed:
            raise KeyboardInterrupt
        self.result.write_text(str(inputs))

    def known(self):
        return read_steps(path_of(self.run, "rl-seed-0"))["cook"]


def test_a_step_is_made_once_and_again_only_when_its_inputs_or_results_change(tmp_path):
    kitchen = Kitchen(tmp_path)
    kitchen.cook(["salt"])
    kitchen.cook(["salt"])
    assert (kitchen.made, kitchen.result.read_text()) == (1, "['salt']")
    assert kitchen.known().seconds is not None
    kitchen.cook(["pepper"])
    assert (kitchen.made, kitchen.result.read_text()) == (2, "['pepper']")
    assert kitchen.found is None, "what was made of salt is gone before pepper is used"
    kitchen.result.unlink()
    kitchen.cook(["pepper"])
    assert kitchen.made == 3


def test_a_step_that_was_killed_is_made_again_and_a_result_of_other_inputs_never_stays(tmp_path):
    kitchen = Kitchen(tmp_path)
    kitchen.cook(["salt"])
    with pytest.raises(KeyboardInterrupt):
        kitchen.cook(["pepper"], killed=True)
    assert not kitchen.result.exists()
    assert not kitchen.known().done
    kitchen.result.write_text("half of a meal with pepper")
    kitchen.cook(["pepper"])
    assert kitchen.found == "half of a meal with pepper", "it goes on from what the killed one left"
    assert kitchen.known().done
    assert kitchen.known().seconds is None, "no time is known of what was interrupted"


def test_a_result_without_a_key_counts_as_not_there(tmp_path):
    kitchen = Kitchen(tmp_path)
    kitchen.result.write_text("of unknown making")
    kitchen.cook(["salt"])
    assert kitchen.result.read_text() == "['salt']"
    assert kitchen.known().seconds is None


def test_what_must_not_be_lost_stays_when_inputs_change(tmp_path):
    kept = tmp_path / "final"
    with Steps.held(tmp_path, "rl-seed-0") as steps:
        steps.do(Step("train", [1], (kept,), stale=()), kept.touch)
        steps.do(Step("train", [2], (kept,), stale=()), lambda: None)
    assert kept.exists()


def test_held_steps_can_be_seen_from_outside(tmp_path):
    assert not is_held(tmp_path / "a")
    with in_turn(tmp_path / "a"):
        assert is_held(tmp_path / "a")
    assert not is_held(tmp_path / "a")


def test_keys_of_measurements_do_not_depend_on_what_may_grow():
    plan = check_plan(FIELDS)
    for change in (
        {"seeds": [0, 1, 2]},
        {"arms": {"rl": RL}},
        {"title": "other", "name": "more"},
        {"measure_at": {"kl": 1}},
        {"localise": {"rl": ["shares"]}},
        {"controls": 5},
    ):
        assert settings(check_plan({**FIELDS, **change})) == settings(plan), change
    for change in ({"situations": 3}, {"games": 5}, {"controls": 6}, {"threads": 2}, {"sets": ["each mlp"]}):
        assert settings(check_plan({**FIELDS, **change})) != settings(plan), change


def test_a_plan_may_grow_shrink_and_be_renamed_in_its_folder(tmp_path):
    claim_plan(check_plan(FIELDS), tmp_path)
    first = (tmp_path / "plan.yaml").read_text()
    grown = check_plan({**FIELDS, "seeds": [2, 0, 1], "title": "More", "arms": {**FIELDS["arms"], "on": RL}})
    claim_plan(grown, tmp_path)
    claim_plan(grown, tmp_path)
    assert load_plan(tmp_path / "plan.yaml") == grown
    assert [path.name for path in (tmp_path / "plans").iterdir()] == ["1.yaml"]
    assert (tmp_path / "plans" / "1.yaml").read_text() == first
    for arm in ("rl", "on", "gone"):
        (tmp_path / "arms" / arm / "seed-0").mkdir(parents=True)
    (tmp_path / "arms" / "rl" / "seed-7").mkdir()
    assert told_out(grown, tmp_path) == ["gone seed 0", "rl seed 7"]
    claim_plan(check_plan({**FIELDS, "arms": {"rl": RL}}), tmp_path)
    assert len(list((tmp_path / "plans").iterdir())) == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"situations": 8}, "situations was 192 and is 8"),
        ({"arena": "gym:CartPole-v1"}, "arena was 'endgames' and is 'gym:CartPole-v1'"),
        ({"base": "endgame-base"}, "another base"),
        ({"base": {"method": "fresh"}}, "another base"),
        ({"arms": {"rl": {**RL, "learning_rate": 2e-3}}}, "arm rl: learning_rate was 0.001 and is 0.002"),
        ({"arms": {"rl": {**RL, "method": "sft"}}}, "arm rl: method was 'rl' and is 'sft'"),
        (
            {"arms": {"rl": RL, "sft": {**FIELDS["arms"]["sft"], "parent": "rl"}}},
            "arm sft: parent was 'base'",
        ),
    ],
)
def test_a_plan_that_changes_what_is_there_is_refused(change, told, tmp_path):
    claim_plan(check_plan(FIELDS), tmp_path)
    before = (tmp_path / "plan.yaml").read_text()
    with pytest.raises(TakebackError, match="holds a run of another plan") as caught:
        claim_plan(check_plan({**FIELDS, **change}), tmp_path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "plan.yaml").read_text() == before


def test_a_plan_from_before_a_field_was_there_goes_on(tmp_path):
    claim_plan(check_plan(FIELDS), tmp_path)
    path = tmp_path / "plan.yaml"
    text = path.read_text()
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("measure_at")) + "\n")
    claim_plan(check_plan(FIELDS), tmp_path)
    assert path.read_text() == text


def test_axes_stand_for_an_arm_of_every_combination(tmp_path):
    arm = {**RL, "axes": {"kl": [0, 0.01], "goal": ["win", "corner"]}}
    del arm["goal"]
    plan = check_plan({**FIELDS, "arms": {"sft": FIELDS["arms"]["sft"], "rl": arm}})
    made = [(name, plan.recipe(name, 0).kl, plan.recipe(name, 0).goal) for name in list(plan.arms)[1:]]
    assert made == [
        ("rl-kl-0-goal-win", 0.0, "win"),
        ("rl-kl-0-goal-corner", 0.0, "corner"),
        ("rl-kl-0.01-goal-win", 0.01, "win"),
        ("rl-kl-0.01-goal-corner", 0.01, "corner"),
    ]
    claim_plan(plan, tmp_path)
    assert list(yaml.safe_load((tmp_path / "plan.yaml").read_text())["arms"])[1] == "rl-kl-0-goal-win"
    more = check_plan({**FIELDS, "arms": {"rl": {**arm, "axes": {"kl": [0, 0.1], "goal": ["win"]}}}})
    claim_plan(more, tmp_path)


@pytest.mark.parametrize(
    ("value", "name", "read"),
    [("1e-4", "rl-x-0.0001", 1e-4), (3e-05, "rl-x-3e-05", 3e-5), (True, "rl-x-true", True), (2, "rl-x-2", 2)],
)
def test_values_are_spelled_so_that_they_can_name_a_folder(value, name, read):
    assert spread({"rl": {"axes": {"x": [value]}}}) == {name: {"x": read}}


@pytest.mark.parametrize(
    ("axes", "told"),
    [
        ({}, "name fields with lists"),
        ([1], "name fields with lists"),
        ({"kl": 0.1}, "kl needs a list of values, not 0.1"),
        ({"kl": []}, "kl needs a list"),
        ({"goal": ["win"]}, "goal is a field of the arm as well"),
        ({"kl": [0.1, 0.1]}, "a value is named twice"),
        ({"kl": [[1]]}, "no number or word"),
        ({"kl": ["a/b"]}, "no number or word"),
        ({"kll": [1]}, "arm rl-kll-1: kll: Extra inputs"),
    ],
)
def test_bad_axes_are_told_in_one_line(axes, told):
    with pytest.raises(TakebackError, match=told) as caught:
        check_plan({**FIELDS, "arms": {"rl": {**RL, "axes": axes}}})
    assert "\n" not in str(caught.value)


def test_two_arms_of_one_name_are_refused():
    with pytest.raises(TakebackError, match="two arms are called rl-kl-1"):
        spread({"rl-kl-1": RL, "rl": {"axes": {"kl": [1]}}})


def wrote(run, name, **seconds):
    """Write down steps as done, in so many seconds, None for one that goes on since 5 seconds."""
    with Steps.held(run, name) as steps:
        for step, took in seconds.items():
            done = Done("k", time.time() - 5) if took is None else Done("k", 0.0, True, took)
            steps._note(step, done)


def test_the_rest_is_estimated_from_what_was_timed(tmp_path):
    with pytest.raises(TakebackError, match="takeback study run PLAN"):
        study_status(tmp_path)
    claim_plan(check_plan(FIELDS), tmp_path)
    found = study_status(tmp_path)
    assert found.left is None
    assert [(one.arm, one.seed) for one in found.arms] == [
        ("base", 0),
        *[(arm, seed) for seed in (0, 1) for arm in ("rl", "sft")],
    ]
    rest = {"curve": 2.0, "diff": 1.0, "shift": 3.0, "games": 4.0, "sweep": 50.0}
    wrote(tmp_path, "base", curve=1.0, games=4.0)
    wrote(tmp_path, "rl-seed-0", train=100.0, **rest)
    found = study_status(tmp_path)
    assert found.arms[1].done
    assert found.arms[3].left == 100 + sum(rest.values()), "as for its other seed"
    assert found.arms[2].left is None, "no sft has been timed"
    assert found.left is None
    wrote(tmp_path, "sft-seed-0", train=40.0, **{**rest, "sweep": 70.0})
    wrote(tmp_path, "sft-seed-1", train=60.0)
    found = study_status(tmp_path)
    assert [step.state for step in found.arms[4].steps] == ["done", *["missing"] * 5]
    assert found.arms[4].left == 2 + 1 + 3 + 4 + 70, "of its own method"
    note_workers(tmp_path, 2)
    assert study_status(tmp_path).left == (160 + 80) / 2
    assert study_status(tmp_path, workers=1).left == 160 + 80
    assert study_status(tmp_path, workers=9).left == (160 + 80) / 2, "two arms are open"


def test_what_runs_is_seen_and_its_time_counted(tmp_path):
    claim_plan(check_plan({**FIELDS, "games": 0}), tmp_path)
    rest = {"curve": 2.0, "diff": 1.0, "shift": 3.0, "sweep": 50.0}
    wrote(tmp_path, "rl-seed-0", train=100.0, **rest)
    wrote(tmp_path, "rl-seed-1", train=100.0, curve=2.0, diff=1.0, shift=3.0, sweep=None)
    sweep = study_status(tmp_path).arms[3].steps[-1]
    assert (sweep.name, sweep.state, sweep.left) == ("sweep", "missing", 50.0), (
        "nobody holds it: it was killed"
    )
    with in_turn(path_of(tmp_path, "rl-seed-1")):
        sweep = study_status(tmp_path).arms[3].steps[-1]
    assert sweep.state == "running"
    assert sweep.left == pytest.approx(45, abs=3)


def test_training_is_estimated_by_its_steps(tmp_path):
    claim_plan(
        check_plan({**FIELDS, "arms": {"rl": RL, "long": {**RL, "steps": 12}}, "seeds": [0]}), tmp_path
    )
    wrote(tmp_path, "rl-seed-0", train=8.0)
    assert study_status(tmp_path).arms[2].steps[0].left == 24.0
