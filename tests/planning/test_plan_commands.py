import json
from functools import partial

import pytest
from typer.testing import CliRunner

from takeback import cli

PROFILE = "---\nhat: Bob\n---\n- What if it is chance?\n- Where does it break?\n"


@pytest.fixture
def call(call):
    """Run `takeback plan` in this process as the shell would; give what it printed."""
    return partial(call, "plan")


def test_a_project_is_started_checked_and_told_as_json(call, tmp_path):
    path = tmp_path / "a.md"
    assert "### 2026-01-05" in call("check", path, "--new", "Mine", "--date", "2026-01-05").out
    told = json.loads(call("check", path, "--date", "2026-01-20", "--json").out)
    assert (told["project"], told["due"], told["next_check_in"]) == ("Mine", True, "2026-01-19")
    assert "13 unanswered" in call("check", path).out
    path.write_text(path.read_text().replace("## Is it neglected?", "## Is it neglected?\n### soon\n"))
    error = call("check", path, code=2).err
    assert error.startswith(f"takeback: {path}:")
    assert error.count("\n") == 1


def test_a_prediction_is_made_settled_and_scored(call, tmp_path):
    path = tmp_path / "p.yaml"
    made = ("--statement", "He asks for seeds.", "--probability", "0.75", "--about", "Bob", "--by", "Ada")
    assert "he-asks-for-seeds written down" in call("predict", path, *made, "--date", "2026-01-05").out
    assert "known: feedback, project" in call("predict", path, *made, "--kind", "person", code=2).err
    assert "less than 1" in call("predict", path, *made[:3], "1", *made[4:], code=2).err
    assert "1 open" in call("resolve", path).out
    words = ("resolve", path, "he-asks-for-seeds", "--outcome")
    assert "known: true, false" in call(*words, "maybe", code=2).err
    found = json.loads(call(*words, "true", "--json", "--date", "2026-01-06").out)
    assert found["predictions"]["prediction_scores"][0]["brier"] == 0.0625
    assert "that is done once" in call(*words, "false", code=2).err
    assert "--outcome" in call("resolve", path, "he-asks-for-seeds", code=2).err


def test_a_hat_is_walked_through_on_a_terminal_or_from_a_file(call, tmp_path, monkeypatch):
    profile, path, answers = tmp_path / "bob.md", tmp_path / "a.md", tmp_path / "answers.yaml"
    profile.write_text(PROFILE)
    answers.write_text("2: At the end.\n")
    call("check", path, "--new", "Mine", "--date", "2026-01-05")
    assert "give --answers FILE" in call("hat", profile, path, code=2).err
    words = [str(profile), str(path), "--by", "Ada", "--date", "2026-01-06"]
    assert "1 of 2 questions answered with the hat of Bob" in call("hat", *words, "--answers", answers).out
    monkeypatch.setattr("takeback.cli.checkin.interactive", lambda: True)
    asked = CliRunner().invoke(cli.app, ["plan", "hat", *words], input="Seeds.\n\n")
    assert asked.exit_code == 0, asked.output
    assert "What if it is chance?" in asked.output
    assert [line for line in path.read_text().splitlines() if line.startswith(("- ", "### "))] == [
        "### 2026-01-06 Ada, with the hat of Bob",
        "- **Where does it break?** At the end.",
        "### 2026-01-06 Ada, with the hat of Bob",
        "- **What if it is chance?** Seeds.",
    ]
