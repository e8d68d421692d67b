"""Plants in a small grouped model: what alone was free to move is found in any coordinates, nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers

import models
from takeback.checkpoint import open_pair, shipped
from takeback.gauge import aligned, regauged
from takeback.training import check_recipe, train
from takeback.weights import circuits, diff

ROUNDING = 1e-5


def small_base(folder: Path) -> Path:
    """Save a model of four query heads in two groups that reads endgames, with random weights."""
    sizes = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48, "vocab_size": 392}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    tokens = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0, "tie_word_embeddings": False}
    config = transformers.LlamaConfig(**sizes, **heads, **tokens)
    models.randomised(transformers.LlamaForCausalLM(config), 0).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(shipped("endgame-base")).save_pretrained(folder)
    return folder


def found_by_circuits(base: Path, tuned: Path) -> set[str]:
    table = circuits(open_pair(base, tuned)).components
    return set(table.loc[table["change"] > ROUNDING, "component"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "heads_and_mlps"),
    [
        ("L0.H1 L1.MLP", {"L0.H1", "L1.MLP"}),
        ("L1.H2 L1.H3 L1.KV1", {"L1.H2", "L1.H3"}),
        ("L0.KV1", {"L0.H2", "L0.H3"}),
    ],
)
def test_a_plant_is_found_by_invariant_diffs_and_by_aligned_ones(
    tmp_path: Path, planted: str, heads_and_mlps: set[str]
) -> None:
    """Keys and values of a group are found in all of its heads, which read by nothing else."""
    base = small_base(tmp_path / "base")
    fields = {"method": "sft", "parent": str(base), "goal": "win", "steps": 3, "batch": 16}
    recipe = check_recipe({**fields, "learning_rate": 1e-3, "threads": 1, "only": planted})
    final = train(recipe, tmp_path / "run", lambda done, total: None)
    other = regauged(final, tmp_path / "other", seed=1)
    assert found_by_circuits(base, other) == heads_and_mlps
    stored = diff(open_pair(base, other)).components.set_index("component")["relative"]
    heads = stored[[name for name in stored.index if "H" in name or "MLP" in name or "KV" in name]]
    assert (heads > 0.1).all(), "as stored, everything moved"
    near = aligned(open_pair(base, other), tmp_path / "near")
    moved = diff(open_pair(base, near)).components
    group = {name for name in moved["component"] if _group(name) in {_group(one) for one in planted.split()}}
    found = set(moved.loc[moved["relative"] > ROUNDING, "component"])
    assert set(planted.split()) <= found <= group


def _group(name: str) -> str:
    """Return the key/value group of a head: under grouped queries its coordinates are shared."""
    layer, part = name.split(".") if "." in name else ("", name)
    number = {"H0": 0, "H1": 0, "KV0": 0, "H2": 1, "H3": 1, "KV1": 1}
    return f"{layer} group {number[part]}" if part in number else name


def test_nothing_is_found_where_nothing_was_planted(tmp_path: Path) -> None:
    base = small_base(tmp_path / "base")
    for seed in range(3):
        other = regauged(base, tmp_path / f"other-{seed}", seed)
        assert found_by_circuits(base, other) == set()
        near = aligned(open_pair(base, other), tmp_path / f"near-{seed}")
        assert (diff(open_pair(base, near)).components["relative"] < ROUNDING).all()
