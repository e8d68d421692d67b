"""A study on prompts of one's own: two arms, two seeds, its report and contrasts."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import tiny_chat
from takeback.report import run_plan
from takeback.study.plan import load_plan

OWN = """
def vowels(completions, **_):
    \"\"\"The share of vowels.\"\"\"
    texts = [one[0]["content"] for one in completions]
    return [sum(letter in "aeiou" for letter in text) / max(1, len(text)) for text in texts]
"""
PLAN = """
name: tiny rows
base: {folder}/base
arena: "rows:{{data: {folder}/rows.jsonl, chat: true, rewards: ['{folder}/own.py:vowels'], held_out: 0.5,
  max_tokens: 5, answers: 4, cluster: group}}"
seeds: [0, 1]
situations: 8
localise_situations: 8
controls: 2
sets: ["each layer", "each kind"]
arms:
  rl: {{method: rl, goal: vowels, steps: 2, learning_rate: 0.003, prompts: 2, completions: 4}}
  sft: {{method: sft, goal: vowels, steps: 2, learning_rate: 0.003, batch: 4}}
localise: {{rl: [shares]}}
contrasts:
  agency: {{rl: 1, sft: -1}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    tiny_chat.save_pair(folder)
    (folder / "own.py").write_text(OWN)
    rows = [{"prompt": f"what is {a} and {b}", "group": a} for a in range(6) for b in range(3)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "plan.yaml").write_text(PLAN.format(folder=folder))
    return run_plan(load_plan(folder / "plan.yaml"), folder / "run").parent


@pytest.mark.slow
def test_a_study_has_its_report_and_contrasts(run):
    page = (run / "report.html").read_text()
    assert "vowels" in page
    assert "legal" not in page.split("How it was made")[0].split("<body")[1][:20_000]
    contrasts = pd.read_parquet(run / "contrasts.parquet")
    assert set(contrasts["contrast"]) == {"agency"}
    assert contrasts["estimate"].notna().any()


@pytest.mark.slow
def test_each_arm_and_seed_has_a_pool_of_its_own_held_out(run):
    pools = [pd.read_parquet(path) for path in (run / "pool").glob("*.parquet")]
    assert len(pools) == 5  # base alone, and each of two arms with two seeds
    for pool in pools:
        sides = pool.groupby(["item", "side"]).size()
        assert set(sides) == {4}
    trained = {
        item
        for path in run.glob("arms/*/*/completions/*.parquet")
        for item in pd.read_parquet(path)["situation"]
    }
    assert trained
    asked = {situation for pool in pools for situation in pool["situation"]}
    assert not {str(one) for one in trained} & asked
