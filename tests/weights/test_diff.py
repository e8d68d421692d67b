"""The diff: equal to a dense reference, additive over levels, exact across types; missing is missing."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

import models
from dense_diff import dense
from takeback.checkpoint import Pair, open_pair
from takeback.run.errors import TakebackError, UnknownName
from takeback.weights import COLUMNS, Diff, diff
from takeback.weights.entries import stream

COUNTS = ("parameters", "differing", "differing_bf16", "sign_flips")


SAME = (torch.float32, torch.float32)
Nudged = Callable[..., Pair]


@pytest.fixture(scope="module")
def nudged(tmp_path_factory: pytest.TempPathFactory) -> Nudged:
    """Saves each pair once."""
    return cache(lambda *what: save_nudged(what[0], tmp_path_factory.mktemp("pair"), *what[1:]))


def save_nudged(name: str, folder: Path, dtypes: tuple[torch.dtype, torch.dtype] = SAME) -> Pair:
    """Save a pair like that of a fine-tune: half the tensors move, by little, and not in all entries."""
    generator = torch.Generator().manual_seed(4)
    model = models.build(name).to(dtypes[0])
    model.save_pretrained(folder / "base")
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            moved = torch.rand(parameter.shape, generator=generator) < (0.66 if number % 2 else 0)
            step = torch.randn(parameter.shape, generator=generator) * 10.0 ** (-number % 5 - 6)
            parameter.add_((step * moved).to(parameter.dtype))
    model.to(dtypes[1]).save_pretrained(folder / "tuned")
    return open_pair(folder / "base", folder / "tuned")


def assert_row(row: pd.Series, expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        if name in ("parameters", "sign_flips") or name.startswith("changed"):
            assert row[name] == value, name
        else:
            assert row[name] == pytest.approx(value, rel=1e-12, abs=1e-300), name


MIXED = [SAME, (torch.bfloat16, torch.bfloat16), (torch.float32, torch.bfloat16)]


@pytest.mark.slow
@pytest.mark.parametrize("dtypes", MIXED)
def test_every_level_equals_the_dense_reference(
    name: str, dtypes: tuple[torch.dtype, torch.dtype], nudged: Nudged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BLOCK", 100)  # many blocks a tensor
    pair = nudged(name, dtypes)
    found, anatomy = diff(pair), pair.anatomy()
    sides = [{one: side.read(one) for one in side.shapes} for side in (pair.base, pair.tuned)]

    for _, row in found.tensors.iterrows():
        assert_row(row, dense(sides[0][row["tensor"]], sides[1][row["tensor"]]))
        kinds = [str(dtype).removeprefix("torch.") for dtype in dtypes]
        assert [row["dtype_base"], row["dtype_tuned"]] == kinds

    def flat(components: Any) -> list[torch.Tensor]:
        regions = [region for component in components for region in anatomy.regions(component)]
        return [torch.cat([side[one.tensor][one.index].reshape(-1) for one in regions]) for side in sides]

    for component, (_, row) in zip(anatomy.universe, found.components.iterrows(), strict=True):
        assert row["component"] == str(component)
        assert_row(row, dense(*flat([component])))
    for _, row in found.layers.iterrows():
        assert_row(
            row, dense(*flat(anatomy.parse(f"{row['name']}.*" if row["name"][0] == "L" else row["name"])))
        )
    assert_row(found.total.iloc[0], dense(*flat(anatomy.universe)))


@pytest.mark.parametrize("resolution", ["heads", "neurons"])
def test_levels_add_up(name: str, resolution: str, nudged: Nudged) -> None:
    pair = nudged(name, SAME)
    found = diff(pair, resolution)
    for parts in (found.by_tensor, found.by_component, found.atoms):
        together = parts.total()
        for field in COUNTS:
            assert getattr(together, field).tolist() == getattr(found.whole, field).tolist()
        assert together.beyond.tolist() == found.whole.beyond.tolist()
        assert together.max_abs == found.whole.max_abs
        assert together.delta_square == pytest.approx(found.whole.delta_square, rel=1e-14)
    for table in (found.tensors, found.components, found.layers, found.total):
        assert table["share"].sum() == pytest.approx(1, abs=1e-12)
        assert table["parameters"].sum() == pair.anatomy().parameters(pair.anatomy().universe)


@pytest.mark.parametrize("resolution", ["heads", "neurons"])
def test_components_are_those_of_the_anatomy(name: str, resolution: str, nudged: Nudged) -> None:
    pair = nudged(name, SAME)
    found, universe = diff(pair, resolution), pair.anatomy(resolution).universe
    assert found.segments.parts.components() == list(universe)
    assert found.components["component"].tolist() == [str(component) for component in universe]
    assert found.components["layer"].isna().tolist() == [component.layer is None for component in universe]
    assert found.components["index"].isna().tolist() == [component.index is None for component in universe]
    owned = [pair.anatomy(resolution).parameters(component) for component in universe]
    assert found.components["parameters"].tolist() == owned


def test_neurons_add_up_to_their_mlp(tmp_path: Path) -> None:
    pair = save_nudged("llama-gqa-biases", tmp_path)
    coarse, fine = diff(pair), diff(pair, "neurons")
    mlps = fine.summed(lambda one: "MLP" if one.kind in ("N", "MLPB") else one.kind).loc["MLP"]
    whole = coarse.summed(lambda one: one.kind).loc["MLP"]
    assert mlps["changed_bitwise"] == whole["changed_bitwise"]
    assert mlps["delta_norm"] == pytest.approx(whole["delta_norm"], rel=1e-14)


def test_tolerances_are_columns(tmp_path: Path) -> None:
    found = diff(save_nudged("gpt2", tmp_path), tolerances=(1e-7, 2.5e-6))
    named = [name for name in found.total if name.startswith("changed")]
    assert named == ["changed_bitwise", "changed_bf16", "changed_1e7", "changed_2.5e6"]
    assert list(found.columns) == list(found.total)[1:]
    shares = found.total.iloc[0]
    assert shares["changed_bitwise"] > shares["changed_1e7"] > shares["changed_2.5e6"] > 0
    assert "by > 1e-7" in _printed(found)
    with pytest.raises(TakebackError, match="between 0 and 1"):
        diff(open_pair(tmp_path / "base", tmp_path / "tuned"), tolerances=(1.5,))


def test_missing_is_neither_zero_nor_nan(tmp_path: Path) -> None:
    models.build("gpt2").save_pretrained(tmp_path / "base")
    tensors = load_file(tmp_path / "base" / "model.safetensors")
    zeroed = {**tensors, "transformer.ln_f.bias": torch.zeros(24)}
    save_file(zeroed, tmp_path / "base" / "model.safetensors", {"format": "pt"})
    found = diff(open_pair(tmp_path / "base", tmp_path / "base"))
    row = found.tensors.set_index("tensor").loc["transformer.ln_f.bias"]
    assert row["relative"] is pd.NA
    assert row["cosine"] is pd.NA
    assert row["delta_norm"] == 0
    assert found.total["share"].isna().all()  # nothing changed, so there is nothing to share
    assert found.total["cosine"].item() == 1
    written = json.loads(found.to_json(), parse_constant=pytest.fail)
    assert (
        next(one for one in written["tensors"] if one["tensor"] == "transformer.ln_f.bias")["relative"]
        is None
    )


@pytest.mark.parametrize(("value", "word"), [(math.nan, "NaN"), (-math.inf, "infinite")])
@pytest.mark.parametrize("side", ["base", "tuned"])
def test_values_that_are_not_finite_name_the_tensor(
    side: str, value: float, word: str, tmp_path: Path
) -> None:
    models.save_pair("llama-mha", tmp_path)
    file = tmp_path / side / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = value
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(TakebackError, match=rf"model\.layers\.1\.mlp\.up_proj\.weight.*{side} holds.*{word}"):
        diff(open_pair(tmp_path / "base", tmp_path / "tuned"))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Diff:
    return diff(save_nudged("llama-gqa-biases", tmp_path_factory.mktemp("pair")))


def test_files_hold_the_tables(found: Diff, tmp_path: Path) -> None:
    for _ in range(2):  # a second time into the same folder
        found.write(tmp_path / "diff")
    for name in ("tensors", "components", "layers", "total"):
        file = tmp_path / "diff" / f"{name}.parquet"
        assert pq.read_schema(file).metadata[b"takeback_schema"] == b"1"
        pd.testing.assert_frame_equal(pd.read_parquet(file), getattr(found, name), check_dtype=False)


def test_json_is_strict_and_whole(found: Diff) -> None:
    written = json.loads(found.to_json(), parse_constant=pytest.fail)
    assert written["takeback_schema"] == 1
    assert len(written["components"]) == len(found.components)
    assert written["total"][0]["share"] == 1
    assert set(COLUMNS) <= set(written["layers"][0])


def test_shown_in_the_terminal_and_a_notebook(found: Diff, capsys: pytest.CaptureFixture[str]) -> None:
    from xml.etree import ElementTree as etree

    found.print()
    text = capsys.readouterr().out
    most = found.components.sort_values("delta_norm")["component"].iloc[-1]
    for part in (most, "2505.11711", "EMBED", "1e-5*", found.picture()):
        assert part in text
    assert found.picture().splitlines()[0].split() == ["H", "KV", "ATTN", "MLP", "LN1", "LN2"]
    drawn = etree.fromstring(found.svg("share"))
    titles = [element.text or "" for element in drawn.iter() if element.tag.endswith("title")]
    assert len(titles) == len(found.components)
    assert found._repr_html_().count("<svg") == 2
    with pytest.raises(UnknownName, match="cosine"):
        found.picture("cosin")


def _printed(found: Diff) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        found.print()
    return " ".join(output.getvalue().split())


def test_picture_of_a_change_in_one_head(tmp_path: Path) -> None:
    model = models.build("llama-mha")
    model.save_pretrained(tmp_path / "base")
    with torch.no_grad():
        model.model.layers[1].self_attn.q_proj.weight[8:16] += 1
    model.save_pretrained(tmp_path / "tuned")
    found = diff(open_pair(tmp_path / "base", tmp_path / "tuned"))
    lines = found.picture().splitlines()
    assert lines[1].split()[1] == "···"
    assert lines[2].split()[1] == "·█·"
    changed = found.components.query("changed_bitwise > 0")
    assert list(changed["component"]) == ["L1.H1"]
    assert changed["share"].item() == 1


def test_a_diff_says_which_layer_moved_farthest_for_its_size(tmp_path: Path) -> None:
    model = models.build("llama-mha")
    model.save_pretrained(tmp_path / "base")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lm_head" not in name:
                parameter.mul_(1.5 if ".layers.1." in name else 1.25)
    model.save_pretrained(tmp_path / "tuned")
    found = diff(open_pair(tmp_path / "base", tmp_path / "tuned"))
    times = 0.5 / found.total["relative"].item()
    said = f"For its size L1 moved farthest, {times:.2g} times as far as the whole model, and UNEMBED least"
    assert said in _printed(found)
