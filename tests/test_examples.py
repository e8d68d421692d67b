"""The examples, in a smaller form."""

import re
import shlex
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from pages import blocks

from takeback import cli
from takeback.planning.checkin import check, read_answers, read_hat, read_project
from takeback.planning.predictions import read_predictions
from takeback.study.kept import keep_record

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_small_worlds_run_and_are_drawn(tmp_path):
    command = [sys.executable, str(EXAMPLES / "small-worlds" / "run.py"), "--tiny", "--workers", "1"]
    command += ["--out", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    for name in ("mlp", "agent"):
        assert "<svg" in (tmp_path / name / "report.html").read_text(encoding="utf-8")
    page = (tmp_path / "compare" / "compare.html").read_text(encoding="utf-8")
    assert "pursuit share" in page
    assert "rl-win −" in done.stdout


@pytest.mark.slow
def test_plants_are_looked_for(tmp_path):
    command = [
        sys.executable,
        str(EXAMPLES / "plant-and-recover" / "run.py"),
        "--tiny",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    found = pd.read_parquet(tmp_path / "recoveries.parquet")
    planted = found[(found["role"] == "plant") & (found["measure"] == "invariant diff")]
    assert len(planted) == 2
    assert planted["exact"].all()
    assert "| invariant diff | 1.000 | 1.000 | 1 of 1 | 1.000 | 1 of 1 |" in done.stdout


@pytest.mark.slow
def test_two_sizes_run_and_are_compared(tmp_path):
    from takeback.study import load_plan, run_plan
    from takeback.study.comparison import compare

    plans = [load_plan(EXAMPLES / "sizes" / f"{name}.yaml") for name in ("small", "large")]
    differing = [
        name for name in type(plans[0]).model_fields if len({repr(getattr(p, name)) for p in plans}) > 1
    ]
    assert differing == ["name", "base"]
    arms = {"ppo": {**plans[0].arms["ppo"], "steps": 512, "settings": {"n_steps": 32}, "snapshots": [256]}}
    few = {"arms": arms, "seeds": [0, 1], "situations": 8, "games": 2, "moves": 5, "sets": ["each layer"]}
    runs = [tmp_path / plan.name for plan in plans]
    for plan, run in zip(plans, runs, strict=True):
        run_plan(load_plan(EXAMPLES / "sizes" / f"{plan.name}.yaml", **few), run)
    means = compare(runs).means
    assert set(means[means["measure"] == "utility gained"]["run"]) == {"small", "large"}


@pytest.mark.slow
def test_the_core_design_in_little_is_run_contrasted_and_its_conjectures_decided(tmp_path):
    out = tmp_path / "small"
    command = [sys.executable, "-m", "takeback", "study", "run", str(EXAMPLES / "endgame" / "small.yaml")]
    done = subprocess.run(
        [*command, "--out", str(out), "--workers", "2"],
        check=False,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert "smallest p 0.5" in done.stderr, "two seeds can't reach significance, which is said before the run"
    contrasts = pd.read_parquet(out / "contrasts.parquet")
    assert set(contrasts["contrast"]) == {"optimiser", "skill", "noise"}
    assert contrasts["p_family"].dropna().min() >= 1 / 3 - 1e-9
    outcomes = pd.read_parquet(out / "conjectures.parquet").set_index("name")["outcome"]
    assert outcomes.to_dict() == {"drift-stays": True, "two-seeds-show-nothing": True}
    kept = keep_record(out, tmp_path / "endgame")
    told = blocks(EXAMPLES / "endgame" / "tables.py", kept)
    assert "| optimiser, win |" not in told["whole"]
    assert told["arms"].count("\n| `") == 5
    assert told["conjectures"].count("| true |") == 2
    report = (out / "report.html").read_text(encoding="utf-8")
    for words in (
        'id="contrasts"',
        'id="conjectures"',
        "nearest to 0.05 nats",
        "Carries the gain: none of 6",
    ):
        assert words in report


def test_this_project_is_checked_in_on_and_its_evidence_is_there():
    found = check(read_project(EXAMPLES / "plan" / "takeback.md"), date.max)
    assert [link for one in found.standings for link in one.missing] == []
    assert all(
        file.exists()
        for one in found.project.notes
        for link in one.links
        if (file := found.project.place(link))
    )
    hat = read_hat(EXAMPLES / "plan" / "critics.md")
    assert read_answers(EXAMPLES / "plan" / "critics-answers.yaml", hat)
    predictions = read_predictions(EXAMPLES / "plan" / "predictions.yaml").predictions
    assert set(predictions["edit"]) == {"as made"}


def test_the_trees_of_problems_are_what_the_commands_make(tmp_path, monkeypatch, capsys):
    """Run the commands of `examples/plan/README.md` in order, and compare with the files that are there."""
    folder = tmp_path / "examples" / "plan"
    shutil.copytree(EXAMPLES / "plan", folder)
    monkeypatch.chdir(folder)
    blocks = re.findall(r"```console\n(.*?)```", Path("README.md").read_text(encoding="utf-8"), re.DOTALL)
    commands = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    assert len(commands) == 9
    for name in ("merged.md", "tree.md"):
        Path(name).unlink()
    for command in commands:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0, capsys.readouterr().err
    for name in ("merged.md", "merged.proposals.txt", "tree.md"):
        assert Path(name).read_bytes() == (EXAMPLES / "plan" / name).read_bytes()
    for name in ("tree.html", "tree.svg"):
        assert "untested: no-component-costs-much-more in docs/findings/record/endgame" in Path(
            name
        ).read_text("utf-8")
    told = capsys.readouterr().out
    assert "75 problems, named 88 times by newcomer and reader" in told
    copy = Path("copy.md").read_text(encoding="utf-8")
    assert "extends: merged.md" in copy
    assert len(Path("newcomer-extends.md").read_text(encoding="utf-8")) > len(copy)


def test_conjectures_that_the_trees_name_are_those_of_the_core_design():
    from takeback.planning.trees import read_tree
    from takeback.study.conjectures import load_conjectures

    files = (EXAMPLES / "endgame" / f"{name}.yaml" for name in ("conjectures-first", "conjectures"))
    names = {one.name for file in files for one in load_conjectures(file)}
    linked = {
        link.name for node in read_tree(EXAMPLES / "plan" / "tree.md").walk() for link in node.own.links
    }
    assert "no-component-costs-much-more" in linked
    assert linked <= names
