"""Studies of policy networks: a base of their own, agents, clones of other arms; killed and run again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kill import run_and_kill
from takeback.checkpoint import open_checkpoint
from takeback.report import run_plan
from takeback.run.tables import read_table
from takeback.study.plan import check_plan

ARM = {"goal": "win", "steps": 2, "learning_rate": 1e-3}
COMMON = {"situations": 4, "sets": ["each layer", "each kind"], "controls": 1, "games": 0, "readouts": False}
ENDGAMES: dict[str, Any] = {
    "name": "networks",
    "base": "endgame-mlp",
    "arms": {
        "rl": {**ARM, "method": "rl", "prompts": 4, "completions": 2, "snapshots": [1]},
        "sft-after": {**ARM, "method": "sft", "batch": 8, "parent": "rl"},
    },
    **COMMON,
}
CARTPOLE: dict[str, Any] = {
    "name": "agents",
    "arena": "gym:CartPole-v1",
    "base": {"method": "fresh", "architecture": {"hidden": [6, 5], "activation": "tanh"}, "seed": 3},
    "arms": {
        "clone": {
            "method": "clone",
            "goal": "reward",
            "teacher": "ppo",
            "steps": 12,
            "learning_rate": 3e-2,
            "batch": 8,
            "situations": 48,
        },
        "ppo": {
            "method": "agent",
            "goal": "reward",
            "steps": 256,
            "learning_rate": 3e-3,
            "environments": 2,
            "settings": {"n_steps": 32, "batch_size": 32},
            "snapshots": [128],
        },
    },
    **COMMON,
    "sets": ["each unit", "each layer"],
    "games": 2,
    "moves": 10,
}


def contents(run: Path) -> dict[str, str]:
    """Digest every table and checkpoint of a run, and its plan."""
    kept = [path for path in sorted(run.rglob("*")) if path.suffix in {".parquet", ".safetensors"}]
    kept += [run / "plan.yaml", run / "behaviour" / "examples.json"]
    return {path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def times(run: Path) -> dict[str, int]:
    return {
        path.relative_to(run).as_posix(): path.stat().st_mtime_ns
        for folder in ("arms", "diff", "effects", "base")
        for path in sorted((run / folder).rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def policies(run: Path) -> pd.DataFrame:
    table = read_table(run / "behaviour" / "policies.parquet")
    return table[table["measure"] == "entropy"].set_index(["arm", "step"])["value"]


@pytest.mark.slow
def test_a_study_from_the_shipped_network_is_drawn_and_done_once(tmp_path: Path) -> None:
    out = tmp_path / "run"
    report = run_plan(check_plan(ENDGAMES), out)
    assert "sft-after" in report.read_text(encoding="utf-8")
    shifts = read_table(out / "behaviour" / "shifts.parquet")
    assert shifts.groupby("arm")["relative_to"].unique().map(list).to_dict() == {
        "rl": ["base"],
        "sft-after": ["rl"],
    }
    assert set(policies(out).index) == {("base", 0), ("rl", 1), ("rl", 2), ("sft-after", 2)}
    effects = read_table(out / "effects" / "sft-after-seed-0.parquet")
    assert {"L0", "L1", "all units", "outputs"} <= set(effects["set"])
    assert not list(out.rglob("*.readouts.parquet"))
    assert not (out / "behaviour" / "games.parquet").exists()
    assert "each head" not in set(effects["family"])
    before = contents(out), times(out)
    assert run_plan(check_plan(ENDGAMES), out) == report
    assert (contents(out), times(out)) == before


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("agents") / "run"
    run_plan(check_plan(CARTPOLE), out)
    return out


@pytest.mark.slow
def test_a_study_makes_its_base_trains_agents_and_clones_them(agents: Path) -> None:
    base = open_checkpoint(agents / "base" / "final")
    assert [base.shapes[f"policy.{layer}.weight"] for layer in range(3)] == [(6, 4), (5, 6), (2, 5)]
    entropy = policies(agents)
    assert set(entropy.index) == {("base", 0), ("clone", 12), ("ppo", 128), ("ppo", 256)}
    ppo, clone = (entropy[name, step] for name, step in (("ppo", 256), ("clone", 12)))
    assert abs(clone - ppo) < abs(entropy["base", 0] - ppo)
    games = read_table(agents / "behaviour" / "games.parquet")
    assert games.groupby("arm").size().to_dict() == {"base": 2, "clone": 2, "ppo": 2}
    effects = read_table(agents / "effects" / "ppo-seed-0.parquet")
    assert {f"L0.U{unit}" for unit in range(6)} <= set(effects["set"])
    report = (agents / "report.html").read_text(encoding="utf-8")
    assert len(report) > 50_000
    before = contents(agents), times(agents)
    run_plan(check_plan(CARTPOLE), agents)
    assert (contents(agents), times(agents)) == before


@pytest.mark.slow
def test_a_killed_study_of_agents_ends_with_the_same_tables(agents: Path, tmp_path: Path) -> None:
    broken = tmp_path / "run"
    code = (
        "from takeback.report import run_plan\nfrom takeback.study.plan import check_plan\n"
        f"run_plan(check_plan({CARTPOLE!r}), {str(broken)!r})"
    )
    run_and_kill(code, (broken / "arms/ppo/seed-0/step-128").exists, tmp_path / "log.txt")
    assert not (broken / "report.html").exists()
    run_plan(check_plan(CARTPOLE), broken)
    assert contents(broken) == contents(agents)
