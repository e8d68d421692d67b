"""A contrast carries its definition, and one name has one meaning wherever two are set side by side."""

from __future__ import annotations

import copy
import shutil

import pandas as pd
import pytest
import yaml

from contrast_record import write_study
from takeback.planning.trees.evidence import evidence_of
from takeback.planning.trees.read import parse_tree
from takeback.run.errors import TakebackError
from takeback.run.tables import read_table, write_table
from takeback.study import load_plan
from takeback.study.claim import claim_plan
from takeback.study.comparison import compare
from takeback.study.conjectures.record import RunTables
from takeback.study.contrasts import contrasts, write_contrasts
from takeback.study.definitions import check_same, definition, definitions

ARM = {"method": "rl", "steps": 9, "learning_rate": 1e-3}
PLAN = {
    "measure_at": {"kl": 0.22},
    "arms": {
        "rl-win": {**ARM, "goal": "win", "snapshots": [3]},
        "rl-corner": {**ARM, "goal": "corner"},
        "rft-win": {**ARM, "method": "rft", "goal": "win"},
        "rft-corner": {**ARM, "method": "rft", "goal": "corner"},
        "after": {**ARM, "goal": "corner", "parent": "rl-win"},
    },
    "contrasts": {
        "optimiser": {"rl-win": 1, "rft-win": -1},
        "twice": {"rl-win": "1/2", "rl-corner": "1/2", "rft-win": "-1/2", "rft-corner": "-1/2"},
        "order": {"after": 1, "rl-corner": -1},
    },
}


def changed(*path, value):
    plan = copy.deepcopy(PLAN)
    place = plan
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return plan


def test_a_definition_says_methods_goals_weights_and_distance():
    assert definition(PLAN, "optimiser").startswith("−1 rft toward win, +1 rl toward win, at 0.22 nats #")
    assert "+1 rl toward corner (parent rl toward win)" in definition(PLAN, "order")


def test_names_of_arms_order_and_steps_at_one_distance_have_no_part():
    plan = copy.deepcopy(PLAN)
    plan["arms"] = {f"arm-{name}": arm for name, arm in reversed(plan["arms"].items())}
    plan["arms"]["arm-after"]["parent"] = "arm-rl-win"
    plan["arms"]["arm-rl-win"] |= {"steps": 99, "snapshots": [50]}
    plan["contrasts"] = {
        name: {f"arm-{arm}": weight for arm, weight in reversed(weights.items())}
        for name, weights in plan["contrasts"].items()
    }
    for name in ("optimiser", "twice"):
        assert definition(plan, name) == definition(PLAN, name)
    assert definition({**plan, "measure_at": "last"}, "twice") != definition(
        {**PLAN, "measure_at": "last"}, "twice"
    ), "at their last step the number of steps is what an arm is"


@pytest.mark.parametrize(
    "path",
    [
        ("arms", "rl-win", "goal", "draw"),
        ("arms", "rl-win", "method", "sft"),
        ("arms", "rl-win", "kl", 0.1),
        ("arms", "rl-win", "learning_rate", 1.0),
        ("measure_at", {"kl": 0.3}),
        ("measure_at", "last"),
        ("contrasts", "optimiser", {"rl-win": 1, "rft-win": "-1/2", "rft-corner": "-1/2"}),
    ],
)
def test_what_a_contrast_is_has_a_part(path):
    assert definition(changed(*path[:-1], value=path[-1]), "optimiser") != definition(PLAN, "optimiser")


def test_two_meanings_of_one_name_are_refused_in_one_line():
    other = changed("contrasts", "optimiser", value=PLAN["contrasts"]["twice"])
    told = r"^optimiser means .* in one; in two it is .*corner.*; rename one$"
    with pytest.raises(TakebackError, match=told):
        check_same([("one", definitions(PLAN)), ("two", definitions(other))])
    settings = changed("arms", "rl-win", "kl", value=0.1)
    with pytest.raises(TakebackError, match="it is that with other settings of its arms; rename one"):
        check_same([("one", definitions(PLAN)), ("two", definitions(settings))])
    check_same([("one", definitions(PLAN)), ("two", {"else": "x"}), ("three", definitions(PLAN))])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of one plan, and a third in which `optimisers` has two arms instead of four."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("one", "same", "other"):
        run = write_study(folder / name, {}, seeds=range(4))
        plan = yaml.safe_load((run / "plan.yaml").read_text())
        plan |= {"name": name}
        if name == "other":
            plan["contrasts"]["optimisers"] = {"rl-win": 1, "rft-win": -1}
        (run / "plan.yaml").write_text(yaml.safe_dump(plan))
        write_contrasts(run)
    return folder


@pytest.mark.slow
def test_every_row_of_the_table_carries_it(runs):
    table = read_table(runs / "one" / "contrasts.parquet")
    expected = definitions(load_plan(runs / "one" / "plan.yaml").model_dump(mode="json"))
    assert dict(zip(table["contrast"], table["definition"], strict=True)) == expected
    assert set(table["base"]) == {"endgame-base"}


@pytest.mark.slow
def test_compare_refuses_them_and_sets_those_of_one_meaning_side_by_side(runs):
    from takeback.study.comparison.beside import planned
    from takeback.study.comparison.measures import arms_of

    one, same, other = (arms_of(runs / name)[0] for name in ("one", "same", "other"))
    table = planned([one, same])
    mine = table[(table["contrast"] == "optimiser") & (table["measure"] == "utility gained")]
    assert mine["run"].tolist() == ["one", "same"]
    with pytest.raises(TakebackError, match=r"optimisers means .* rename one"):
        planned([one, other])
    with pytest.raises(TakebackError, match=r"optimisers means .* rename one"):
        compare([runs / "one", runs / "other"])


@pytest.mark.slow
def test_rules_do_not_read_contrasts_that_mean_something_else_than_the_plan_says(runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs / "one", run)
    assert RunTables.of(run).get("contrasts") is not None
    plan = load_plan(run / "plan.yaml", contrasts={"optimiser": {"rl-win": 1, "rft-corner": -1}})
    contrasts(run, plan).write(run)
    with pytest.raises(TakebackError, match=r"optimiser means .* in its plan; .* takeback contrasts"):
        RunTables.of(run).get("contrasts")


RULE = 'least(contrasts.p_family, contrast="optimisers", source="take back") < 0.05'


def test_a_run_refuses_another_meaning_of_what_a_conjecture_tells_of(tmp_path):
    conjecture = {"name": "it", "sentence": "It is.", "rule": RULE, "probability": 0.5, "author": "Ada"}
    run = write_study(tmp_path / "run", {}, seeds=range(2))
    plan = load_plan(run / "plan.yaml", conjectures=[conjecture])
    (run / "plan.yaml").unlink()
    claim_plan(plan, run)

    def other(name):
        contrasts = {**plan.contrasts, name: {"rl-win": 1.0, "rft-corner": -1.0}}
        return plan.model_copy(update={"contrasts": contrasts})

    claim_plan(other("optimiser"), run)
    before = (run / "plan.yaml").read_text()
    with pytest.raises(TakebackError, match="contrast optimisers, of which a conjecture tells, was"):
        claim_plan(other("optimisers"), run)
    assert (run / "plan.yaml").read_text() == before


def test_evidence_refuses_conjectures_about_two_meanings(runs):
    for name in ("one", "same", "other"):
        row = {
            "name": "it",
            "rule": RULE,
            "outcome": True,
            "state": "resolved",
            "why": "x",
            "edit": "as locked",
        }
        write_table(pd.DataFrame([row]), runs / name / "conjectures.parquet")
    front = "---\nauthor: Ada\ndate: 2026-11-20\nstage: before-reading\n---\n"

    def tree(*names):
        return parse_tree(front + "".join(f"- p {n}\n  conjecture: it in {n}\n" for n in names))

    found = evidence_of(tree("one", "same"), runs)
    assert {one.state for told in found.values() for one in told} == {"supported"}
    with pytest.raises(TakebackError, match=r"optimisers means .* rename one"):
        evidence_of(tree("one", "other"), runs)
