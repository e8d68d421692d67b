"""A study that grows, is killed on the way, or is measured elsewhere ends like one that was run in one go."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kill import run_and_kill
from takeback import cli
from takeback.run.errors import TakebackError
from takeback.run.tables import read_table
from takeback.study import run_plan, study_status
from takeback.study.measured import read_measured
from takeback.study.plan import check_plan

ARM = {"goal": "win", "steps": 3, "learning_rate": 1e-3}
RL = {**ARM, "method": "rl", "prompts": 4, "completions": 2, "snapshots": [1, 2]}
AFTER = {**ARM, "method": "sft", "batch": 8, "parent": "rl", "snapshots": [1]}
FIELDS: dict[str, Any] = {
    "name": "grown",
    "base": "endgame-mlp",
    "seeds": [0, 1],
    "arms": {"rl": RL, "sft-after": AFTER},
    "measure_at": {"kl": 1e-3},
    "situations": 4,
    "games": 2,
    "moves": 4,
    "sets": ["each layer", "each kind"],
    "controls": 1,
}
SMALLER = {**FIELDS, "seeds": [0], "title": "Before", "arms": {"gone": RL, "rl": RL}}


def contents(run: Path) -> dict[str, str]:
    """Digest every table and checkpoint of a run that its plan names, and its plan."""
    kept = [path for path in sorted(run.rglob("*")) if path.suffix in {".parquet", ".safetensors"}]
    kept += [run / "plan.yaml", run / "behaviour" / "examples.json"]
    named = {path.relative_to(run).as_posix(): path for path in kept}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in named.items()
        if "gone" not in name
    }


def times(run: Path, ending: str) -> dict[str, int]:
    """Return when each result of an arm and seed was written."""
    found = [
        path for folder in ("arms", "diff", "effects", "behaviour") for path in (run / folder).rglob("*")
    ]
    return {
        str(p): p.stat().st_mtime_ns for p in found if ending in str(p) and p.is_file() and p.name != ".lock"
    }


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    run_plan(check_plan(FIELDS), out)
    return out


@pytest.mark.slow
def test_a_study_that_grew_and_was_killed_has_the_tables_of_one_that_was_run_at_once(
    unbroken: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run_plan(check_plan(SMALLER), out)
    small = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    before = times(out, "rl-seed-0") | times(out, "arms/rl/seed-0")
    assert len(before) > 10
    code = (
        "from takeback.study import run_plan\nfrom takeback.study.plan import check_plan\n"
        f"if __name__ == '__main__':\n    run_plan(check_plan({FIELDS!r}), {str(out)!r}, workers=2)"
    )
    run_and_kill(code, (out / "arms/rl/seed-1/step-2").exists, tmp_path / "log.txt")
    assert not (out / "effects" / "sft-after-seed-1.parquet").exists()
    assert any(not one.done for one in study_status(out).arms)
    run_plan(check_plan(FIELDS), out)
    assert contents(out) == contents(unbroken)
    assert times(out, "rl-seed-0") | times(out, "arms/rl/seed-0") == before, (
        "what was there is not done again"
    )
    found = study_status(out)
    assert all(one.done for one in found.arms)
    assert found.not_in_plan == ("gone seed 0",)
    assert (out / "effects" / "gone-seed-0.parquet").exists()
    grown, whole = (
        json.loads((run / "manifest.json").read_text(encoding="utf-8")) for run in (out, unbroken)
    )
    assert grown["checkpoints"] == whole["checkpoints"]
    assert grown["measured"] == whole["measured"]
    assert grown["earlier"] == [small]
    assert "earlier" not in whole
    assert [path.name for path in (out / "plans").iterdir()] == ["1.yaml"]


@pytest.mark.slow
def test_another_distance_measures_other_models_and_trains_nothing(tmp_path: Path) -> None:
    out, last = tmp_path / "run", {**FIELDS, "seeds": [0], "measure_at": "last", "arms": {"rl": RL}}
    run_plan(check_plan(last), out)
    trained = times(out, "arms/rl/seed-0/") | times(out, "policies.parquet")
    trained = {name: at for name, at in trained.items() if "-seed-" in name or "safetensors" in name}
    swept = (out / "effects" / "rl-seed-0.parquet").read_bytes()
    assert [one.measured and one.measured.step for one in study_status(out).arms] == [None, 3]
    curve = read_table(out / "behaviour" / "policies.parquet")
    rows = curve[(curve["measure"] == "KL(after || before)") & (curve["arm"] == "rl") & (curve["step"] == 1)]
    wanted = {"kl": float(rows["value"].iloc[0])}
    run_plan(check_plan({**last, "measure_at": wanted}), out)
    measured = read_measured("rl", 0, out)
    assert measured is not None
    assert (measured.folder, measured.matched) == ("step-1", True)
    assert {name: Path(name).stat().st_mtime_ns for name in trained} == trained
    assert (out / "effects" / "rl-seed-0.parquet").read_bytes() != swept
    fresh = tmp_path / "fresh"
    run_plan(check_plan({**last, "measure_at": wanted}), fresh)
    assert contents(out) == contents(fresh)


@pytest.mark.slow
def test_a_result_that_is_gone_is_made_again(unbroken: Path) -> None:
    before = contents(unbroken)
    (unbroken / "behaviour" / "rl-seed-1" / "games.parquet").unlink()
    (unbroken / "effects" / "sft-after-seed-0.parquet").unlink()
    run_plan(check_plan(FIELDS), unbroken)
    assert contents(unbroken) == before


@pytest.mark.slow
def test_a_changed_arm_is_refused_and_nothing_is_touched(unbroken: Path) -> None:
    before = contents(unbroken)
    arms = {**FIELDS["arms"], "rl": {**RL, "steps": 5}}
    with pytest.raises(
        TakebackError, match=r"arm rl: steps was 3 and is 5\. Put that back, give a changed arm"
    ):
        run_plan(check_plan({**FIELDS, "arms": arms}), unbroken)
    assert contents(unbroken) == before


@pytest.mark.slow
def test_the_commands_run_a_plan_and_tell_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["takeback", "study", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    axes = {"rl": {**RL, "axes": {"kl": [0, 0.1]}}}
    plan = {**FIELDS, "arms": axes, "seeds": [0], "measure_at": {"kl": 50}}
    Path("plan.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    assert call("run", "plan.yaml", "--workers", "1").endswith("report: runs/grown/report.html\n")
    told = call("status", "runs/grown")
    assert "rl-kl-0.1" in told
    assert "rl-kl-0 seed 0 is not matched: its nearest model has KL " in told
    assert told.endswith("all 3 done\n")
    told = json.loads(call("status", "runs/grown", "--json"))
    assert (told["done"], told["of"], told["left"]) == (3, 3, 0)
    assert told["arms"][1]["steps"]["train"]["state"] == "done"
    assert told["arms"][1]["steps"]["train"]["seconds"] > 0
    assert not told["arms"][1]["matched"]
