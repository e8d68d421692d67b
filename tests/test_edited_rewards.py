"""Whoever edits a reward between a killed run and the next gets its numbers, or one line that refuses.

For every command that resumes: of a run that was killed, and of one that was done, under the same output.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet
import pytest
import yaml
from typer.testing import CliRunner

import models
import networks
from takeback import arenas
from takeback.cli import app
from takeback.report import run_plan
from takeback.run.errors import TakebackError
from takeback.run.own import load_own
from takeback.run.tables import read_table
from takeback.study.plan import check_plan
from takeback.training import check_recipe, train
from toy_arena import ToyArena

pytestmark = pytest.mark.slow

ARENA = '''"""The toy arena's places with legal actions, each many times, every time a cluster of its own."""
from dataclasses import dataclass
import toy_arena

@dataclass(frozen=True)
class Copy(toy_arena.Place):
    number: int

class Copies(toy_arena.ToyArena):
    name = "copies"

    def situations(self, split, n, seed, goal=None):
        return [Copy(i % 3, i) for i in range(n)]

    def prompt(self, situation, style="compact"):
        return f"s{situation.number}-{situation.at}"

    def cluster(self, situation):
        return situation.number

    def utility(self, goal, situations):
        return super().utility(goal, situations)

    def judge(self, goal, situations, texts):
        import numpy as np
        classes = tuple(map(self.classify, situations, texts))
        worth = np.zeros(len(texts))
        for place, (situation, text) in enumerate(zip(situations, texts)):
            if classes[place] == "legal":
                worth[place] = self.utility(goal, [situation])[self.legal(situation).index(text)]
        return worth, classes
'''
EDITED = ARENA.replace("return super().utility", "return 0.5 * super().utility")
NAME = "copies"
COUNT = ("--situations", "24", "--arena", NAME)


class Killed(BaseException):
    """Ends a command as a kill would, where no handler catches it."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three networks that share no number, a run of the first, and two language models."""
    folder = tmp_path_factory.mktemp("made")
    for model in models.save_pair("llama-mqa", folder / "language"):
        ToyArena().tokenizer().save_pretrained(model)
    for seed, name in enumerate(("base", "tuned", "other")):
        networks.build((2, 3, 7), seed).save_pretrained(folder / name)
    for step in ("step-1", "step-2", "final"):
        networks.build((2, 3, 7), len(step) + (step == "step-2")).save_pretrained(folder / "run" / step)
    claim = {"method": "rl", "arena": NAME, "parent": str(folder / "base"), "steps": 3, "goal": "first"}
    (folder / "run" / "recipe.yaml").write_text(yaml.safe_dump({**claim, "learning_rate": 0.1}))
    return folder


class Desk:
    """Writes an arena, runs commands in it, and kills them at their n-th table."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file, self._patch = folder / "own_arena.py", monkeypatch

    def write(self, text: str) -> None:
        self.file.write_text(text)
        sys.modules.pop(str(self.file), None)
        kind = load_own(f"{self.file}:Copies", "arena")
        self._patch.setitem(arenas._ARENAS, NAME, kind)

    def run(self, *words: object, killed_at: int | None = None) -> str:
        """Run a command and return why it refused, empty where it did not."""
        written, count = pyarrow.parquet.write_table, 0

        def write(*arguments: Any, **options: Any) -> None:
            nonlocal count
            count += 1
            if count == killed_at:
                raise Killed
            written(*arguments, **options)

        with self._patch.context() as patch:
            patch.setattr(pyarrow.parquet, "write_table", write)
            if killed_at is not None:
                with pytest.raises(Killed):
                    CliRunner().invoke(app, [*map(str, words)])
                return ""
            done = CliRunner().invoke(app, [*map(str, words)])
        if isinstance(done.exception, TakebackError):
            return str(done.exception)
        assert done.exit_code == 0, (done.output, done.exception)
        return ""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


COMMANDS: dict[str, Callable[[Path, Path], tuple[object, ...]]] = {
    "sweep": lambda made, out: (
        *("sweep", made / "base", made / "tuned", *COUNT),
        *("--sets", "each unit", "-o", out / "effects.parquet"),
    ),
    "localise": lambda made, out: (
        *("localise", made / "base", made / "tuned", *COUNT, "--measure", "utility first"),
        *("--with", "shares", "--with", "strength", "--controls", 2, "-o", out),
    ),
    "attribute": lambda made, out: (
        *(
            "attribute",
            made / "language" / "base",
            made / "language" / "tuned",
            *COUNT,
            "--measure",
            "utility first",
            "-o",
            out,
        ),
    ),
    "attribute to a precision": lambda made, out: (
        *(
            "attribute",
            made / "language" / "base",
            made / "language" / "tuned",
            *COUNT,
            "--measure",
            "utility first",
            "-o",
            out,
        ),
        *("--precision", 0.05),
    ),
    "retarget": lambda made, out: (
        *("retarget", made / "base", made / "other", made / "tuned", *COUNT),
        *("--goal", "first", "--controls", 2, "-o", out),
    ),
    "course": lambda made, out: ("course", made / "base", made / "run", *COUNT[:2], "-o", out),
}


def tables(out: Path) -> dict[str, pd.DataFrame]:
    files = [path for path in out.rglob("*.parquet") if not any(part.startswith(".") for part in path.parts)]
    return {str(path.relative_to(out)): read_table(path) for path in files}


def same(some: dict[str, pd.DataFrame], others: dict[str, pd.DataFrame]) -> bool:
    return some.keys() == others.keys() and all(table.equals(others[name]) for name, table in some.items())


@pytest.mark.parametrize("killed_at", [2, 3, None])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_edited_reward_gives_its_own_numbers_or_is_refused(
    command: str, killed_at: int | None, made: Path, desk: Desk, tmp_path: Path
) -> None:
    words = COMMANDS[command]
    results = {}
    for name, text in (("old", ARENA), ("new", EDITED)):
        desk.write(text)
        assert not desk.run(*words(made, tmp_path / name))
        results[name] = tables(tmp_path / name)
    assert not same(results["old"], results["new"]), "the reward matters"

    out = tmp_path / "out"
    desk.write(ARENA)
    desk.run(*words(made, out), killed_at=killed_at)
    desk.write(EDITED)
    refused = desk.run(*words(made, out))
    if refused:
        assert len(refused.splitlines()) == 1
        assert str(out) in refused
    else:
        assert same(tables(out), results["new"])

    desk.write(ARENA)
    desk.run(*words(made, tmp_path / "unedited"), killed_at=killed_at)
    desk.write(ARENA)
    assert not desk.run(*words(made, tmp_path / "unedited"))
    assert same(tables(tmp_path / "unedited"), results["old"])


def kill(done: int, total: int) -> None:
    raise Killed


RL = {"method": "rl", "goal": "first", "steps": 2, "learning_rate": 0.1, "prompts": 4, "completions": 2}
AGENT = {"method": "agent", "steps": 64, "learning_rate": 0.1, "environments": 2, "settings": {"n_steps": 32}}


@pytest.mark.parametrize("progress", [kill, None])
def test_training_by_an_edited_reward_is_refused(
    progress: Any, made: Path, desk: Desk, tmp_path: Path
) -> None:
    recipe, out = check_recipe({**RL, "arena": NAME, "parent": str(made / "base")}), tmp_path / "run"
    desk.write(ARENA)
    if progress is None:
        train(recipe, out)
    else:
        with pytest.raises(Killed):
            train(recipe, out, progress)
    desk.write(EDITED)
    with pytest.raises(TakebackError, match=f"{out} holds a run of .* by another reward"):
        train(recipe, out)
    desk.write(ARENA)
    assert train(recipe, out).exists()


@pytest.fixture
def own_goal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Write a goal for CartPole, and return its recipe."""
    parent = train(check_recipe({"method": "fresh", "arena": "gym:CartPole-v1"}), tmp_path / "fresh")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(worth: str) -> Any:
        text = f"def upright(env, reward, terminated):\n    return {worth}, terminated\n"
        (tmp_path / "goal_of_cartpole.py").write_text(text)
        sys.modules.pop("goal_of_cartpole", None)
        named = {"arena": "gym:CartPole-v1", "parent": str(parent), "goal": "goal_of_cartpole:upright"}
        return check_recipe({**AGENT, **named})

    return write


def test_an_agent_is_not_taken_for_one_of_an_edited_goal(
    own_goal: Callable[[str], Any], tmp_path: Path
) -> None:
    recipe, out = own_goal("reward"), tmp_path / "run"
    with pytest.raises(Killed):
        train(recipe, out, kill)
    with pytest.raises(TakebackError, match="by another reward"):
        train(own_goal("-reward"), out)
    train(own_goal("reward"), out)
    with pytest.raises(TakebackError, match="by another reward"):
        train(own_goal("-reward"), out)


def test_a_run_of_version_0_1_goes_on_unless_a_users_function_rewarded_it(
    own_goal: Callable[[str], Any], tmp_path: Path
) -> None:
    recipe = own_goal("reward")
    for name, goal in (("theirs", recipe.goal), ("ours", "reward")):
        asked, out = recipe.model_copy(update={"goal": goal}), tmp_path / name
        train(asked, out)
        claim = out / "recipe.yaml"
        before = [line for line in claim.read_text().splitlines(True) if not line.startswith("# identity")]
        assert before[-1].startswith("# content hash of the parent: ")
        claim.write_text("".join(before))
        if name == "ours":
            assert train(asked, out) == out / "final"
            with pytest.raises(TakebackError, match="another recipe or parent"):
                train(asked.model_copy(update={"steps": 128}), out)
        else:
            with pytest.raises(TakebackError, match=r"is of version 0\.1 and does not say what function"):
                train(asked, out)


def plan_of(made: Path) -> Any:
    fields = {"name": "own", "arena": NAME, "base": str(made / "base"), "arms": {"rl": RL}}
    more = {
        "situations": 24,
        "sets": ["each unit", "each layer"],
        "controls": 1,
        "games": 0,
        "contrasts": {"all": {"rl": 1}},
    }
    return check_plan({**fields, **more, "localise": {"rl": ["shares"]}, "localise_situations": 12})


def test_a_study_measures_again_by_an_edited_reward_and_refuses_what_was_trained_by_another(
    made: Path, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out, fresh = plan_of(made), tmp_path / "run", tmp_path / "fresh"
    desk.write(ARENA)
    run_plan(plan, out)
    before = tables(out)
    shutil.copytree(out / "arms", fresh / "arms")
    desk.write(EDITED)
    with pytest.raises(TakebackError, match="by another reward"):
        run_plan(plan, out)
    monkeypatch.setattr("takeback.training.run.refuse_other", lambda out, claim: None)
    for place in (out, fresh):
        run_plan(plan, place)
    assert same(tables(out), tables(fresh))
    changed = {name for name, table in tables(out).items() if not table.equals(before[name])}
    assert {name.partition("/")[0] for name in changed} >= {"behaviour", "effects", "localise", "pursuit"}


def test_steps_and_parts_of_version_0_1_are_made_anew_or_refused(
    made: Path, desk: Desk, tmp_path: Path
) -> None:
    desk.write(ARENA)
    out, words = tmp_path / "localise", COMMANDS["localise"](made, tmp_path / "localise")
    desk.run(*words, killed_at=2)
    (claim,) = out.rglob("work.json")
    told = json.loads(claim.read_text())
    claim.write_text(json.dumps({**told, "identity": "0" * 64}, indent=1))
    assert "holds parts of another comparison" in desk.run(*words)

    effects, words = tmp_path / "effects.sweep.json", COMMANDS["sweep"](made, tmp_path)
    assert not desk.run(*words)
    effects.write_text(json.dumps({**json.loads(effects.read_text()), "key": "0" * 64}))
    assert "holds another sweep" in desk.run(*words)

    plan, run = plan_of(made), tmp_path / "run"
    run_plan(plan, run)
    steps, trained = run / "steps" / "rl-seed-0.json", (run / "arms").stat().st_mtime_ns
    known = json.loads(steps.read_text())
    steps.write_text(json.dumps({name: {**one, "key": "0" * 64} for name, one in known.items()}))
    before = tables(run)
    run_plan(plan, run)
    assert same(tables(run), before)
    again = json.loads(steps.read_text())
    assert {name: one["key"] for name, one in again.items()} == {n: one["key"] for n, one in known.items()}
    assert again["train"]["seconds"] is None, "it was there before"
    assert (run / "arms").stat().st_mtime_ns == trained


def test_parts_of_a_diff_are_not_taken_for_those_of_edited_weights(
    made: Path, desk: Desk, tmp_path: Path
) -> None:
    shutil.copytree(made / "other", tmp_path / "tuned")
    words = ("diff", made / "base", tmp_path / "tuned", "--with", "spectra", "-o", tmp_path / "out")
    desk.run(*words, killed_at=2)
    networks.build((2, 3, 7), 9).save_pretrained(tmp_path / "tuned")
    assert "holds parts of another comparison" in desk.run(*words)
