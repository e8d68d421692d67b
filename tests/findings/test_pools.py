"""Findings on a pool of answers: the commands of closed arenas work on it unchanged."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import tiny_answers
from takeback import cli
from takeback.arenas import arena
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.draw.result import section_of
from takeback.findings.localise import LocaliseSettings, localise
from takeback.findings.localise.retarget import Retargeting, retarget
from takeback.findings.sweep import Sweep, squared_norms, sweep
from takeback.findings.trajectory import CourseSettings, course
from takeback.measure.agency.policy_agency import policy_agency
from takeback.measure.alone import HeldOut
from takeback.measure.bench import Bench
from takeback.policies.load import load_policy
from takeback.run.errors import TakebackError
from takeback.run.tables import read_table
from takeback.weights import diff


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_answers.save_pair(tmp_path_factory.mktemp("tiny"), prompts=24)


@pytest.fixture(scope="module")
def bench(folder: Path) -> Bench:
    pair = open_pair(str(folder / "base"), str(folder / "tuned"))
    return Bench.held_out(pair, arena(tiny_answers.arena_text(folder)), (), (24, 0))


def test_what_was_planted_carries_the_change(bench: Bench) -> None:
    assert bench.measures == ("utility good",)
    found = localise(bench, ("shares",), LocaliseSettings(sets=("each head",), controls=2))
    rows = found.tables["shares"].set_index(["direction", "set"])
    assert rows.loc[("take back", "EMBED"), "carried"] > 0.7


@pytest.mark.slow
def test_a_sweep_of_a_pool_has_its_measures(bench: Bench, tmp_path: Path) -> None:
    what = Sweep(bench, squared_norms(diff(bench.pair)), ("each layer",), 1, 0)
    sweep(what, tmp_path / "effects.parquet")
    told = set(read_table(tmp_path / "effects.parquet")["measure"])
    assert {"utility good", "kind, with b", "kind, cut off", "length", "KL(tuned || it)"} <= told


@pytest.mark.slow
def test_a_model_is_turned_by_another_one(bench: Bench, folder: Path) -> None:
    pair = open_pair(str(folder / "base"), str(folder / "base"))
    back = Bench.answering(
        pair, bench.arena.open, [one.row for one in bench.situations], others={"other": bench.pair.tuned}
    )
    assert back.arena.sides == ("base", "tuned", "other")
    found = retarget(back, str(folder / "tuned"), settings=Retargeting(controls=1))
    assert found.table["components"].eq("EMBED").all()


@pytest.mark.slow
def test_snapshots_are_read_on_one_pool(bench: Bench, folder: Path) -> None:
    run = folder / "arms" / "rl" / "seed-0"
    run.mkdir(parents=True)
    for name, model in (("step-10", "base"), ("final", "tuned")):
        (run / name).symlink_to(folder / model)
    claim = f"parent: {folder / 'base'}\nsteps: 20\ngoal: good\n# content hash of the parent: "
    (run / "recipe.yaml").write_text(f"{claim}{open_checkpoint(folder / 'base').digest}\n")
    settings = CourseSettings(situations=24, sets=("EMBED", "L0.MLP"))
    found = course(folder / "base", run, bench.arena.open, settings)
    utility = found.table.set_index("step")["utility"]
    assert utility[0] == pytest.approx(utility[10])
    assert utility[20] > utility[0] + 0.3
    assert found.table["meg"].isna().all(), "even choice between drawn answers means nothing"
    assert section_of(found).title


@pytest.mark.slow
def test_one_policy_is_read_on_its_own_answers(folder: Path) -> None:
    text, tuned = tiny_answers.arena_text(folder), str(folder / "tuned")
    alone = HeldOut.draw(arena(text), tuned, (24, 0))
    told = alone.measure(tuned).set_index("measure")["value"]
    worth = [np.mean(one.worth["good"]) for one in alone.situations]
    assert told["utility good"] == pytest.approx(np.mean(worth))
    assert told["effective sample size"] == pytest.approx(1)
    with pytest.raises(TakebackError, match="can be enumerated"):
        policy_agency(load_policy(open_checkpoint(tuned), alone.arena), alone.arena, alone.situations)


@pytest.mark.slow
def test_a_change_is_told_by_item_and_by_pursuit(folder: Path) -> None:
    base, tuned = (str(folder / name) for name in ("base", "tuned"))
    alone = HeldOut.draw(
        arena(tiny_answers.arena_text(folder)), tuned, (24, 0), sides={"base": base, "tuned": tuned}
    )
    told = alone.changes(base, tuned)
    assert list(told) == ["measures", "said", "flips", "items", "agency"]
    assert len(told["items"]) == told["flips"]["n"].sum() == 24
    effect = told["measures"].set_index("measure").loc["utility good", "effect"]
    assert told["items"]["change"].mean() == pytest.approx(effect)
    share = told["agency"].set_index("measure").loc["pursuit share in sample", "value"]
    assert 0.2 < share < 1


@pytest.mark.slow
def test_commands_print_and_write_items_and_texts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base, tuned, place = folder / "base", folder / "tuned", tiny_answers.arena_text(folder)

    def call(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["takeback", *map(str, words), "--arena", place, "--json"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert ended.value.code == 0, printed.err
        return printed.out

    told = json.loads(call("behaviour", tuned, "--against", base, "--out", tmp_path / "behaviour"))
    assert {row["flip"] for row in told["items"]} <= {"gained", "lost", ""}
    assert told["flips"][0]["n"] == 24
    tables = {path.stem for path in (tmp_path / "behaviour").glob("*.parquet")}
    assert tables == {"measures", "said", "flips", "items", "agency"}
    words = json.loads(call("explain", base, tuned, "--take-back", "EMBED", "--out", tmp_path / "explain"))
    parts = {row["part"] for row in words["explain"]["explain"]}
    assert parts == {"measure", "kind", "flip", "item", "word", "answer", "token"}
