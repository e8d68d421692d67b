"""A refusal leaves the disk as it was, and two commands on one output end with one whole result."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from takeback.cli import app
from takeback.run.errors import TakebackError
from takeback.run.tables import read_table

PLAN = {
    "name": "no",
    "base": "endgame-base",
    "arms": {"a": {"method": "sft", "goal": "win", "steps": 2, "learning_rate": 1e-3, "batch": 16}},
    "situations": 4,
}
REFUSED = {
    "sweep, a family": (*("sweep", "B", "T", "--sets", "each hed"), "-o", "out/effects.parquet"),
    "sweep, an arena": (*("sweep", "B", "T", "--arena", "endgame"), "-o", "out/effects.parquet"),
    "localise, a part": ("localise", "B", "T", "--with", "share", "-o", "out"),
    "localise, a measure": ("localise", "B", "T", "--measure", "legl", "-o", "out"),
    "attribute, a method": ("attribute", "B", "T", "--method", "far", "--situations", "4", "-o", "out"),
    "explain, a component": ("explain", "B", "T", "--take-back", "L9.H0", "-o", "out"),
    "retarget, a goal": ("retarget", "B", "T", "B", "--goal", "wni", "-o", "out"),
    "hybrid, a component": ("hybrid", "B", "T", "--take-back", "L9.H0", "-o", "out"),
    "hybrid, a source": ("hybrid", "B", "T", "--take-back", "L0.H0", "--source", "zero", "-o", "out"),
    "diff, a checkpoint": ("diff", "B", "nowhere", "-o", "out"),
    "diff, a measure": ("diff", "B", "T", "--with", "spectrum", "-o", "out"),
    "course, a run": ("course", "B", "nowhere", "-o", "out"),
    "study, an arena": ("study", "run", "plan.yaml", "--set", "arena=endgame", "-o", "out"),
    "study, a family": ("study", "run", "plan.yaml", "--set", "sets=[each hed]", "-o", "out"),
    "study, a measure": ("study", "run", "plan.yaml", "--set", "measures=[legl]", "-o", "out"),
    "train, a goal": ("train", "recipe.yaml", "-o", "out"),
}


def state(folder: Path) -> dict[str, bytes | None]:
    return {str(one): None if one.is_dir() else one.read_bytes() for one in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("words", REFUSED.values(), ids=REFUSED)
def test_a_command_that_refuses_leaves_the_disk_as_it_was(
    words: Sequence[str], players: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = {**PLAN["arms"]["a"], "parent": players[0], "goal": "wni"}
    for name, fields in (("plan", PLAN), ("recipe", recipe)):
        Path(f"{name}.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
    before = state(tmp_path)
    sides = dict(zip("BT", players, strict=True))
    done = CliRunner().invoke(app, [sides.get(word, word) for word in words])
    assert isinstance(done.exception, TakebackError), done.output
    assert "\n" not in str(done.exception)
    assert state(tmp_path) == before


@pytest.mark.slow
def test_two_commands_on_one_output_end_with_one_whole_result(
    players: tuple[str, str], tmp_path: Path
) -> None:
    words = ("sweep", *players, "--sets", "each mlp", "--controls", "1", "--situations", "8", "-o")
    alone, shared = tmp_path / "alone" / "effects.parquet", tmp_path / "shared" / "effects.parquet"
    assert CliRunner().invoke(app, [*words, str(alone)]).exit_code == 0
    command = (sys.executable, "-m", "takeback", *words, str(shared))
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for one in both:
        _, told = one.communicate()
        told_by = (line for line in told.splitlines() if line.startswith("takeback: "))
        lines = [line for line in told_by if "hybrids to read" not in line]  # what it costs
        assert (one.returncode, len(lines)) in {(0, 0), (2, 1)}, told
    assert 0 in [one.returncode for one in both]
    assert read_table(shared).equals(read_table(alone))
