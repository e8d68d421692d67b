"""Published definitions: the same digits as straightforward code gives on loaded Hugging Face models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import transformers
from safetensors.torch import save_file

import models
from takeback.checkpoint import Pair, open_pair
from takeback.run.parts import Shard, collect_shard
from takeback.run.tables import records
from takeback.weights.published.definitions import LAYERWISE, RANK_1, SPARSITY, TOLERANT, UPDATE_RANK
from takeback.weights.published.published import (
    COLUMNS,
    Published,
    PublishedWork,
    matrix_rank,
    published,
)


def save_sparse(name: str, folder: Path) -> tuple[Path, Path]:
    """Save a pair of which many entries move by less than bfloat16 sees, some by a step, some by much."""
    model = models.build(name)
    model.save_pretrained(folder / "base")
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            sizes = 10.0 ** -torch.randint(1, 7, parameter.shape, generator=generator).float()
            small = torch.where(torch.rand(parameter.shape, generator=generator) < 0.3, 1e-3, 1.0)
            parameter.mul_(small)
            parameter.add_(parameter * sizes * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder / "tuned")
    return folder / "base", folder / "tuned"


def by_definition(base: Path | str, tuned: Path | str) -> dict[tuple[str, str], float]:
    """The definitions on whole models in memory: loaded in bfloat16, subtracted there, joined, counted."""
    loaded = [
        transformers.AutoModelForCausalLM.from_pretrained(side, dtype=torch.bfloat16)
        for side in (base, tuned)
    ]
    before, after = (model.state_dict() for model in loaded)
    deltas = {name: after[name] - before[name] for name, _ in loaded[0].named_parameters()}
    joined = torch.cat([delta.reshape(-1) for delta in deltas.values()])
    near = torch.isclose(joined, torch.zeros_like(joined), atol=1e-5)
    found = {
        (SPARSITY, "whole"): (joined == 0).sum().item() / len(joined),
        (TOLERANT, "whole"): near.sum().item() / joined.numel(),
    }
    layers: dict[str, list[float]] = {}
    for name, delta in deltas.items():
        if name.startswith("model.layers"):
            layers.setdefault(name.split(".")[2], []).append((delta != 0).sum().item() / delta.numel())
    found |= {(LAYERWISE, f"layer {layer}"): sum(each) / len(each) for layer, each in layers.items()}
    matrices = [
        matrix
        for name, delta in deltas.items()
        if "layernorm" not in name and delta.ndim > 1
        for matrix in (delta if delta.ndim == 3 else [delta])
    ]
    ranks: Any = [torch.linalg.matrix_rank(matrix.float()) / min(matrix.shape) for matrix in matrices]
    return found | {(UPDATE_RANK, "whole"): (sum(ranks) / len(ranks)).item()}


def values(found: Published) -> dict[tuple[str, str], float]:
    rows = found.table.itertuples()
    return {(row.definition, row.scope): row.value for row in rows if row.definition != RANK_1}


def test_the_same_digits_as_on_loaded_models(name: str, tmp_path: Path) -> None:
    base, tuned = save_sparse(name, tmp_path)
    found = published(open_pair(base, tuned))
    assert list(found.table.columns) == list(COLUMNS)
    assert values(found) == by_definition(base, tuned)


@pytest.mark.slow
def test_the_same_digits_on_models_that_play(players: tuple[str, str]) -> None:
    assert values(published(open_pair(*players))) == by_definition(*players)


def row(found: Published, definition: str) -> Any:
    return found.table[found.table["definition"] == definition].iloc[0]


def nudged(folder: Path, delta: torch.Tensor) -> Pair:
    """Save a pair that differs by `delta` in one matrix of 16 × 24."""
    model = models.build("llama-mha")
    model.save_pretrained(folder / "base")
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.add_(delta)
    model.save_pretrained(folder / "tuned")
    return open_pair(folder / "base", folder / "tuned")


def test_our_numbers_are_told_beside(tmp_path: Path) -> None:
    delta = torch.zeros(16, 24)
    delta[0, 0], delta[1, 1] = 3.0, 1.0
    found = published(nudged(tmp_path, delta))
    total = int(found.tensors["parameters"].sum())
    assert row(found, SPARSITY)["ours"] == pytest.approx(1 - 2 / total)
    assert row(found, UPDATE_RANK)["ours"] == pytest.approx(1 / 16)
    assert row(found, RANK_1)["value"] == pytest.approx(0.9**0.5, rel=1e-6)
    assert row(found, RANK_1)["ours"] == pytest.approx(0.9, rel=1e-6)
    assert "0.0% of ‖Δ‖²" in row(found, RANK_1)["hides"]


def test_scattered_rounded_steps_are_called_full_rank(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    strong = torch.randn(16, 1, generator=generator) @ torch.randn(1, 24, generator=generator)
    noise = 0.01 * torch.randn(16, 24, generator=generator)
    tensors = published(nudged(tmp_path, strong + noise)).tensors
    moved = tensors[tensors["square"] > 0].iloc[0]
    assert moved["rank"] == 16
    assert moved["k90"] == 1
    assert moved["stable_rank"] < 1.1


def test_nothing_changed_has_no_ranks(tmp_path: Path) -> None:
    found = published(nudged(tmp_path, torch.zeros(16, 24)))
    assert row(found, SPARSITY)["value"] == 1
    assert row(found, UPDATE_RANK)["value"] == 0
    assert found.table[found.table["definition"].isin([RANK_1])]["value"].isna().all()


def test_shards_give_the_single_runs_table(tmp_path: Path) -> None:
    pair = open_pair(*save_sparse("qwen3", tmp_path))
    for index in (2, 1):
        collect_shard(PublishedWork(pair), tmp_path / "parts", Shard(index, 2))
    assert values(published(pair, tmp_path / "parts")) == values(published(pair))


def test_it_draws_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = published(open_pair(*save_sparse("qwen2", tmp_path)))
    assert "arXiv 2505.11711" in found._repr_html_()
    found.print()
    assert "update rank" in capsys.readouterr().out
    assert records(found.tables["published"])[0]["definition"] == SPARSITY


@pytest.mark.parametrize("smallest", [0.0, 1e-9, 1e-5, 4.7e-6, 1e-3])
def test_ranks_are_those_of_torch(smallest: float) -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(40, 40, generator=generator))[0] for _ in range(2))
    values = torch.cat([torch.ones(30), torch.full((10,), smallest)])
    for matrix in (left @ torch.diag(values) @ right, torch.zeros(3, 2), torch.full((4, 4), 1e-30)):
        assert matrix_rank(matrix) == int(torch.linalg.matrix_rank(matrix))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8_is_compared_exactly(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = [torch.randn(16, 12, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    for kind in (dtype, torch.bfloat16):
        for side, tensor in zip(("base", "tuned"), tensors, strict=True):
            save_file({"0.weight": tensor.to(dtype).to(kind)}, tmp_path / f"{side}-{kind}.safetensors")
    stored, wide = (
        published(open_pair(*(tmp_path / f"{side}-{kind}.safetensors" for side in ("base", "tuned")))).tensors
        for kind in (dtype, torch.bfloat16)
    )
    assert stored.equals(wide)


def test_a_pair_stored_in_double_precision_has_the_numbers_of_one_in_single(tmp_path: Path) -> None:
    sides = save_sparse("llama-mqa", tmp_path)
    doubled = []
    for side in sides:
        model = transformers.AutoModelForCausalLM.from_pretrained(side, dtype=torch.float64)
        model.save_pretrained(tmp_path / f"{side.name}-double")
        doubled.append(tmp_path / f"{side.name}-double")
    one, other = (published(open_pair(*pair)).tensors for pair in (sides, doubled))
    pd.testing.assert_frame_equal(one, other)
