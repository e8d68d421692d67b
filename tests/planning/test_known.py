import json
from datetime import date

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file

from made_up import conjecture
from takeback.checkpoint import shipped
from takeback.planning.checkin import check, facts_of, parse_project
from takeback.planning.checkin.known import at_hand, told
from takeback.run.errors import TakebackError
from takeback.run.tables import write_table
from takeback.study.conjectures import lock

FRONT = "---\nname: a\nstarted: 2026-01-05\nevery: 2 weeks\nruns: {}\n---\n"
DAY = 1_767_600_000.0  # 2026-01-05 08:00 UTC


def step(began, seconds, done=True):
    return {"key": "k", "began": began, "done": done, "seconds": seconds}


def write_run(run, start=DAY, *, locked=True, seconds=(10.0, 1.0, 2.0, 3.0, 100.0), parameters=None):
    """A run of one arm and two seeds, the second a second slower in every step."""
    (run / "steps").mkdir(parents=True)
    (run / "plan.yaml").write_text(yaml.safe_dump({"arms": {"rl": {}}, "seeds": [0, 1], "arena": "endgames"}))
    if locked:
        fields = yaml.safe_load((run / "plan.yaml").read_text())
        fields["conjectures"] = [conjecture("first").model_dump(mode="json")]
        (run / "plan.yaml").write_text(yaml.safe_dump(fields))
        lock([conjecture("first")], run)
    names = ("train", "curve", "diff", "shift", "sweep")
    for seed in (0, 1):
        told = {
            name: step(start + k, None if one is None else one + seed)
            for k, (name, one) in enumerate(zip(names, seconds, strict=True))
        }
        (run / "steps" / f"rl-seed-{seed}.json").write_text(json.dumps(told))
    (run / "steps" / ".workers.json").write_text(json.dumps({"workers": 2}))
    made = {"checkpoints": {"rl/seed-0": "x", "rl/seed-1": "y"}}
    (run / "manifest.json").write_text(json.dumps(made))
    if parameters:
        write_table(pd.DataFrame({"parameters": [parameters]}), run / "diff" / "rl-seed-0" / "total.parquet")
    return run


def test_the_feedback_loop_is_what_stands_in_the_steps(tmp_path):
    facts = facts_of(write_run(tmp_path / "run"))
    assert facts.answer == np.median([16, 20])
    assert facts.arms == 2
    assert facts.work == 116 + 121
    assert (facts.untold, facts.finished, facts.began.isoformat()) == (0, True, "2026-01-05T08:00:00+00:00")
    (sentence,) = told("feedback", [facts])
    assert sentence.startswith("run (2026-01-05): an arm's change in behaviour was known after 18 s of work")
    assert "237" not in sentence
    assert "all steps together took 4 min" in sentence


def test_interrupted_steps_and_unfinished_runs_are_told_and_not_guessed(tmp_path):
    run = write_run(tmp_path / "run", seconds=(None, 1.0, 2.0, 3.0, 100.0))
    (run / "manifest.json").unlink()
    facts = facts_of(run)
    assert (facts.answer, facts.untold, facts.finished) == (None, 2, False)
    assert told("feedback", [facts]) == (
        "run (2026-01-05, not finished): no arm has an answer whose time is known.",
    )


def test_only_the_last_runs_are_told_of_the_last_one_first(tmp_path):
    facts = [facts_of(write_run(tmp_path / f"run-{k}", DAY + 86400 * k)) for k in (2, 0, 3, 1)]
    assert [words.partition(" ")[0] for words in told("feedback", facts)] == ["run-3", "run-2", "run-1"]


def test_success_written_down_before_the_run_is_told_from_none_and_from_late(tmp_path):
    early = facts_of(write_run(tmp_path / "early"))
    none = facts_of(write_run(tmp_path / "none", locked=False))
    (tmp_path / "late" / "arms").mkdir(parents=True)
    late = facts_of(write_run(tmp_path / "late"))
    (yes,), (no,), (after,) = (told("conjectures", [one]) for one in (early, none, late))
    assert early.conjectures == ("first",)
    assert ": yes; 1 conjecture locked at" in yes
    assert no.endswith("no; it locked no conjecture.")
    assert ": no; 1 conjecture locked at" in after
    assert "something had run already" in after
    assert "otherwise" not in yes
    (tmp_path / "early" / "plan.yaml").write_text(yaml.safe_dump({"arms": {"rl": {}}, "seeds": [0, 1]}))
    assert "1 of them read otherwise now" in told("conjectures", [facts_of(tmp_path / "early")])[0]


def test_models_at_hand_have_the_size_of_their_weights():
    sizes = at_hand()
    assert set(sizes) == {"endgame-base", "endgame-mlp"}
    assert list(sizes.values()) == sorted(sizes.values())
    for name, size in sizes.items():
        assert size == sum(w.size for w in load_file(shipped(name) / "model.safetensors").values())


def test_what_is_smaller_than_what_was_used_is_named(tmp_path):
    large = facts_of(write_run(tmp_path / "large", parameters=1_200_000))
    small = facts_of(write_run(tmp_path / "small", parameters=500))
    assert "Smaller models that ship: endgame-base (1,150,080)." in told("smaller", [large])
    used, smaller = told("smaller", [large, small])[:2]
    assert (
        used
        == "Used so far: 1,200,000 parameters in endgames (large) and 500 parameters in endgames (small)."
    )
    assert smaller == "Smaller models that ship: none."
    assert "endgame-mlp" in told("smaller", [])[0]


def test_runs_that_a_project_names_may_be_elsewhere_and_runs_that_are_given_may_not(tmp_path):
    write_run(tmp_path / "runs" / "here")
    project = parse_project(FRONT.format("[runs/here, runs/away]"), tmp_path / "a.md")
    found = check(project, date(2026, 1, 6))
    assert ([one.run.name for one in found.runs], found.away) == (["here"], ("runs/away",))
    assert any("here (2026-01-05)" in words for one in found.standings for words in one.known)
    assert len(check(project, date(2026, 1, 6), [tmp_path / "runs" / "here"]).runs) == 1
    with pytest.raises(TakebackError, match="no run at"):
        check(project, date(2026, 1, 6), [tmp_path / "runs" / "away"])


def test_without_runs_the_tool_says_that_it_knows_nothing(tmp_path):
    found = check(parse_project(FRONT.format("[]"), tmp_path / "a.md"), date(2026, 1, 6))
    (words,) = next(one.known for one in found.standings if one.heuristic.id == "feedback-loop")
    assert "the record says nothing" in words


def test_damaged_steps_are_told(tmp_path):
    run = write_run(tmp_path / "run")
    (run / "steps" / "rl-seed-0.json").write_text("{")
    with pytest.raises(TakebackError, match=r"rl-seed-0\.json can't be read as a run's steps"):
        facts_of(run)
