"""The examples, in a smaller form."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from takeback.planning.checkin import check, read_answers, read_hat, read_project
from takeback.planning.predictions import read_predictions

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
