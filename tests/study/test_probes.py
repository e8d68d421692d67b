from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from takeback.run.tables import read_table
from takeback.study.plan import check_plan, dump_plan
from takeback.study.probes import add_probes

ARM = {"method": "sft", "goal": "win", "steps": 4, "learning_rate": 1e-3}


@pytest.mark.slow
def test_a_finished_run_gets_its_probes_once(players: tuple[str, str], tmp_path: Path) -> None:
    plan = check_plan({"name": "two", "base": players[0], "arms": {"a": ARM, "b": ARM}, "situations": 8})
    (tmp_path / "plan.yaml").write_text(dump_plan(plan), encoding="utf-8")
    shutil.copytree(players[1], tmp_path / "arms" / "a" / "seed-0" / "final")
    (path,) = add_probes(tmp_path)  # arm b is not trained yet
    assert path == tmp_path / "probes" / "a-seed-0.parquet"
    table = read_table(path)
    assert list(table.columns) == [
        *("arm", "seed", "set", "components", "direction", "measure"),
        *("value", "effect", "se", "low", "high", "n"),
    ]
    assert set(table["arm"]) == {"a"}
    assert table.groupby("measure").size().to_dict() == {
        "probe better move": 31,
        "probe board": 31,
        "probe mate in one": 31,
    }
    before = path.stat().st_mtime_ns
    assert add_probes(tmp_path) == [path]
    assert path.stat().st_mtime_ns == before
    (tmp_path / "plan.yaml").write_text(
        dump_plan(plan.model_copy(update={"situations": 9})), encoding="utf-8"
    )
    assert add_probes(tmp_path) == [path]
    assert path.stat().st_mtime_ns > before


def test_an_arena_without_facts_has_none(tmp_path: Path) -> None:
    recipe = {"method": "agent", "goal": "return", "steps": 100, "learning_rate": 1e-3}
    plan = check_plan({"name": "cart", "base": "endgame-mlp", "arms": {"a": ARM}})
    elsewhere = plan.model_copy(update={"arena": "gym:CartPole-v1", "arms": {"a": recipe}})
    (tmp_path / "plan.yaml").write_text(dump_plan(elsewhere), encoding="utf-8")
    assert add_probes(tmp_path) == []
