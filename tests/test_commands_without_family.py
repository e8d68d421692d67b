"""Commands that read behaviour, on a type that no family has, on a stream's steps and a trainer's run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import transformers
from typer.testing import CliRunner

import models
import tiny_answers
from takeback.cli import app

SIZES: dict[str, Any] = {
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": len(tiny_answers.WORDS),
    "max_position_embeddings": 16,
    "bos_token_id": 0,
    "eos_token_id": tiny_answers.END,
    "pad_token_id": None,
}
DOWN = "T:model.layers.0.mlp.down_proj.weight"


def told(*words: object) -> str:
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code == 0, (found.output, found.exception)
    return found.output


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a pair with prompts, of which the models are then of another type."""
    monkeypatch.chdir(tmp_path)
    tiny_answers.save_pair(tmp_path, prompts=12)
    settings = "max_tokens: 3\nanswers: 4\nheld_out: 0.7\n"
    Path("mine.yaml").write_text(f"data: prompts.jsonl\nrewards: ['reward.py:good']\n{settings}")
    return tmp_path


def save_without_family() -> None:
    for seed, name in enumerate(("base", "tuned")):
        model = transformers.AutoModelForCausalLM.from_config(transformers.DiffLlamaConfig(**SIZES)).eval()
        models.randomised(model, 0)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for one in model.parameters():
                one.add_(0.1 * seed * one.std() * torch.randn(one.shape, generator=generator))
        (Path(name) / "model.safetensors").unlink()
        model.save_pretrained(name)


pytestmark = pytest.mark.filterwarnings("ignore:hybrids of DiffLlamaForCausalLM run one by one")
ASKED = ("--arena", "mine.yaml", "--situations", 8)


@pytest.mark.slow
def test_behaviour_and_sweep_take_tensors_and_layers(place: Path) -> None:
    save_without_family()
    assert "utility good" in told("behaviour", "tuned", "--against", "base", *ASKED, "-o", "b")
    sets = ("--sets", "each layer", "--sets", DOWN, "--controls", 1)
    told("sweep", "base", "tuned", *ASKED, *sets, "-o", "e.parquet")
    assert {"L0", "L1", DOWN} <= set(pd.read_parquet("e.parquet")["set"])


@pytest.mark.slow
def test_a_budget_is_spent_on_the_tensors_that_gradients_choose(place: Path) -> None:
    """Such a model takes no trees of tokens: sets are chosen by gradients of weights, without intervals."""
    save_without_family()
    told("sweep", "base", "tuned", *ASKED, "--controls", 1, "--budget", 118, "-o", "e.parquet")
    estimated = pd.read_parquet("e.estimated.parquet")
    assert estimated["effect"].notna().all()
    assert estimated["low"].isna().all()
    first = estimated[estimated["measure"] == estimated["measure"].iloc[0]]
    read = set(pd.read_parquet("e.strongest.parquet")["set"])
    strongest = first.loc[first["effect"].abs().idxmax(), "set"]
    assert strongest in read
    assert 0 < first["read"].sum() < len(first)


@pytest.mark.slow
def test_a_study_trains_and_takes_back_what_no_family_has(place: Path) -> None:
    save_without_family()
    arena = "{data: prompts.jsonl, rewards: ['reward.py:good'], max_tokens: 3, answers: 4, held_out: 0.7}"
    arm = "{method: rl, goal: good, steps: 2, learning_rate: 1.0e-2, prompts: 4, completions: 4, kl: 0.01}"
    Path("plan.yaml").write_text(
        f"name: mine\nbase: base\nseeds: [0]\nsituations: 8\narms: {{rl: {arm}}}\narena: {arena}\n"
        "sets: [each layer]\ncontrols: 1\n"
    )
    told("study", "run", "plan.yaml", "-o", "run", "--workers", 1)
    assert Path("run/report.html").exists()
    swept = [pd.read_parquet(file) for file in Path("run/effects").glob("*.parquet")]
    assert any("set" in table and {"L0", "L1"} <= set(table["set"]) for table in swept)


def save_run() -> None:
    """Save a base in bfloat16 and a Trainer's run that changes a few entries at each step."""
    model = tiny_answers.model().to(torch.bfloat16)
    without = shutil.ignore_patterns("model*")
    shutil.copytree("base", "start", ignore=without)
    model.save_pretrained("start")
    generator = torch.Generator().manual_seed(3)
    for step in (10, 20):
        for one in model.parameters():
            chosen = torch.rand(one.shape, generator=generator) < 0.05
            one.data = torch.where(chosen, one.data + 0.125, one.data)
        shutil.copytree("base", f"run/checkpoint-{step}", ignore=without)
        model.save_pretrained(f"run/checkpoint-{step}")


@pytest.mark.slow
def test_steps_of_a_stream_are_read_as_their_checkpoints_are(place: Path) -> None:
    save_run()
    told("pack", "run", "--base", "start", "-o", "packed")
    sets = ("--sets", "each layer", "--controls", 1)
    for name, pair in (
        ("packed", ("packed@step=0", "packed@step=20")),
        ("run", ("start", "run/checkpoint-20")),
    ):
        assert "utility good" in told("behaviour", pair[1], "--against", pair[0], *ASKED, "-o", f"{name}-b")
        told("sweep", *pair, *ASKED, *sets, "-o", f"{name}.parquet")
        told("sweep", *pair, *ASKED, "--controls", 1, "--budget", 45, "-o", f"{name}-few.parquet")
    for file in (".parquet", "-few.parquet", "-few.strongest.parquet"):
        one, other = (pd.read_parquet(f"{name}{file}") for name in ("packed", "run"))
        pd.testing.assert_frame_equal(one, other)


@pytest.mark.slow
def test_a_course_is_the_same_over_a_run_a_stream_and_folders_of_verl(place: Path) -> None:
    save_run()
    told("pack", "run", "--base", "start", "-o", "packed")
    for step in (10, 20):
        shutil.copytree(f"run/checkpoint-{step}", f"verl/global_step_{step}/actor/huggingface")
    Path("verl/latest_checkpointed_iteration.txt").write_text("20")
    asked = (*ASKED, "--goal", "good", "--sets", "each layer")
    for name in ("run", "packed", "verl"):
        told("course", "start", name, *asked, "-o", f"{name}-course")
    tables = [
        {file.name: pd.read_parquet(file) for file in Path(f"{name}-course").glob("*.parquet")}
        for name in ("run", "packed", "verl")
    ]
    assert len(tables[0]["course.parquet"]) >= 3
    for other in tables[1:]:
        assert other.keys() == tables[0].keys()
        for file, table in other.items():
            pd.testing.assert_frame_equal(table, tables[0][file])
