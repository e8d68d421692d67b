"""Rank-k models: equal to the formula on dense matrices, and written like any hybrid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch

import models
from takeback.checkpoint import Pair, open_checkpoint, open_pair
from takeback.hybrid import hybrid, write_hybrid
from takeback.run.errors import TakebackError
from takeback.weights.published.lowrank import RankK, rank_k
from takeback.weights.spectra import directions as directions_module
from takeback.weights.spectra.shape import Options


def pair_of(name: str, folder: Path, dtype: torch.dtype = torch.float32) -> Pair:
    return open_pair(*models.save_pair(name, folder, dtype))


def by_formula(pair: Pair, tensor: str, k: int, rescale: bool) -> np.ndarray:
    """W + (‖Δ‖ / ‖Δ_k‖) Δ_k in float64."""
    base, tuned = (side.read(tensor).double().numpy() for side in (pair.base, pair.tuned))
    left, values, right = scipy.linalg.svd(tuned - base, full_matrices=False)
    part = left[:, :k] * values[:k] @ right[:k]
    return base + (scipy.linalg.norm(tuned - base) / scipy.linalg.norm(part) if rescale else 1) * part


@pytest.mark.slow
def test_the_formula_in_every_family(name: str, tmp_path: Path) -> None:
    pair = pair_of(name, tmp_path)
    for rescale in (True, False):
        made = rank_k(pair, 2, rescale=rescale)
        changed = {str(tensor) for tensor in made.table["tensor"]}
        assert changed.isdisjoint(made.left_alone)
        assert changed | set(made.left_alone) == set(pair.base.shapes)
        for tensor in made.left_alone:
            assert torch.equal(made.read(tensor), pair.base.read(tensor))
            inside = any(one.layer is not None for one, _ in made.anatomy().of_tensor(tensor))
            assert len(pair.base.shapes[tensor]) == 1 or not inside
        for tensor in changed:
            found = made.read(tensor).double().numpy()
            assert found == pytest.approx(by_formula(pair, tensor, 2, rescale), rel=1e-4, abs=1e-5)


def test_as_published_each_factor_is_rounded_first(tmp_path: Path) -> None:
    pair = pair_of("llama-mha", tmp_path, torch.bfloat16)
    made, name = rank_k(pair, 1, cast=True), "model.layers.0.mlp.up_proj.weight"
    base, tuned = pair.base.read(name), pair.tuned.read(name)
    u, s, vt = (
        part.bfloat16() for part in torch.linalg.svd((tuned.double() - base.double()), full_matrices=False)
    )
    part = u[:, :1] @ torch.diag(s[:1]) @ vt[:1, :]
    ratio = torch.norm(u @ torch.diag(s) @ vt) / torch.norm(part)
    assert torch.equal(made.read(name), base + 1 * ratio * part)
    assert not torch.equal(made.read(name), rank_k(pair, 1).read(name))


def test_full_rank_is_tuned_and_alpha_scales(tmp_path: Path) -> None:
    pair, name = pair_of("qwen2", tmp_path), "model.layers.1.self_attn.o_proj.weight"
    base, tuned = pair.base.read(name), pair.tuned.read(name)
    torch.testing.assert_close(rank_k(pair, 100).read(name), tuned, atol=1e-5, rtol=1e-5)
    half = rank_k(pair, 100, alpha=0.5).read(name)
    torch.testing.assert_close(half, base + 0.5 * (tuned - base), atol=1e-5, rtol=1e-5)


def test_the_table_tells_what_is_kept_and_what_rescaling_multiplies(tmp_path: Path) -> None:
    pair = pair_of("gpt2", tmp_path)
    table = rank_k(pair, 3).table.set_index("tensor")
    for name, row in table.iterrows():
        delta = (pair.tuned.read(str(name)).double() - pair.base.read(str(name)).double()).numpy()
        values = scipy.linalg.svdvals(delta)
        assert row["kept"] == pytest.approx((values[:3] ** 2).sum() / (values**2).sum())
        assert row["factor"] == pytest.approx(row["kept"] ** -0.5)
        assert row["delta_norm"] == pytest.approx(scipy.linalg.norm(delta))
    assert (rank_k(pair, 3, rescale=False).table["factor"] == 1).all()


def test_it_is_written_as_an_ordinary_model(tmp_path: Path) -> None:
    pair = pair_of("llama-gqa-biases", tmp_path)
    made = rank_k(pair, 1)
    out = write_hybrid(hybrid(pair, pair.anatomy().universe, source=made), tmp_path / "out")
    written = open_checkpoint(out)
    assert written.digest == made.digest
    assert made.ref in (out / "README.md").read_text(encoding="utf-8")
    name = "model.layers.0.self_attn.q_proj.bias"
    assert torch.equal(written.read(name), pair.base.read(name))


def test_what_did_not_change_stays_and_has_no_share(tmp_path: Path) -> None:
    base, _ = models.save_pair("mistral", tmp_path)
    same = open_pair(base, base)
    made, name = rank_k(same, 1), "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(made.read(name), same.base.read(name))
    assert made.table["kept"].isna().all()


def test_large_matrices_keep_nearly_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = pair_of("llama-mha", tmp_path)
    best = rank_k(pair, 2).table["kept"]
    monkeypatch.setattr(directions_module, "_OVERSAMPLED", 4)
    monkeypatch.setattr(Options, "largest", 8)
    found = rank_k(pair, 2).table["kept"]
    assert (found <= best + 1e-9).all()
    assert found.to_numpy(float) == pytest.approx(best.to_numpy(float), rel=1e-3)


def test_rank_0_is_refused(tmp_path: Path) -> None:
    pair = pair_of("llama-mha", tmp_path)
    with pytest.raises(TakebackError, match="k is 1 or more"):
        rank_k(pair, 0)
    assert isinstance(rank_k(pair, 1), RankK)
