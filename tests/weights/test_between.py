"""Between runs: equal to everything at once in numpy, at every level; controls; shards; bad input."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

import models
from fine_tunes_by_hand import compare, pieces, save_fine_tunes, subspaces
from takeback.checkpoint import PairMismatch, open_checkpoint
from takeback.draw.page import page
from takeback.draw.result import section_of
from takeback.run.errors import TakebackError, UnknownName
from takeback.run.parts import Shard, collect, collect_shard
from takeback.weights.runs import fine_tunes as fine_tunes_module
from takeback.weights.runs.between import COLUMNS, Between, between
from takeback.weights.runs.comparison import BetweenWork
from takeback.weights.runs.fine_tunes import Label, open_fine_tunes
from takeback.weights.runs.similarity import PERMUTED

pytestmark = pytest.mark.slow


def row_of(found: Between, scope: str, i: int = 0, j: int = 1, relation: str = "pair") -> pd.Series:
    one, other = found.labels[i].name, found.labels[j].name
    keys = {"scope": scope, "i": one, "j": other, "relation": relation}
    rows = found.table[(found.table[list(keys)] == pd.Series(keys)).all(axis=1)]
    assert len(rows) == 1
    return rows.iloc[0]


def assert_row(row: pd.Series, expected: dict[str, float]) -> None:
    for name, value in expected.items():
        if math.isfinite(value):
            assert row[name] == pytest.approx(value, rel=1e-8, abs=1e-10), (row["scope"], name)
        else:
            assert row[name] is pd.NA, (row["scope"], name)


def test_every_level_equals_the_dense_reference(name: str, tmp_path: Path) -> None:
    tuned = save_fine_tunes(name, tmp_path, 2, torch.bfloat16 if name in ("qwen2", "gpt2") else torch.float32)
    found = between(tmp_path / "base", tuned)
    everything = list(pieces(tmp_path / "base", tuned))
    assert set(COLUMNS) < set(found.table.columns)
    tensor = everything[0][0]
    scopes = {
        "all": everything,
        "L1": [piece for piece in everything if piece[1].startswith("L1.")],
        tensor: [piece for piece in everything if piece[0] == tensor],
    }
    components = dict.fromkeys(piece[1] for piece in everything)
    for component in components if name in ("gpt2", "llama-gqa-biases") else ("L0.H1", "EMBED"):
        scopes[component] = [piece for piece in everything if piece[1] == component]
    for scope, chosen in scopes.items():
        assert_row(row_of(found, scope), compare(chosen, 0, 1))
    head = [piece[3] for piece in scopes["L0.H1"] if piece[3].ndim == 3]
    assert_row(row_of(found, "L0.H1"), subspaces(head, 0, 1, 0.5))
    wholes = whole_matrices(tmp_path / "base", tuned)
    assert_row(row_of(found, "all"), subspaces(wholes, 0, 1, 0.5) | {"matrices": len(wholes)})


def whole_matrices(base: Path, tuned: list[Path]) -> list[np.ndarray]:
    """Return the changes of every matrix, (fine-tunes, rows, columns) each; a stack of experts is several."""
    before, *after = (open_checkpoint(one) for one in (base, *tuned))
    found: list[np.ndarray] = []
    for tensor, shape in before.shapes.items():
        if len(shape) > 1:
            stack = np.stack([one.read(tensor).double() - before.read(tensor).double() for one in after])
            found += [stack] if len(shape) == 2 else [stack[:, place] for place in range(shape[0])]
    return found


def test_every_pair_is_compared_as_if_alone(tmp_path: Path) -> None:
    tuned = save_fine_tunes("llama-mqa", tmp_path, 3)
    found = between(tmp_path / "base", tuned, energy=0.9)
    everything, wholes = list(pieces(tmp_path / "base", tuned)), whole_matrices(tmp_path / "base", tuned)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert_row(row_of(found, "all", i, j), compare(everything, i, j) | subspaces(wholes, i, j, 0.9))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Between:
    """Two arms of two seeds."""
    folder = tmp_path_factory.mktemp("study")
    places = save_fine_tunes("llama-gqa-biases", folder, 4)
    names = [f"{arm}/seed-{seed}" for arm in ("rl", "sft") for seed in (0, 1)]
    for place, name in zip(places, names, strict=True):
        (folder / "arms" / name).mkdir(parents=True)
        place.rename(folder / "arms" / name / "final")
    return between(folder / "base", [folder / "arms" / name / "final" for name in names])


def test_relations_come_from_the_paths(study: Between) -> None:
    assert [label.name for label in study.labels] == ["rl 0", "rl 1", "sft 0", "sft 1"]
    assert study.relations == ("same arm, other seed", "other arm, same seed", "other arm, other seed")
    whole = study.table[study.table["level"] == "all"]
    assert whole["relation"].value_counts().to_dict() == {
        PERMUTED: 6,
        "same arm, other seed": 2,
        "other arm, same seed": 2,
        "other arm, other seed": 2,
    }
    assert set(whole[whole["relation"] == PERMUTED]["control_of"]) == set(study.relations)
    assert whole[whole["relation"] != PERMUTED]["control_of"].isna().all()


def test_labels_can_be_given(tmp_path: Path) -> None:
    one, other = save_fine_tunes("llama-mha", tmp_path, 2)
    found = between(tmp_path / "base", {Label("a", "rl", 0): one, Label("b", "rl", 1): other})
    assert row_of(found, "all", relation="same arm, other seed")["i"] == "a"


def test_a_permuted_change_keeps_its_size_and_shares_nothing(study: Between) -> None:
    whole = study.table[study.table["level"] == "all"]
    real, control = (whole[(whole["relation"] == PERMUTED) == permuted] for permuted in (False, True))
    for name in ("norm_i", "norm_j", "changed_i_stored", "changed_j_stored"):
        assert control[name].tolist() == pytest.approx(real[name].tolist(), rel=1e-12)
    assert (real["cosine"] > 0.15).all()
    assert (control["cosine"].abs() < 0.05).all()
    assert (control["z_stored"].abs() < 3.5).all()
    assert (control["agreement_z"].abs() < 3.5).all()
    assert (real["agreement_z"] > 5).all()
    assert real["left"].mean() > real["left_null"].mean() + 0.02
    assert ((control["left"] - control["left_null"]).abs() < 0.05).all()
    assert ((control["inside_j"] - control["inside_j_null"]).abs() < 0.05).all()


def test_a_change_is_like_itself_and_its_opposite(tmp_path: Path) -> None:
    save_fine_tunes("llama-mha", tmp_path, 1, torch.float32)
    base, tuned = (load_file(tmp_path / one / "model.safetensors") for one in ("base", "tuned-0"))
    for name, sign in (("twin", 1), ("opposite", -1)):
        models.build("llama-mha").save_pretrained(tmp_path / name)
        moved = {key: base[key] + sign * (tuned[key] - base[key]) for key in base}
        save_file(moved, tmp_path / name / "model.safetensors", {"format": "pt"})
    found = between(tmp_path / "base", [tmp_path / one for one in ("tuned-0", "twin", "opposite")])
    for place, sign in ((1, 1), (2, -1)):
        row = row_of(found, "all", 0, place)
        assert row["cosine"] == pytest.approx(sign, abs=1e-6)
        assert row["agreement"] == pytest.approx((1 + sign) / 2, abs=1e-3)
        assert row["left"] == pytest.approx(1, abs=1e-4)
        assert row["right"] == pytest.approx(1, abs=1e-4)
        assert row["jaccard_stored"] > 0.999


def test_missing_is_neither_zero_nor_nan(tmp_path: Path) -> None:
    (one,) = save_fine_tunes("llama-mha", tmp_path, 1)
    found = between(tmp_path / "base", [one, tmp_path / "base"])
    row = row_of(found, "all")
    assert row["norm_j"] == 0
    assert row["overlap_i_stored"] == 0
    for name in ("cosine", "overlap_j_stored", "lift_stored", "z_stored", "agreement", "left", "inside_j"):
        assert row[name] is pd.NA, name
    assert row["matrices"] == 0
    section_of(found)


@pytest.mark.parametrize("name", ["gpt2"])
def test_blocks_change_no_sum(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strata are finer in blocks, so that nulls and controls differ; what was measured does not."""
    tuned = save_fine_tunes(name, tmp_path, 2)
    whole = between(tmp_path / "base", tuned)
    monkeypatch.setattr(fine_tunes_module, "BLOCK", 400)
    blocks = between(tmp_path / "base", tuned)
    real = whole.table["relation"] != PERMUTED
    for column in ("entries", "cosine", "jaccard_stored", "jaccard_bf16", "agreement", "left", "inside_i"):
        one, other = (found.table[real][column].astype("Float64") for found in (whole, blocks))
        assert (one.isna() == other.isna()).all()
        assert one.dropna().tolist() == pytest.approx(other.dropna().tolist(), rel=1e-9), column
    assert not whole.table["z_stored"].equals(blocks.table["z_stored"])


def test_shards_and_threads_change_nothing(tmp_path: Path) -> None:
    tuned = save_fine_tunes("llama-mqa", tmp_path, 2)
    work = BetweenWork(open_fine_tunes(tmp_path / "base", tuned), seed=3)
    alone = collect(work)
    for index in (1, 2, 3):
        collect_shard(work, tmp_path / "parts", Shard(index, 3), threads=2)
    pd.testing.assert_frame_equal(collect(work, tmp_path / "parts"), alone, check_dtype=False)
    other = BetweenWork(open_fine_tunes(tmp_path / "base", tuned), seed=4)
    assert not collect(other)["dot"].equals(alone["dot"])
    with pytest.raises(TakebackError, match="another comparison"):
        collect(other, tmp_path / "parts")


def test_matrices_are_square_and_seen_from_the_row(study: Between) -> None:
    square = study.matrix("cosine")
    assert square.equals(square.T)
    assert all(square.iloc[place, place] is pd.NA for place in range(4))
    sided = study.matrix("overlap_i_stored", "L1.MLP")
    row = study.table.query("scope == 'L1.MLP' and i == 'rl 0' and j == 'sft 1' and relation != 'permuted'")
    assert sided.loc["rl 0", "sft 1"] == row["overlap_i_stored"].item()
    assert sided.loc["sft 1", "rl 0"] == row["overlap_j_stored"].item()
    assert abs(study.matrix("cosine", permuted=True).loc["rl 0", "rl 1"]) < 0.05 < square.loc["rl 0", "rl 1"]
    for call in (
        lambda: study.matrix("cosin"),
        lambda: study.matrix("cosine", "L9.MLP"),
        lambda: study.by_component("cosine", "same arm"),
    ):
        with pytest.raises(UnknownName):
            call()


def test_shown_on_a_page_and_in_the_terminal(study: Between, capsys: pytest.CaptureFixture[str]) -> None:
    section = section_of(study)
    assert any("Same arm, other seed" in sentence for sentence in section.words)
    titles = [figure.title for figure in section.figures]
    assert sum(PERMUTED in title for title in titles) == len(titles) / 2, "a control beside every figure"
    assert page("t", (), [section]) == page("t", (), [section_of(study)])
    assert "<svg" in study._repr_html_()
    study.print()
    printed = capsys.readouterr().out
    assert printed.count(f"– {PERMUTED}") == 3
    assert "rl 1" in printed


def test_bad_input_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "base"
    tuned = save_fine_tunes("llama-mha", tmp_path, 2)
    models.build("llama-mqa").save_pretrained(tmp_path / "other")
    with pytest.raises(PairMismatch, match="shape"):
        between(base, [tuned[0], tmp_path / "other"])
    with pytest.raises(TakebackError, match="two or more"):
        between(base, tuned[:1])
    with pytest.raises(TakebackError, match="at least one"):
        between(base, [])
    with pytest.raises(TakebackError, match=r"twice|name each checkpoint once"):
        between(base, [tuned[0], tuned[0]])
    with pytest.raises(TakebackError, match="between 0 and 1"):
        between(base, tuned, energy=1.0)
    tensors = load_file(tuned[1] / "model.safetensors")
    tensors["model.norm.weight"][3] = math.nan
    save_file(tensors, tuned[1] / "model.safetensors", {"format": "pt"})
    with pytest.raises(TakebackError, match=r"model\.norm\.weight.*tuned-1 holds NaN"):
        between(base, tuned)
