"""The page on prompts and rewards of one's own, run as it stands on a tiny model."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import tiny_chat
from takeback import cli

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "your-own.md").read_text(encoding="utf-8")
START = (DOCS / "start" / "own-pair.md").read_text(encoding="utf-8")


def block(language: str, page: str = PAGE, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", page, re.S)[number]


def run(command: str, **places: Path) -> None:
    words = [str(places.get(word, word)) for word in shlex.split(command)]
    told = CliRunner().invoke(cli.app, words)
    assert told.exit_code == 0, (command, told.output, told.exception)


@pytest.mark.slow
def test_the_three_steps_run_as_they_stand(tmp_path, monkeypatch):
    base, tuned = tiny_chat.save_pair(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("prompts.jsonl").write_text(block("json"))
    Path("reward.py").write_text(block("python"))
    Path("mine.yaml").write_text(block("yaml"))
    commands = re.findall(r"^\$ takeback (.*)$", PAGE, re.M)
    assert [one.split()[0] for one in commands[:4]] == ["behaviour", "sweep", "explain", "hybrid"]
    for command in commands[:4]:
        run(command, BASE=base, TUNED=tuned)
    (only,) = Path("mine/pool").glob("*.parquet")
    pool = pd.read_parquet(only)
    assert pool.groupby(["item", "side"]).size().eq(8).all()
    assert {"reward cheerful", "kind", "log base", "log tuned"} <= set(pool)
    effects = pd.read_parquet("mine/effects.parquet")
    assert set(effects["reading"]) <= {"pooled", "drawn"}
    assert Path("mine/explain.html").stat().st_size > 5_000
    assert (Path("mine/hybrid") / "model.safetensors").exists()


@pytest.mark.slow
def test_the_page_of_ten_minutes_runs_as_it_stands(tmp_path, monkeypatch):
    base, tuned = tiny_chat.save_pair(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("prompts.jsonl").write_text(block("json", START))
    Path("reward.py").write_text(block("python", START))
    commands = re.findall(r"^\$ takeback (.*)$", START.replace("\\\n", ""), re.M)
    assert [one.split()[0] for one in commands] == ["diff", "behaviour", "sweep", "explain"]
    for command in commands:
        run(command, BASE=base, TUNED=tuned)
    assert "utility cheerful" in set(pd.read_parquet("mine/effects.parquet")["measure"])
    assert Path("mine/explain.html").stat().st_size > 5_000


@pytest.mark.slow
def test_a_sweep_within_a_time_keeps_its_plan_and_says_what_was_cut(tmp_path, monkeypatch, capsys):
    base, tuned = tiny_chat.save_pair(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("prompts.jsonl").write_text(block("json", START))
    Path("reward.py").write_text(block("python", START))
    asked = "--arena prompts.jsonl --reward reward.py:cheerful --max-tokens 2 --situations 4"

    def told(command: str) -> str:
        monkeypatch.setattr("sys.argv", ["takeback", *shlex.split(command)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert ended.value.code == 0, printed.err
        return printed.out + printed.err

    said = told(f"behaviour {tuned} --against {base} {asked} -o mine")
    assert "are cut off: a larger --max-tokens lets them end" in said
    sweep = f"sweep {base} {tuned} {asked} --budget 20s -o mine/effects.parquet"
    first = told(sweep)
    assert "within the budget" in first
    plan = Path("mine/effects.budget.json").read_bytes()
    effects = Path("mine/effects.parquet").read_bytes()
    told(sweep)
    assert Path("mine/effects.budget.json").read_bytes() == plan
    assert Path("mine/effects.parquet").read_bytes() == effects
    named = f"sweep {base} {tuned} {asked} --sets 'each kind' -o mine/kinds.parquet"
    assert "were read before)" in told(named)
