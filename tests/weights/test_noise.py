"""What stands out from noise: planted changes, and how often noise alone is called more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import models
from takeback.checkpoint import Pair, open_pair
from takeback.draw.result import section_of
from takeback.weights.circuits import circuits
from takeback.weights.entries import diff
from takeback.weights.noise import noise_of

SEEDS = 2000


@pytest.mark.parametrize(
    "counts", [np.full(40, 1000), np.array([64] * 10 + [20_000] * 30 + [10**7]), np.array([3, 40, 10**9])]
)
def test_noise_alone_stands_out_as_rarely_as_it_is_said(counts: np.ndarray) -> None:
    found = 0
    for seed in range(SEEDS):
        noise = noise_of(np.random.default_rng(seed).chisquare(counts), counts)
        assert noise is not None
        found += not noise.plain
    assert found <= 0.01 * SEEDS + 3 * (0.01 * 0.99 * SEEDS) ** 0.5  # three standard errors over the level


def test_a_part_above_noise_is_found_and_no_other() -> None:
    counts = np.full(40, 1000)
    hits = 0
    for seed in range(200):
        squares = np.random.default_rng(seed).chisquare(counts)
        squares[7] *= 1.5
        noise = noise_of(squares, counts)
        assert noise is not None
        hits += noise.above.tolist() == [place == 7 for place in range(40)] and not noise.below.any()
    assert hits >= 196


def test_parts_of_all_sizes_are_no_noise_of_one() -> None:
    assert noise_of(np.logspace(0, 11, 12).astype(np.float64), np.full(12, 1000)) is None
    assert noise_of(np.zeros(12), np.full(12, 1000)) is None


Change = Callable[[str, torch.Tensor, torch.Generator], torch.Tensor]


def planted(folder: Path, change: Change, dtype: torch.dtype = torch.float32, seed: int = 0) -> Pair:
    """Save a model, and it with each tensor changed, stored in a type."""
    model = models.build("llama-gqa-biases")
    model.save_pretrained(folder / "base")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(change(name, parameter, generator))
    model.type(dtype).save_pretrained(folder / "tuned")
    return open_pair(folder / "base", folder / "tuned")


def noise(_: str, weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return weight + 1e-4 * torch.randn(weight.shape, generator=generator)


def head(name: str, weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Equal noise, and five times as much in head 2 of layer 1."""
    changed = noise(name, weight, generator)
    if name == "model.layers.1.self_attn.q_proj.weight":
        width = len(weight) // 4
        changed[2 * width : 3 * width] += 5e-4 * torch.randn(width, weight.shape[1], generator=generator)
    return changed


def cast(_: str, weight: torch.Tensor, __: torch.Generator) -> torch.Tensor:
    return weight.bfloat16()


def halved(_: str, weight: torch.Tensor, __: torch.Generator) -> torch.Tensor:
    """Cast to float16, with weights among those that it holds with fewer digits."""
    return weight.half()


def sparse(name: str, weight: torch.Tensor, _: torch.Generator) -> torch.Tensor:
    """Move three entries of head 0 of layer 1 by two steps of bfloat16, on top of the cast."""
    changed = weight.bfloat16()
    return _three_moved(name, changed)


def sparse_half(name: str, weight: torch.Tensor, _: torch.Generator) -> torch.Tensor:
    return _three_moved(name, weight.half())


def _three_moved(name: str, changed: torch.Tensor) -> torch.Tensor:
    if name == "model.layers.1.self_attn.q_proj.weight":
        changed[0, :3] *= 1.03125
    return changed


def words_of(pair: Pair) -> tuple[str, str]:
    return tuple(" ".join(section_of(found).words) for found in (diff(pair), circuits(pair)))  # type: ignore[return-value]


def test_equal_noise_is_called_noise(tmp_path: Path) -> None:
    said = [words_of(planted(tmp_path / str(seed), noise, seed=seed)) for seed in range(5)]
    assert all("Nothing stands out from noise of this size" in entries for entries, _ in said)
    assert all("No head stands out from noise" in heads and "Spearman" not in heads for _, heads in said)
    sigmas = [float(entries.split("σ = ")[1].split()[0]) for entries, _ in said]
    assert sigmas == pytest.approx([1e-4] * 5, rel=0.05)


def test_one_head_above_noise_is_named_alone(tmp_path: Path) -> None:
    entries, heads = words_of(planted(tmp_path, head))
    assert "Beyond it, more: L1.H2." in entries
    assert ": L1.H2." in heads
    assert "Most changed" in heads
    assert "Spearman" not in heads


@pytest.mark.parametrize(("change", "dtype"), [(cast, torch.bfloat16), (halved, torch.float16)])
def test_a_cast_is_called_a_cast(tmp_path: Path, change: Change, dtype: torch.dtype) -> None:
    entries, heads = words_of(planted(tmp_path, change, dtype))
    assert f"All of it is the cast to {str(dtype).removeprefix('torch.')}" in entries
    assert "All of it is a cast to 16 bits" in heads


@pytest.mark.parametrize(("change", "dtype"), [(sparse, torch.bfloat16), (sparse_half, torch.float16)])
def test_a_sparse_change_on_top_of_a_cast_is_told_from_it(
    tmp_path: Path, change: Change, dtype: torch.dtype
) -> None:
    entries, heads = words_of(planted(tmp_path, change, dtype))
    assert "in all but 3 entries; those are the change that is no cast, in L1.H0." in entries
    assert "All but L1.H0 are base's, rounded to 16 bits." in heads


def test_heads_of_all_sizes_are_not_called_above_noise(tmp_path: Path) -> None:
    """Each head moves by another size: no noise of one size explains them, so that none is "above" it."""

    def scaled(name: str, weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        changed = weight.clone()
        if name.endswith("q_proj.weight"):
            step = torch.randn(weight.shape, generator=generator).reshape(4, -1)
            sizes = 10.0 ** (-torch.arange(4.0) - 4 * ("layers.1" in name) / 8)
            changed += (1e-2 * sizes[:, None] * step).reshape(weight.shape)
        return changed

    _, heads = words_of(planted(tmp_path, scaled))
    assert "noise of one size explains no heads" in heads
    assert "above noise" not in heads
    assert "Raw and invariant change of 8 heads have a Spearman correlation" in heads
