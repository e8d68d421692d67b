"""A study on a user's own rows: arms that learn a reward, by chance and in an adapter, to the report."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import tiny_chat
from takeback.report import run_plan
from takeback.study.plan import check_plan

REWARD = """
def vowels(completions, **_):
    texts = [one[0]["content"] for one in completions]
    return [sum(letter in "aeiou" for letter in text) / max(1, len(text)) for text in texts]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    tiny_chat.save_pair(folder)
    (folder / "own.py").write_text(REWARD)
    rows = ({"prompt": f"what is {number} and two"} for number in range(12))
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arena = {"data": f"{folder}/rows.jsonl", "chat": True, "held_out": 0.5, "max_tokens": 4, "answers": 2}
    arm = {
        "method": "rl",
        "goal": "vowels",
        "prompts": 2,
        "completions": 2,
        "steps": 2,
        "learning_rate": 1e-2,
    }
    plan = {
        "name": "rows",
        "base": f"{folder}/base",
        "arena": {**arena, "rewards": [f"{folder}/own.py:vowels"]},
        "seeds": [0, 1],
        "situations": 6,
        "controls": 1,
        "sets": ["each layer"],
        "localise_situations": 4,
        "arms": {"rl": {**arm, "lora": {"rank": 2}}, "chance": {**arm, "ignore_output": True}},
        "contrasts": {"reward": {"rl": 1, "chance": -1}},
    }
    run_plan(check_plan(plan), folder / "run")
    return folder / "run"


@pytest.mark.slow
def test_a_study_of_rows_has_its_tables_its_report_and_contrasts(run):
    for arm in ("rl", "chance"):
        for seed in (0, 1):
            final = run / "arms" / arm / f"seed-{seed}" / "final"
            assert (final / "adapter_config.json").exists() == (arm == "rl")
    effects = pd.concat(map(pd.read_parquet, (run / "effects").glob("*.parquet")))
    assert {"utility vowels"} <= set(effects["measure"])
    assert set(zip(effects["arm"], effects["seed"], strict=True)) == {
        (arm, seed) for arm in ("rl", "chance") for seed in (0, 1)
    }
    contrasts = pd.read_parquet(run / "contrasts.parquet")
    assert "reward" in set(contrasts["contrast"])
    page = (run / "report.html").read_text()
    assert "a LoRA of rank 2" in page
    assert "a reward that ignores the answer" in page
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["arms"]["rl"]["logs"] == "the reward as it is"
