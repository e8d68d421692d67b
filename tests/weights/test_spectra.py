"""Spectra of a pair: every row equals a dense scipy computation, whatever the family and the sharding."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.stats
import torch
from safetensors.torch import save_file

import models
from takeback.anatomy import Region
from takeback.checkpoint import Pair, open_pair
from takeback.draw.result import section_of
from takeback.run.errors import TakebackError
from takeback.run.parts import Shard, collect_shard
from takeback.weights.spectra.shape import MEASURES, Options
from takeback.weights.spectra.spectra import COLUMNS, Spectra, SpectraWork, spectra

QUICK = Options(decomposed=1)


def saved(name: str, folder: Path, step: float = 0.05) -> Pair:
    """Save a pair whose tuned side is base with a little noise, of which every third tensor has none."""
    model = models.build(name)
    model.save_pretrained(folder / "base")
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.add_(step * torch.randn(parameter.shape, generator=generator) * (number % 3 > 0))
    model.save_pretrained(folder / "tuned")
    return open_pair(folder / "base", folder / "tuned")


def dense(w: np.ndarray, v: np.ndarray) -> dict[str, float]:
    """The slow reference: everything of one matrix but the drawn nulls, by scipy."""
    delta = v - w
    squares = scipy.linalg.svdvals(delta) ** 2
    held, shares = np.cumsum(squares) / squares.sum(), squares / squares.sum()
    left, before, right = scipy.linalg.svd(w, full_matrices=False)
    turned, after, back = scipy.linalg.svd(v, full_matrices=False)
    k = int(np.argmax(np.cumsum(before**2) >= 0.5 * np.sum(before**2))) + 1
    total = (delta**2).sum()
    found = {
        "delta_norm": math.sqrt(total),
        "base_norm": scipy.linalg.norm(w),
        "full_rank": min(w.shape),
        "stable_rank": total / squares[0],
        "entropy_rank": math.exp(scipy.stats.entropy(shares)),
        **{f"k{level}": int(np.argmax(held >= level / 100)) + 1 for level in (50, 90, 99)},
        "leading_rank": k,
        "leading_energy": np.sum(before[:k] ** 2) / np.sum(before**2),
        "gap": 1 - (before[k] / before[k - 1] if k < len(before) else 0),
        "drift": np.sum((after - before) ** 2) / total,
        "drift_leading": np.max(np.abs(after - before)[:k] / before[:k]),
        "share_left": np.sum((left[:, :k].T @ delta) ** 2) / total,
        "share_right": np.sum((delta @ right[:k].T) ** 2) / total,
        "share_both": np.sum((left[:, :k].T @ delta @ right[:k].T) ** 2) / total,
    }
    for side, bases in {"left": (left[:, :k], turned[:, :k]), "right": (right[:k].T, back[:k].T)}.items():
        angles = np.degrees(scipy.linalg.subspace_angles(*bases))
        found |= {f"rotation_{side}_max": angles.max(), f"rotation_{side}_mean": angles.mean()}
        inside = k * (w.shape[1] if side == "left" else w.shape[0]) / 2
        law = scipy.stats.beta(inside, max(w.size / 2 - inside, 1e-300))
        found |= {f"share_{side}_gaussian": law.mean()}
        if w.size / 2 > inside:
            found |= {f"share_{side}_gaussian_low": law.ppf(0.025)}
    return found


@pytest.mark.slow
def test_every_row_equals_the_dense_reference(name: str, tmp_path: Path) -> None:
    pair = saved(name, tmp_path)
    table = spectra(pair, QUICK).table
    assert list(table.columns) == list(COLUMNS)
    expected_rows = 0
    for tensor, shape in pair.tuned.shapes.items():
        rows = table[table["tensor"] == tensor]
        if len(shape) not in (2, 3):
            assert rows.empty
            continue
        parts = [(one, region) for one, region in pair.anatomy().of_tensor(tensor) if region.axis is not None]
        expected_rows += len(rows)
        sides = [side.read(tensor).double().numpy() for side in (pair.base, pair.tuned)]
        for _, row in rows.iterrows():
            if row["role"] == "part":
                assert len(shape) == 2
                size = row["rows"] if row["axis"] == 0 else row["columns"]
                region = Region(tensor, int(row["axis"]), int(row["first"]), int(row["first"] + size))
                assert (row["component"], region) in [(str(one), place) for one, place in parts]
                w, v = (side[region.index] for side in sides)
            else:
                w, v = (side if pd.isna(row["slice"]) else side[int(row["slice"])] for side in sides)
            assert_row(row, w, v)
    assert expected_rows == len(table)


def assert_row(row: pd.Series, w: np.ndarray, v: np.ndarray) -> None:
    assert (row["rows"], row["columns"]) == w.shape
    if np.array_equal(w, v):
        missing = set(MEASURES) - {"delta_norm", "base_norm", "full_rank"}
        assert row["delta_norm"] == 0
        assert row[sorted(missing)].isna().all()
        return
    for column, value in dense(w, v).items():
        assert row[column] == pytest.approx(value, rel=1e-7, abs=1e-9), (row["tensor"], column)
    assert row["drift"] <= 1 + 1e-9
    known = row.drop(["component", "kind", "layer", "index", "slice", "axis", "first"])
    assert known.notna().all()


def test_what_components_own_is_there_once(tmp_path: Path) -> None:
    pair = saved("llama-gqa-biases", tmp_path)
    table = spectra(pair, QUICK).table
    parts = table[(table["role"] == "part") & (table["layer"] == 1)]
    assert sorted(parts["component"]) == sorted(
        ["L1.H0", "L1.H1", "L1.H2", "L1.H3"] * 2 + ["L1.KV0", "L1.KV1"] * 2
    )
    whole = table[(table["role"] == "whole") & (table["layer"] == 1)].set_index("matrix")
    assert whole.loc["mlp.up_proj", "component"] == "L1.MLP"
    assert pd.isna(whole.loc["self_attn.q_proj", "component"])
    assert whole.loc["self_attn.q_proj", "kind"] == "H"


def test_experts_have_a_row_each(tmp_path: Path) -> None:
    table = spectra(saved("mixtral", tmp_path), QUICK).table
    experts = table[table["kind"] == "E"]
    assert len(experts) == 2 * 3 * 3  # layers, matrices and experts, as files hold them
    assert set(experts["component"]) == {f"L{layer}.E{place}" for layer in (0, 1) for place in range(3)}


def test_workers_and_shards_give_the_single_runs_table(tmp_path: Path) -> None:
    pair = saved("llama-mqa", tmp_path)
    single = spectra(pair, QUICK).table
    for index in (2, 1):
        collect_shard(SpectraWork(pair, QUICK), tmp_path / "shards", Shard(index, 2))
    merged = spectra(pair, QUICK, tmp_path / "shards").table
    pd.testing.assert_frame_equal(merged, single, check_exact=True)


def test_zeros_are_missing_and_not_numbers(tmp_path: Path) -> None:
    zeros, noise = torch.zeros(4, 3), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    save_file({"0.weight": zeros, "1.weight": noise[:, :4].T.contiguous()}, tmp_path / "base.safetensors")
    save_file({"0.weight": noise, "1.weight": noise[:, :4].T.contiguous()}, tmp_path / "tuned.safetensors")
    table = spectra(open_pair(tmp_path / "base.safetensors", tmp_path / "tuned.safetensors"), QUICK).table
    fresh, same = (table[table["tensor"] == name].iloc[0] for name in ("0.weight", "1.weight"))
    assert fresh["k90"] > 0
    assert fresh[["leading_rank", "drift", "share_left", "rotation_left_max"]].isna().all()
    assert same[["k90", "drift", "share_left_permuted"]].isna().all()


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    weight = torch.eye(3)
    save_file({"0.weight": weight}, tmp_path / "base.safetensors")
    save_file({"0.weight": weight / 0}, tmp_path / "tuned.safetensors")
    with pytest.raises(TakebackError, match=r"0\.weight holds a value that is not finite"):
        spectra(open_pair(tmp_path / "base.safetensors", tmp_path / "tuned.safetensors"))


def test_large_matrices_are_sketched_and_say_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = torch.from_numpy(rng.standard_normal((60, 50)))
    thin = torch.from_numpy(rng.standard_normal((60, 2)) @ rng.standard_normal((2, 50)))
    save_file({"0.weight": base}, tmp_path / "base.safetensors")
    save_file({"0.weight": base + thin}, tmp_path / "tuned.safetensors")
    pair = open_pair(tmp_path / "base.safetensors", tmp_path / "tuned.safetensors")
    row, truth = (spectra(pair, Options(largest=size, sketched=10)).table.iloc[0] for size in (20, 100))
    assert (row["method"], truth["method"]) == ("sketch", "exact")
    for column in ("k50", "k90", "k99", "stable_rank"):
        assert row[column] == pytest.approx(truth[column])
    assert row[["entropy_rank", "gap", "drift", "rotation_left_max"]].isna().all()
    assert row["leading_rank"] == truth["leading_rank"]
    assert row["share_left"] == pytest.approx(truth["share_left"], rel=0.02)


def test_it_draws_itself_with_its_nulls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = spectra(saved("qwen2", tmp_path), QUICK)
    html = found._repr_html_()
    assert "Gaussian" in html
    assert "self_attn.q_proj" in html
    found.print()
    assert "permuted" in capsys.readouterr().out
    assert len(found.tables["spectra"]) == len(found.table)
    nothing = Spectra("a → b", QUICK, found.table.assign(delta_norm=0.0))
    assert section_of(nothing).words == ("No matrix changed.",)


@pytest.mark.parametrize(
    ("base", "tuned"), [("zeros", "zeros"), ("zeros", "noise"), ("noise", "zeros"), ("zeros", "few")]
)
def test_all_zeros_are_shown(base: str, tuned: str, tmp_path: Path) -> None:
    noise = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    sides = {"zeros": torch.zeros(6, 5), "noise": noise, "few": torch.eye(6, 5)}
    for side, name in (("base", base), ("tuned", tuned)):
        save_file({"0.weight": sides[name]}, tmp_path / f"{side}.safetensors")
    found = spectra(open_pair(tmp_path / "base.safetensors", tmp_path / "tuned.safetensors"))
    words, row = " ".join(section_of(found).words), found.table.iloc[0]
    assert found._repr_html_()
    assert ("zero in base" in words) == (base == "zeros" != tuned)
    if tuned == "zeros" != base:  # all singular values are gone: Σσ² over ‖Δ‖²
        assert row["drift"] == pytest.approx(1)
        assert pd.isna(row["rotation_left_max"])
