import json

import pandas as pd
import pytest
import yaml

from made_up import conjecture
from record import GAINS, write_record, write_rows
from takeback import cli
from takeback.draw.result import section_of
from takeback.report import write_report
from takeback.run.errors import TakebackError
from takeback.run.tables import read_table
from takeback.study import load_plan
from takeback.study.conjectures import lock, resolve, resolve_at_end
from takeback.study.conjectures.record import RunTables
from takeback.study.conjectures.show import figures
from takeback.study.plan import check_plan, dump_plan

CONJECTURES = [
    conjecture(
        "learns",
        rule='mean(shifts.effect, arm="rl-win", measure="utility win") > 0.2',
        probability=0.9,
    ),
    conjecture(
        "more-than-sft",
        rule='mean(shifts.effect, arm="rl-win", measure="utility win")'
        ' > mean(shifts.effect, arm="sft-win", measure="utility win")',
        probability=0.7,
        author="Bob",
    ),
    conjecture("carriers", rule="count(carriers) > 0", probability=0.2),
    conjecture("typo", rule='share(games.result == "maet") > 0.1'),
    conjecture(
        "weights",
        rule="abs(mean(diff.components.share, arm='rl-win') - mean(components.share, arm='sft-win')) < 1e-9",
    ),
    conjecture("seed", rule='count(effects, arm="rl-win", seed=0, direction="graft", measure="legal") > 20'),
    conjecture("contrasts", rule='most(contrasts.p_family, contrast="optimiser", component="L0.MLP") < 0.05'),
]


@pytest.fixture
def run(tmp_path):
    out = tmp_path / "run"
    lock(CONJECTURES, out)
    write_record(out)
    keep(out, CONJECTURES)
    rows = [
        {"contrast": name, "source": "effects", "component": part, "measure": "utility win", "estimate": 0.1,
         "low": 0.0, "high": 0.2, "p": p / 2, "p_family": p, "n": 8}
        for name, part, p in [
            ("optimiser", "L0.MLP", 0.04), ("optimiser", "L1.MLP", 0.5), ("goal", "L0.MLP", 0.9)
        ]
    ]  # fmt: skip
    write_rows(out / "contrasts.parquet", rows)
    return out


def keep(out, conjectures):
    plan = yaml.safe_load((out / "plan.yaml").read_text())
    plan["conjectures"] = [one.model_dump(mode="json") for one in conjectures]
    (out / "plan.yaml").write_text(yaml.safe_dump(plan))


def test_a_record_decides_its_conjectures(run):
    found = resolve(run)
    rows = found.conjectures.set_index("name")
    assert GAINS["rl-win"]["win"] == 0.27
    assert rows["state"].to_dict() == {
        "learns": "resolved",
        "more-than-sft": "resolved",
        "carriers": "unresolved",
        "typo": "broken",
        "weights": "resolved",
        "seed": "resolved",
        "contrasts": "resolved",
    }
    assert rows.loc[["learns", "weights", "seed", "contrasts"], "outcome"].all()
    assert not rows.loc["more-than-sft", "outcome"]
    assert rows.loc["more-than-sft", "why"] == "0.27 > 0.31 is false"
    assert rows.loc["carriers", "why"] == "the record has no table carriers"
    assert "did you mean 'mate'" in rows.loc["typo", "why"]
    assert rows.loc["learns", "brier"] == pytest.approx(0.01)
    assert rows.loc[["carriers", "typo"], ["outcome", "brier", "log_score"]].isna().all().all()
    scores = found.scores.set_index("author")
    assert scores.loc["Bob", "brier"] == pytest.approx(0.49)
    assert scores.loc["Ada", ["n", "true", "unresolved"]].tolist() == [4, 4, 2]
    assert found.broken == [f"typo: {rows.loc['typo', 'why']}"]


def test_what_is_written_reads_back_and_repeats_bit_for_bit(run):
    found = resolve_at_end(run)
    pd.testing.assert_frame_equal(
        read_table(run / "conjectures.parquet"), found.conjectures, check_dtype=False
    )
    pd.testing.assert_frame_equal(
        read_table(run / "conjecture_scores.parquet"), found.scores, check_dtype=False
    )
    names = ("conjectures.parquet", "conjecture_scores.parquet", "conjectures.html", "conjectures.json")
    before = {name: (run / name).read_bytes() for name in names}
    resolve_at_end(run)
    assert {name: (run / name).read_bytes() for name in names} == before
    page = (run / "conjectures.html").read_text()
    assert "0.27 &gt; 0.31 is false" in page
    assert page.count("<svg") == 2


def test_the_report_tells_them_where_there_are_any(run, tmp_path):
    assert 'id="conjectures"' not in write_report(run, tmp_path / "without.html").read_text()
    resolve_at_end(run)
    page = write_report(run, tmp_path / "with.html").read_text()
    assert page.count('href="#conjectures"') == page.count('id="conjectures"') == 1
    assert "0.27 &gt; 0.31 is false" in page


def test_edits_after_the_lock_show_and_the_locked_text_is_scored(run):
    scored = resolve(run).scores
    new = conjecture("after", probability=0.99)
    keep(run, [CONJECTURES[0].model_copy(update={"probability": 0.999}), *CONJECTURES[2:], new])
    found = resolve(run)
    rows = found.conjectures.set_index("name")
    assert rows.loc["learns", ["edit", "probability"]].tolist() == ["changed", 0.9]
    assert json.loads(rows.loc["learns", "now"])["probability"] == 0.999
    assert rows.loc["more-than-sft", "edit"] == "removed"
    assert rows.loc["after", ["edit", "outcome"]].tolist() == ["added after", True]
    assert pd.isna(rows.loc["after", "brier"])
    pd.testing.assert_frame_equal(found.scores, scored)
    folded = dict(section_of(found).folded)
    assert ("probability", "0.9", "0.999") in folded["learns: the text locked, and now"].rows


def test_without_a_lock_or_a_folder_nothing_is_decided(run, tmp_path, call):
    (run / "conjectures.lock.json").unlink()
    assert "has no conjectures.lock.json" in call("conjecture", "resolve", run, code=2).err
    assert not (run / "conjectures.parquet").exists()
    for command in ("resolve", "list"):
        assert "no run folder at" in call("conjecture", command, tmp_path / "none", code=2).err


def test_a_run_that_is_not_finished_decides_nothing(run):
    plan = (run / "plan.yaml").read_text()
    (run / "plan.yaml").write_text(plan.replace("seeds:\n- 0", "seeds:\n- 0\n- 1"))
    with pytest.raises(TakebackError, match="lacks rl-corner/seed-1"):
        resolve(run)
    (run / "plan.yaml").write_text(plan)
    (run / "manifest.json").unlink()
    with pytest.raises(TakebackError, match=r"lacks manifest\.json"):
        resolve(run)


def test_a_damaged_table_is_no_rule_s_fault(run):
    (run / "behaviour" / "shifts.parquet").write_bytes(b"half")
    with pytest.raises(TakebackError, match="not a whole Parquet table"):
        resolve(run)


def test_a_run_without_conjectures_gets_no_files(tmp_path):
    lock([], tmp_path)
    assert resolve_at_end(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["conjectures.lock.json"]


def test_rows_of_arms_that_are_still_to_come_leave_a_rule_undecided(run):
    path = run / "behaviour" / "shifts.parquet"
    table = read_table(path)
    write_rows(path, table[table["arm"] != "sft-win"].to_dict("records"))
    row = resolve(run).conjectures.set_index("name").loc["more-than-sft"]
    assert (row["state"], row["why"]) == ("unresolved", "shifts has no rows of arm sft-win")


def test_arms_that_the_plan_no_longer_has_are_not_read(run):
    before = RunTables.of(run)
    for name in ("effects", "components"):
        assert set(before.get(name)["arm"]) == {"rl-win", "sft-win", "rl-corner"}
    plan = yaml.safe_load((run / "plan.yaml").read_text())
    del plan["arms"]["rl-corner"]
    (run / "plan.yaml").write_text(yaml.safe_dump(plan))
    for name in ("effects", "components"):
        assert set(RunTables.of(run).get(name)["arm"]) == {"rl-win", "sft-win"}


def test_an_author_without_a_score_has_no_picture():
    frame = pd.DataFrame({"author": ["Ada"], "probability": [0.5], "outcome": pd.array([None], "boolean")})
    assert list(figures(frame)) == []


PLAN = {
    "name": "tiny",
    "base": "endgame-base",
    "arms": {"rl-win": {"method": "rl", "goal": "win", "steps": 2, "learning_rate": 1e-3}},
}
TOLD = {"sentence": "There are games.", "rule": "count(games) > 3", "probability": 0.8, "author": "Ada"}


def test_a_plan_holds_conjectures_or_names_their_file(tmp_path):
    plan = check_plan({**PLAN, "conjectures": [TOLD]})
    assert [one.name for one in plan.conjectures] == ["there-are-games"]
    (tmp_path / "plan.yaml").write_text(dump_plan(plan))
    assert load_plan(tmp_path / "plan.yaml") == plan
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "expected.yaml").write_text(yaml.safe_dump([TOLD]))
    (tmp_path / "named.yaml").write_text(yaml.safe_dump({**PLAN, "conjectures": "others/expected.yaml"}))
    assert load_plan(tmp_path / "named.yaml") == plan
    (tmp_path / "named.yaml").write_text(yaml.safe_dump({**PLAN, "conjectures": "none.yaml"}))
    with pytest.raises(TakebackError, match="no conjectures at"):
        load_plan(tmp_path / "named.yaml")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rule": "open('x') > 1"}, "conjecture 1: rule: unknown function in a rule 'open'"),
        ({"rule": "count(games)"}, "is not true or false"),
        ({"probability": 0}, "probability: Input should be greater than 0"),
        ({"probability": 1}, "probability: Input should be less than 1"),
        ({"probability": float("nan")}, "probability"),
        ({"author": " "}, "author: String should have at least 1 character"),
        ({"sentense": "x"}, "sentense: Extra inputs"),
        ({"rule": 'count(games, arm="rl-wim") > 0'}, "did you mean 'rl-win'"),
        ({"rule": "count(games, seed=3) > 0"}, "seed in the rule of conjecture"),
    ],
)
def test_a_bad_conjecture_stops_a_plan_before_it_runs(change, told):
    with pytest.raises(TakebackError, match=told) as caught:
        check_plan({**PLAN, "conjectures": [{**TOLD, **change}]})
    assert "\n" not in str(caught.value)


def test_conjectures_are_a_list_of_different_names():
    with pytest.raises(TakebackError, match="two conjectures are named 'there-are-games'"):
        check_plan({**PLAN, "conjectures": [TOLD, TOLD]})
    with pytest.raises(TakebackError, match="conjecture 1: "):
        check_plan({**PLAN, "conjectures": ["count(games) > 3"]})
    with pytest.raises(TakebackError, match="conjectures"):
        check_plan({**PLAN, "conjectures": {"a": TOLD}})


ADD = ["--sentence", "Many games.", "--rule", "count(games) > 9", "--probability", 0.6, "--author", "Bob"]

LAYOUTS = {
    "none": "name: tiny  # a comment\n",
    "block": "conjectures:  # mine\n  - sentence: A.\n    rule: count(games) > 1\n    probability: 0.5\n"
    "    author: Ada\n\n# about the base\nname: tiny\n",
    "flow items": "name: tiny\nconjectures:\n"
    "- {sentence: A., rule: count(games) > 1, probability: 0.5, author: Ada}\n",
    "folded rule": "conjectures:\n- sentence: A.\n  probability: 0.5\n  author: Ada\n"
    "  rule: >\n    count(games)\n    > 1\nname: tiny\n",
    "no newline": "name: tiny\nconjectures:\n"
    "- sentence: A.\n  rule: count(games) > 1\n  probability: 0.5\n  author: Ada",
}


@pytest.fixture
def call(monkeypatch, capsys):
    """Run a command in this process as the shell would; give what it printed."""

    def run_command(*words, code=0):
        monkeypatch.setattr("sys.argv", ["takeback", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert ended.value.code == code, printed.err
        return printed

    return run_command


@pytest.mark.parametrize("layout", LAYOUTS)
def test_adding_to_a_plan_leaves_its_text_as_it_was(layout, tmp_path, call):
    path = tmp_path / "plan.yaml"
    path.write_text(LAYOUTS[layout])
    before = yaml.safe_load(LAYOUTS[layout])
    call("conjecture", "add", path, *ADD)
    after = yaml.safe_load(path.read_text())
    assert after["conjectures"][:-1] == before.get("conjectures", [])
    assert after["conjectures"][-1]["rule"] == "count(games) > 9"
    lines = path.read_text().splitlines()
    assert [line for line in lines if line in LAYOUTS[layout].splitlines()] == LAYOUTS[layout].splitlines()
    printed = call("conjecture", "add", path, *ADD, code=2)
    assert "has a conjecture named 'many-games'" in printed.err


def test_a_layout_that_can_t_grow_is_left_alone(tmp_path, call):
    path = tmp_path / "plan.yaml"
    path.write_text("name: tiny\nconjectures: []\n")
    assert "do it by hand" in call("conjecture", "add", path, *ADD, code=2).err
    assert path.read_text() == "name: tiny\nconjectures: []\n"


def test_adding_to_a_run_works_until_it_is_locked(tmp_path, call):
    out = tmp_path / "run"
    call("conjecture", "add", out, *ADD)
    call("conjecture", "add", out, *ADD, "--name", "again")
    assert json.loads(call("conjecture", "list", out, "--json").out)["conjectures"][0]["edit"] == "not locked"
    lock([], out)
    listed = json.loads(call("conjecture", "list", out, "--json").out)
    assert [one["name"] for one in listed["conjectures"]] == ["many-games", "again"]
    assert "as locked" in call("conjecture", "list", out).out
    printed = call("conjecture", "add", out, *ADD, "--name", "late", code=2)
    assert "would be after the fact" in printed.err


def test_a_bad_conjecture_is_not_added(tmp_path, call):
    words = ["--sentence", "A.", "--rule", "eval('1') > 0", "--probability", 0.5, "--author", "Ada"]
    assert (
        "unknown function in a rule 'eval'" in call("conjecture", "add", tmp_path / "r", *words, code=2).err
    )
    assert not (tmp_path / "r").exists()


def test_the_command_resolves_and_ends_with_2_for_a_rule_that_names_nothing(run, call):
    printed = call("conjecture", "resolve", run, code=2)
    assert "more-than-sft: 0.27 > 0.31 is false" in printed.out
    assert "rules that can't be decided: typo" in printed.err
    told = json.loads(call("conjecture", "resolve", run, "--json", code=2).out)["conjectures"]
    assert [row["outcome"] for row in told["conjectures"]] == [True, False, None, None, True, True, True]
    assert told["conjecture_scores"][0]["author"] == "Ada"
    assert set(told["columns"]) >= set(told["conjectures"][0]) | set(told["conjecture_scores"][0])
