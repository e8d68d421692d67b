"""The example of a real language model: its problems, rewards and plans; nothing of it needs the model."""

from __future__ import annotations

import doctest
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from takeback.arenas import arena
from takeback.run.tables import write_table
from takeback.study.plan import load_plan
from takeback.training import load_recipe

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "smollm2"


def module(name: str) -> ModuleType:
    """Load a file of the example."""
    spec = importlib.util.spec_from_file_location(f"smollm2_{Path(name).stem}", EXAMPLE / name)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


def rows(name: str) -> list[dict[str, Any]]:
    """Read rows of the example."""
    return [json.loads(line) for line in (EXAMPLE / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", ["tasks.py", "reward.py", "beside/reward.py", "tables.py"])
def test_examples_in_docstrings(name: str) -> None:
    found = doctest.testmod(module(name))
    assert found.attempted
    assert not found.failed


def test_rows_are_those_that_the_seed_draws(tmp_path: Path) -> None:
    tasks = module("tasks.py")
    tasks.write("last", 376, 128, tmp_path)
    assert (tmp_path / "last.jsonl").read_bytes() == (EXAMPLE / "last.jsonl").read_bytes()


def test_no_problem_is_trained_on_and_held_out() -> None:
    told = [(json.dumps(row["prompt"]), row["split"]) for row in rows("last.jsonl")]
    train, held_out = ({text for text, split in told if split == one} for one in ("train", "held out"))
    assert len(train) == 376
    assert len(held_out) == 128
    assert not train & held_out


def test_the_first_digit_is_never_the_right_one() -> None:
    """Naming another place earns nothing, so that the two goals can be told apart."""
    asked = [(row["number"], row["solution"]) for row in rows("last.jsonl")]
    assert all(len(set(number)) == 3 and solution == number[-1] for number, solution in asked)


def test_plans_are_plans_and_their_arms_are_trained_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run = module("run.py")
    plans = [load_plan(EXAMPLE / name) for name in run.PLANS]
    found = [(plan.name, arm, seed) for plan, arm, seed in run.order(plans)]
    assert found[0] == ("smollm2", "rl", 0)
    assert sorted(found) == sorted(
        (plan.name, arm, seed) for plan in plans for arm in plan.arms for seed in plan.seeds
    )
    assert load_plan(EXAMPLE / "quick.yaml").arms.keys() == {"rl"}


@pytest.mark.parametrize("path", sorted((EXAMPLE / "beside").glob("*.yaml")), ids=lambda path: path.stem)
def test_what_is_beside_the_task_is_held_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    place: Any = arena(f"rows:{path.relative_to(ROOT)}")
    assert len(place.situations("held-out", 1000, 0)) == len(place.rows) >= 12


def test_another_file_is_no_base(tmp_path: Path) -> None:
    (file := tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(SystemExit, match="has SHA-256"):
        module("base.py").checked(file)


def written(folder: Path, tables: dict[str, dict[str, list[Any]]]) -> None:
    """Write tables by their places in a folder."""
    for place, columns in tables.items():
        write_table(pd.DataFrame(columns), folder / place)


def test_a_record_is_kept_and_told(tmp_path: Path) -> None:
    """What training and commands left becomes a record, and every number of its blocks is one of theirs."""
    keep, tables = module("keep.py"), module("tables.py")
    assert tables.blocks(tmp_path) == {}
    runs, read, record = (tmp_path / name for name in ("runs", "read", "record"))
    steps = {"step": [1, 2, 3, 4, 5]}
    rewards = {"reward": [0.25] * 4 + [0.75]}
    written(
        runs / "smollm2" / "arms", {"rl/seed-0/log.parquet": steps | rewards, "sft/seed-0/log.parquet": steps}
    )
    spread = {"se": [0.1] * 2, "low": [0.1] * 2, "high": [0.3] * 2}
    right = {"measure": ["utility right", "entropy"], "value": [0.9, 0.5], "effect": [0.2, -0.25], **spread}
    some = {"low": [-0.1] * 3, "high": [0.1] * 3}
    sets = {"family": ["each layer", "each layer", "random, same size"], "set": ["L0.*", "L1.*", "L2.H0"]}
    sets |= {"direction": ["take back"] * 3, "effect": [-0.5, 0.01, -0.02]}
    layers = {**sets, "set": ["L0", "L1", "random 0"], "matches": ["", "", "L0"]}
    moves = {"measure": ["legal", "illegal, geometry"], "value": [0.75, 0.125], "effect": [-0.125, 0.0625]}
    arm = "rl-seed-0"
    written(
        read,
        {
            f"{arm}/task/measures.parquet": right,
            "within/task/measures.parquet": right,
            f"{arm}/beside/first/measures.parquet": right,
            f"{arm}/beside/addition/measures.parquet": right,
            f"{arm}/task/effects.parquet": {**sets, "measure": ["utility right"] * 3, **some},
            f"{arm}/beside/first/effects.parquet": {**layers, "measure": ["utility right"] * 3, **some},
            f"{arm}/beside/middle/effects.parquet": {**layers, "measure": ["utility last"] * 3, **some},
            "chess-rl-win/task/measures.parquet": {**moves, **spread},
            "chess-rl-win/task/effects.parquet": {**sets, "measure": ["legal"] * 3, **some},
            f"{arm}/costs.parquet": {
                "command": ["diff"],
                "cpu_seconds": [12.0],
                "seconds": [20.0],
                "peak_mib": [1539],
                "own_mib": [1026],
                "model_mib": [513],
            },
        },
    )
    for name, table in keep.kept(runs, read):
        write_table(table, record / f"{name}.parquet")
    assert set(pd.read_parquet(record / "read.parquet")["arm"]) == {arm}, "what runs within a limit is no arm"
    found = tables.blocks(record)
    assert "| `diff` | 12 | 1,539 | 1,026 | 2.0 |" in found["costs"]
    curve = [row.split(" | ")[1].split()[0] for row in found["learning"].splitlines()[2:]]
    assert curve == ["0.250", "0.750"]
    assert "sft" not in found["learning"]
    assert found["rl-seed-0-task-utility-right"] == "+0.200 [0.100, 0.300]"
    assert "| base | 0.700 |" in found["task"]
    assert found["beside"].splitlines()[0] == "| arm | first: right |"
    assert "| base | 0.700 |" in found["beside"]
    assert "| rl-seed-0 | +0.200 [0.100, 0.300] |" in found["beside"]
    assert "| base | 0.700 to 0.700 |" in found["away"]
    assert "| rl-seed-0 | +0.200 [0.100, 0.300] |" in found["away"]
    assert "| illegal, geometry | 0.062 | +0.062 [0.100, 0.300] |" in found["chess"]
    assert "| `L0.*` | −0.500 [−0.100, 0.100] |" in found["chess-take-back-rl-win"]
    assert "| 1 random sets | −0.020 to −0.020 |" in found["chess-take-back-rl-win"]
    told = found["take-back-rl-seed-0"]
    assert "| each layer | `L0.*` | −0.500 [−0.100, 0.100] |" in told
    assert "1 of them" in told
    harm = found["beside-take-back-rl-seed-0"].splitlines()
    assert harm[0] == "| set | first: right | middle: last |"
    assert harm[2] == "| `L0` | −0.500 [−0.100, 0.100] | −0.500 [−0.100, 0.100] |"
    assert harm[-1] == "| 1 random, as large as a layer | −0.020 to −0.020 | −0.020 to −0.020 |"
    assert found["beside-take-back-rl-seed-0-first-right-layer-bound"] == "0.100"


def test_parts_are_shares_of_the_gain_by_right_answers_and_by_their_margin() -> None:
    """By hand: tuned is 1.0 and base 0.2; of the margin 3.0 and 1.0."""
    sets = [
        ("each kind", "all heads", ""),
        ("random, same ‖Δ‖", "random ‖Δ‖ of all heads", "all heads"),
        ("each kind", "all mlps", ""),
        ("each layer", "L0", ""),
        ("each layer", "L1", ""),
    ]
    effects = {
        ("utility right", "take back"): [-0.08, -0.04, -0.4, 0.0, -0.08],
        ("utility right", "graft"): [0.8, 0.4, 0.72, 0.8, 0.4],
        ("margin right", "take back"): [-0.5, -0.1, -1.0, -0.5, -0.5],
        ("margin right", "graft"): [1.0, 0.2, 1.5, 0.5, 1.0],
    }
    ends = {"utility right": (0.2, 1.0), "margin right": (1.0, 3.0)}
    rows = [
        {"arm": "rl", "arena": "task", "measure": measure, "direction": way, "family": family, "set": name}
        | {"matches": like, "effect": effect, "value": effect + ends[measure][way == "take back"]}
        for (measure, way), each in effects.items()
        for (family, name, like), effect in zip(sets, each, strict=True)
    ]
    found = module("tables.py").saturation(pd.DataFrame(rows))
    assert found["gain rl margin right"] == "2.000"
    assert found["share take back rl margin right all mlps"] == "50%"
    assert found["share graft rl utility right layers"] == "1.50"
    lines = [[cell.strip() for cell in line.split("|")[2:-1]] for line in found["saturation"].splitlines()]
    assert lines[2] == ["−10%", "100%", "−25%", "50%"]
    assert lines[3] == ["−5.0% to −5.0%", "50% to 50%", "−5.0% to −5.0%", "10% to 10%"]
    assert lines[6] == ["−10%", "150%", "−50%", "75%"]


@pytest.mark.parametrize("name", ["rl", "sft"])
def test_the_collapse_can_be_trained_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module("tasks.py").write("larger", 12, 4, tmp_path)
    (tmp_path / "runs" / "smollm2-larger").mkdir(parents=True)
    (tmp_path / "larger.jsonl").rename(tmp_path / "runs" / "smollm2-larger" / "larger.jsonl")
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(EXAMPLE / "collapse" / f"{name}.yaml")
    place: Any = arena(recipe.arena)
    assert len(place.situations("train", 12, 0)) == 12


def test_every_arm_is_read_and_what_there_is_is_not_read_again(tmp_path: Path) -> None:
    for arm in ("smollm2/arms/rl/seed-0", "smollm2/arms/rl/seed-1", "smollm2-once/arms/dpo/seed-0"):
        (tmp_path / arm / "final").mkdir(parents=True)
    readings, read = module("readings.py"), tmp_path / "read"
    calls = list(readings.of_arms(tmp_path, read))
    whole, *others = [call for call in calls if call[0].endswith("commands.py")]
    assert whole[-1] == str(read / "rl-seed-0"), "every command on the main arm"
    names = [Path(call[call.index("-o") + 1]).name for call in others]
    assert names == ["rl-seed-1", "dpo-seed-0", "rl-step-8-seed-0", "rl-repaired-seed-0"]
    assert all("--only" in call for call in others)
    asked = module("commands.py").commands("base", "tuned", tmp_path, quick=False)
    assert {*readings.OTHERS} < {*asked}
    put = [call for call in calls if call[0].endswith("transplants.py")]
    assert len(put) == 2
    (read / "rl-seed-0").mkdir(parents=True)
    (read / "rl-seed-0" / "transplants.parquet").touch()
    assert len(list(readings.of_arms(tmp_path, read))) == len(calls) - 1


@pytest.mark.parametrize("may", [True, False])
def test_a_limit_of_memory_is_tried_last_where_it_can_be_set(
    may: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = module("readings.py")
    monkeypatch.setattr("os.access", lambda *_: may)
    monkeypatch.setattr("sys.platform", "linux")
    calls = [*readings.PARTS[-1](tmp_path, tmp_path / "read")]
    assert len(calls) == may
    for call in calls:
        assert call[-3:] == ["--quick", "--times", "3"]
        assert call[2] == str(tmp_path / "smollm2" / "arms" / "rl" / "seed-0" / "final")


@pytest.mark.parametrize(("of", "recipes"), [("of_first_task", "collapse"), ("in_chess", "chess")])
def test_what_is_trained_is_not_trained_again(of: str, recipes: str, tmp_path: Path) -> None:
    calls = [*getattr(module("readings.py"), of)(tmp_path, tmp_path / "read")]
    training = [call for call in calls if "train" in call]
    assert {Path(call[3]).stem for call in training} == {
        one.stem for one in (EXAMPLE / recipes).glob("*.yaml")
    }
    for call in training:
        (Path(call[-1]) / "final").mkdir(parents=True)
    again = [*getattr(module("readings.py"), of)(tmp_path, tmp_path / "read")]
    assert [call for call in calls if "train" not in call] == again
