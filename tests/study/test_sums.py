import pytest

from takeback.run.errors import TakebackError, UnknownName
from takeback.study import load_plan
from takeback.study.contrasts.reach import announce, reach
from takeback.study.plan import check_plan, dump_plan
from takeback.study.sums import check_contrasts, weight_of, weights_of

ARM = {"method": "sft", "goal": "win", "steps": 2, "learning_rate": 1e-3}
FIELDS = {
    "name": "tiny",
    "base": "endgame-base",
    "arms": {
        "rl-win": {**ARM, "method": "rl"},
        "rft-win": ARM,
        "rl-corner": {**ARM, "method": "rl", "goal": "corner"},
        "rft-corner": {**ARM, "goal": "corner"},
        "drift": ARM,
    },
    "contrasts": {
        "optimiser": {"rl-win": 1, "rft-win": -1},
        "goal": {"rl-win": "1/3", "rft-win": "2/3", "rl-corner": "-1/3", "rft-corner": "-2/3"},
        "noise": {"drift": 1},
    },
    "carriers": {"of": ["rl-win", "rl-corner"], "than": ["rft-win", "rft-corner"]},
    "seeds": list(range(8)),
}


def test_a_plan_keeps_its_contrasts_when_written_and_read(tmp_path):
    plan = check_plan(FIELDS)
    (tmp_path / "plan.yaml").write_text(dump_plan(plan))
    assert load_plan(tmp_path / "plan.yaml") == plan
    assert weights_of(plan.contrasts["goal"])["rl-corner"] == pytest.approx(-1 / 3)
    assert plan.carriers is not None
    assert plan.carriers.pairs == (("rl-win", "rft-win"), ("rl-corner", "rft-corner"))


def test_a_plan_of_an_earlier_version_is_read():
    """Every run folder of these has the field `agency`, most with nothing in it."""
    now = {name: value for name, value in FIELDS.items() if name != "carriers"}
    assert check_plan({**now, "agency": None}).carriers is None
    arms = {"rl": ["rl-win", "rl-corner"], "rft": ["rft-win", "rft-corner"]}
    assert check_plan({**now, "agency": arms}) == check_plan({**FIELDS, "probes": True})
    with pytest.raises(TakebackError, match="agency: Extra inputs"):
        check_plan({**now, "agency": ["rl-win"]})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"contrasts": {"a": {"rl-wim": 1, "rft-win": -1}}}, "contrast 'a' 'rl-wim': did you mean 'rl-win'"),
        ({"contrasts": {"a": {"rl-win": 1, "rft-win": -0.5}}}, "contrast 'a' add up to 0.5; .*just one arm"),
        ({"contrasts": {"a": {}}}, "add up to 0; they must"),
        ({"contrasts": {"a": {"rl-win": "one"}}}, "'one' is no number"),
        ({"contrasts": {"a": {"rl-win": "1/0"}}}, "'1/0' is no number"),
        ({"contrasts": {"a": {"rl-win": 0}}}, "is no number other than 0"),
        ({"carriers": {"of": ["rl-win"], "than": ["rft-wim"]}}, "arm in carriers 'rft-wim': did you mean"),
        ({"carriers": {"of": ["rl-win", "rl-corner"], "than": ["rft-win"]}}, "one other arm for each"),
        ({"carriers": {"of": ["rl-win"], "than": ["rl-win"]}}, "one other arm for each"),
        ({"carriers": {"of": ["rl-win"], "than": ["rft-corner"]}}, "goals are win and corner"),
        ({"carriers": {"of": [], "than": []}}, "carriers.of"),
    ],
)  # fmt: skip
def test_what_contrasts_nothing_is_refused(change, told):
    with pytest.raises(TakebackError, match=told):
        check_plan({**FIELDS, **change})


def test_an_unknown_arm_is_named_as_such():
    with pytest.raises(UnknownName):
        check_contrasts({"a": {"x": 1}}, ["y"])


def test_sevenths_add_up_to_nothing():
    check_contrasts({"a": {"x": "1/7", "y": "6/7", "z": -1}}, ["x", "y", "z"])
    assert weight_of("-1/3") == -1 / 3


def test_what_a_plan_can_show_is_told_before_it_runs(capsys):
    told = reach(check_plan(FIELDS))
    assert told == [
        "contrast optimiser: permutation of 8 and 8 runs, smallest p 0.00016",
        "contrast goal: sign flips of 8 seeds, smallest p 0.0078",
        "contrast noise: sign flips of 8 seeds, smallest p 0.0078",
        "rule carries the gain: sign flips of 8 seeds, smallest p 0.0078",
    ]
    few = check_plan({**FIELDS, "seeds": [0, 1, 2]})
    assert reach(few)[0].endswith("smallest p 0.1: can't reach 0.05, that takes 4 seeds")
    assert reach(few)[1].endswith("smallest p 0.25: can't reach 0.05, that takes 6 seeds")
    assert reach(few)[3].endswith("can't reach 0.025, that takes 7 seeds"), "four conditions share 0.05"
    announce(few)
    assert capsys.readouterr().err.splitlines() == reach(few)
