"""Problems beside the records of runs."""

import json
import math

import pandas as pd
import pytest
from scipy import stats

from forest import FRONT, tree
from made_up import conjecture
from record import Size, write_record, write_rows
from takeback import cli
from takeback.planning.trees import branches, evidence_of, state_of
from takeback.run.errors import TakebackError
from takeback.study.conjectures import lock, resolve_at_end
from takeback.study.conjectures.margin import margin
from takeback.study.conjectures.record import RunTables
from takeback.study.conjectures.rule import parse_rule

GAIN = 'mean(shifts.effect, arm="rl-win", measure="utility win")'
OTHER = 'mean(shifts.effect, arm="sft-win", measure="utility win")'
CONJECTURES = [
    conjecture("learns", rule=f"{GAIN} > 0.2", probability=0.9),
    conjecture("stays", rule=f"abs({GAIN}) < 0.01", probability=0.9),
    conjecture("less", rule=f"{GAIN} < {OTHER}", probability=0.7),
    conjecture("contrasts", rule='least(contrasts.p_family, contrast="goal") < 0.05'),
    conjecture("carriers", rule="count(carriers) > 0", probability=0.2),
]
BODY = """- top
  - it learned
    conjecture: learns in run
    - it did not
      against: learns in run
  - both
    conjecture: learns in run
    conjecture: stays in run
  - open
    conjecture: carriers in run
  - whole
    study: run
  - words
    - more words
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    lock(CONJECTURES, out / "run")
    write_record(out / "run", Size(seeds=(0, 1, 2)))
    rows = [
        {"contrast": "goal", "source": "weights", "component": part, "measure": "share", "estimate": value,
         "low": value - 0.1, "high": value + 0.1, "p": p, "p_family": p, "n": 8}
        for part, value, p in [("L0.MLP", 0.3, 0.01), ("L1.MLP", 0.05, 0.5)]
    ]  # fmt: skip
    write_rows(out / "run" / "contrasts.parquet", rows)
    resolve_at_end(out / "run")
    return out


def test_states_follow_the_record(runs):
    read = tree(BODY)
    found = evidence_of(read, runs)
    assert {key: state_of(every) for key, every in found.items()} == {
        "it learned": "supported",
        "it did not": "refuted",
        "both": "mixed",
        "open": "untested",
        "whole": "studied",
    }
    assert "no table carriers" in found["open"][0].told
    assert found["whole"][0].told == "of 5 conjectures 3 true, 1 false"


def test_branches_that_rest_on_talk_alone(runs):
    read = tree(BODY)
    told = {one.problem: one for one in branches(read, evidence_of(read, runs))}
    assert [name for name, one in told.items() if one.is_talk] == ["open", "words"]
    assert told["it learned"].problems == 2
    assert told["it learned"].states["refuted"] == 1
    assert told["words"].states["talk"] == 2


def test_intervals_are_students_over_training_runs(runs):
    shifts = RunTables.of(runs / "run").get("shifts")
    assert shifts is not None
    chosen = shifts[shifts["measure"] == "utility win"]
    gains = {arm: list(rows.sort_values("seed")["effect"]) for arm, rows in chosen.groupby("arm")}
    found = evidence_of(tree(BODY), runs)["it learned"][0].interval
    low, high = stats.t.interval(
        0.95,
        len(gains["rl-win"]) - 1,
        sum(gains["rl-win"]) / len(gains["rl-win"]),
        stats.sem(gains["rl-win"]),
    )
    assert (found.of, found.n) == ("left side", len(gains["rl-win"]))
    assert (found.low, found.high) == pytest.approx((low, high))
    difference = [a - b for a, b in zip(gains["rl-win"], gains["sft-win"], strict=True)]
    found = margin(CONJECTURES[2].parsed, RunTables.of(runs / "run"))
    assert found is not None
    assert found.value == pytest.approx(math.fsum(difference) / len(difference))


def test_a_contrast_has_the_interval_of_its_row(runs):
    found = margin(CONJECTURES[3].parsed, RunTables.of(runs / "run"))
    assert found is not None
    assert tuple(found) == ("goal, L0.MLP", 0.3, pytest.approx(0.2), pytest.approx(0.4), 8)


@pytest.mark.parametrize(
    "rule",
    [
        "count(shifts) > 3",
        f"{GAIN} > 0.2 and {OTHER} > 0.1",
        f"{GAIN} > least(contrasts.p)",
        "0.1 < 0.2 < 0.3",
    ],
)
def test_other_rules_have_no_interval(runs, rule):
    try:
        parsed = parse_rule(rule)
    except TakebackError:
        return
    assert margin(parsed, RunTables.of(runs / "run")) is None


def test_a_wrong_name_is_never_untested(runs):
    with pytest.raises(TakebackError, match=r"ada.md:6: unknown conjecture .*did you mean 'learns'"):
        evidence_of(tree("- top\n  conjecture: learn in run\n"), runs)


def test_runs_that_are_not_there_or_not_finished_leave_it_untested(tmp_path):
    read = tree("- top\n  conjecture: learns in run\n  study: run\n")
    assert [one.told for one in evidence_of(read, tmp_path)["top"]] == [f"no run at {tmp_path / 'run'}"] * 2
    lock(CONJECTURES, tmp_path / "run")
    (one, whole) = evidence_of(read, tmp_path)["top"]
    assert one.told == f"{tmp_path / 'run'} is not finished"
    assert "lacks manifest.json" in whole.told
    assert state_of([one, whole]) == "untested"
    with pytest.raises(TakebackError, match="unknown conjecture"):
        evidence_of(tree("- top\n  conjecture: other in run\n"), tmp_path)


def test_the_commands_print_and_give_json(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "a.md"
    path.write_text(FRONT.format("Ada", "before-reading") + BODY)

    def call(*words):
        monkeypatch.setattr("sys.argv", ["takeback", "plan", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        return capsys.readouterr().out

    assert "talk alone" in call("evidence", path, "--runs", runs)
    told = json.loads(call("evidence", path, "--runs", runs, "--json"))
    assert [one["state"] for one in told["links"]][:2] == ["supported", "refuted"]
    assert told["links"][0]["interval"]["n"] == 3
    ranked = json.loads(call("common", path, "--runs", runs, "--json"))
    assert ranked[0]["state"] == "supported"
    assert "mixed" in call("common", path, "--runs", runs)
    call("draw", path, "--runs", runs, "-o", tmp_path / "a.html", "-o", tmp_path / "a.svg")
    for name in ("a.html", "a.svg"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "supported: learns in run" in text
        assert pd.Series([text]).str.contains(r"left side 0\.\d+ \[").all()
