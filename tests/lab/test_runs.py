"""The lab of a run: what its record holds without a model, and the command that opens it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from kill import run_and_kill
from takeback import cli
from takeback.lab.runs import lab_of_run
from takeback.policies import load
from takeback.report import run_plan
from takeback.run.errors import TakebackError
from takeback.run.tables import write_table
from takeback.study.plan import check_plan

ARM = {"method": "rl", "goal": "win", "steps": 2, "learning_rate": 1e-3, "prompts": 4, "completions": 4}
FIELDS = {
    "name": "tiny",
    "base": "endgame-base",
    "arms": {
        "rl-win": {**ARM, "snapshots": [1]},
        "sft-win": {"method": "sft", "goal": "win", "steps": 2, "learning_rate": 1e-3, "batch": 16},
    },
    "situations": 8,
    "games": 0,
    "sets": ["each head", "each layer"],
    "controls": 1,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "tiny"
    run_plan(check_plan(FIELDS), out)
    found = {"measure": "utility win", "direction": "graft", "order": "greedy", "components": "L2.* L1.H0"}
    write_table(pd.DataFrame([found]), out / "localise" / "sft-win-seed-0" / "carriers.parquet")
    return out


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("a model was loaded")


@pytest.mark.slow
def test_a_record_is_shown_without_a_model(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "load_policy", refuse)
    before = sorted(path for path in run.rglob("*"))
    lab = lab_of_run(run)
    assert [one.key for one in lab.views.values()] == ["rl-win-seed-0", "sft-win-seed-0"]
    scene = lab.scene("sft-win-seed-0")
    assert str(run) not in json.dumps(scene)
    assert scene["title"] == "sft-win against base"
    assert {one["family"] for one in scene["sets"]} == {"each layer", "carriers"}
    assert scene["sets"][0] | {"set": "L2.* L1.H0", "note": "utility win, graft"} == scene["sets"][0]
    assert [one["arm"] for one in scene["course"]] == ["sft-win"]
    (curve,) = lab.scene("rl-win-seed-0")["course"]
    assert curve["measures"]["legal"]["step"] == [1, 2]
    stage = lab.stage("sft-win-seed-0")
    told = {one["type"]: one for one in stage.select({"set": "L0.*", "situation": 7})}
    assert told["effects"]["read"] == 8
    assert told["controls"]["of"] >= 1
    assert {one["group"] for one in scene["colourings"]} == {"weights", "effects"}
    with pytest.raises(TakebackError, match="not in this record"):
        stage.selection({"set": "L0.H0 L2.MLP"})
    assert sorted(path for path in run.rglob("*")) == before


@pytest.mark.slow
def test_a_run_with_models_has_snapshots_and_other_arms(run: Path) -> None:
    lab = lab_of_run(run, live=True)
    assert "rl-win-seed-0-step-1" in lab.views
    stage = lab.stage("rl-win-seed-0-step-1")
    told = {
        one["type"]: one
        for one in stage.select({"set": "L0.H0", "situation": 0, "source": "sft-win, seed 0"})
    }
    assert told["effects"]["read"] == 8
    assert lab.scene("rl-win-seed-0-step-1")["title"] == "rl-win, step 1 against base"


@pytest.mark.slow
def test_the_command_exports_a_run(run: Path, page: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(cli.app, ["lab", str(run), "--export", str(tmp_path / "site")])
    assert found.exit_code == 0, (found.output, found.exception)
    views = {path.name for path in (tmp_path / "site" / "data").iterdir()}
    assert views == {"views.js", "rl-win-seed-0", "sft-win-seed-0"}


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TakebackError):
        lab_of_run(tmp_path)


SERVER = """
import sys
from pathlib import Path
from takeback.lab import server
server.PAGE = Path({page!r})
sys.argv = ["takeback", "lab", {base!r}, {tuned!r}, "--situations", "4", "--port", "0"]
from takeback.cli import main
main()
"""


@pytest.mark.slow
def test_a_killed_server_leaves_nothing(players, page: Path, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    base, tuned = map(str, players)
    log = tmp_path / "log"
    code = SERVER.format(page=str(page), base=base, tuned=tuned)
    run_and_kill(code, lambda: log.exists() and "lab: http://127.0.0.1:" in log.read_text(), log)
    assert list(folder.iterdir()) == []
