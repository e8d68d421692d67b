"""The examples, in a smaller form."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

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
