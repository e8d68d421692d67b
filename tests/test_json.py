"""What commands print with --json is one value, as `takeback.cli.printed` says; `call` compares every one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from takeback.cli.printed import PRINTED, Printed

SMALL = ("--situations", 4)
TREE = "---\nauthor: Ada\ndate: 2026-01-05\nstage: before-reading\n---\n- It is hard\n  - Data\n"


def told(call, *words):
    return json.loads(call(*words, "--json").out)


@pytest.mark.slow
def test_weights(call, players, tmp_path):
    base, tuned = players
    assert told(call, "align", *players, "-o", tmp_path / "near")["tuned"] == tuned
    assert told(call, "hybrid", *players, "--take-back", "L0.H0", "-o", tmp_path / "h")["components"] == [
        "L0.H0"
    ]
    patch = ("--take-back", "L0.H0", "--as-patch", "tuned", "-o", tmp_path / "p.safetensors")
    assert told(call, "hybrid", *players, *patch)["of"] == "tuned"
    part = told(call, "diff", *players, "--shard", "1/2", "-o", tmp_path / "d")
    assert part == {"out": str(tmp_path / "d"), "shard": "1/2"}
    assert "between" in told(call, "diff", base, tuned, tmp_path / "near")
    assert "spectra" in told(call, "diff", *players, "--with", "spectra")


@pytest.mark.slow
def test_sweeps(call, players, tmp_path):
    out = tmp_path / "e.parquet"
    part = told(
        call, "sweep", *players, *SMALL, "--sets", "L0.H0", "--controls", 1, "--shard", "1/1", "-o", out
    )
    assert part == {"out": str(out), "shard": "1/1"}
    whole = told(call, "sweep", *players, *SMALL, "--sets", "L0.H0", "--controls", 1, "-o", out)
    assert whole["effects"]
    few = tmp_path / "few.parquet"
    planned = told(call, "sweep", *players, "--situations", 8, "--controls", 1, "--budget", 60, "-o", few)
    assert planned["out"] == str(few)
    assert planned["left_out"] >= 0


def test_planning(call, tmp_path):
    tree = tmp_path / "ada.md"
    tree.write_text(TREE)
    assert told(call, "plan", "merge", tree, "-o", tmp_path / "big.md")["problems"] == 2
    assert told(call, "plan", "extend", tmp_path / "big.md", "--author", "Bob")["author"] == "Bob"
    assert told(call, "plan", "common", tmp_path / "big.md")
    changed = tmp_path / "new.md"
    changed.write_text(TREE + "  - Compute\n")
    assert told(call, "plan", "compare", tree, changed)[0]["kind"] == "added"
    assert told(call, "plan", "draw", tree, "-o", tmp_path / "t.svg") == {"files": [str(tmp_path / "t.svg")]}
    assert told(call, "plan", "evidence", tree)["links"] == []
    project = tmp_path / "project.md"
    assert told(call, "plan", "check", project, "--new", "Mine") == {"new": str(project)}
    made = ("--statement", "He asks.", "--probability", 0.7, "--about", "Bob", "--by", "Ada")
    assert told(call, "plan", "predict", tmp_path / "p.yaml", *made)["name"] == "he-asks"
    (tmp_path / "bob.md").write_text("---\nhat: Bob\n---\n- Chance?\n")
    (tmp_path / "answers.yaml").write_text("1: No.\n")
    words = ("plan", "hat", tmp_path / "bob.md", project, "--by", "Ada")
    assert told(call, *words, "--answers", tmp_path / "answers.yaml")["answered"] == 1
    assert "nobody is asked" in call(*words, "--json", code=2).err


def test_runs(call, tmp_path, write_record):
    run = write_record(tmp_path / "demo")
    assert told(call, "report", run) == {"run": str(run), "report": str(run / "report.html")}
    assert told(call, "study", "status", run)["of"] >= 1
    new = tmp_path / "later"
    fields = ("--sentence", "It wins.", "--rule", "1 > 0", "--probability", 0.7, "--author", "Ada")
    assert told(call, "conjecture", "add", new, *fields)["name"] == "it-wins"
    assert told(call, "conjecture", "list", new)["time"] is None


@pytest.fixture
def write_record():
    """What writes a made-up run."""
    record = pytest.importorskip("record")
    return record.write_record


@pytest.mark.slow
def test_training_prints_nothing_else(tmp_path):
    shape = "{hidden: [3], outputs: logits}"
    recipe = tmp_path / "fresh.yaml"
    recipe.write_text(f"method: fresh\narena: gym:CartPole-v1\narchitecture: {shape}\n")
    words = [sys.executable, "-m", "takeback", "train", str(recipe), "-o", str(tmp_path / "out"), "--json"]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert PRINTED["train"].faults(json.loads(ran.stdout)) == []


def test_what_libraries_and_their_processes_print_goes_to_standard_error(tmp_path):
    code = """
import subprocess, sys
from takeback.cli.plain import apart, print_json
with apart(True):
    print("by a library")
    subprocess.run([sys.executable, "-c", "print('by a worker')"])
print_json({"done": True})
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == {"done": True}
    assert "by a library" in ran.stderr
    assert "by a worker" in ran.stderr


def test_what_differs_is_told():
    one = Printed({"a": ""}, {"b": ""})
    assert one.faults({"a": 1, "b": 2}) == []
    assert one.faults([]) == ["it is a list"]
    assert one.faults({"c": 1}) == ["'a' is not there", "nothing says what 'c' is"]
    assert Printed({"a": ""}, rows=True).faults({}) == ["it is no list"]
