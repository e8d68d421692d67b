"""Circuits: blind to every gauge that an architecture has and to nothing else, equal to full matrices."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

import dense_circuits
import gauges
import models
import views
from takeback.anatomy.families import families
from takeback.anatomy.wiring import known_wiring
from takeback.checkpoint import open_pair
from takeback.draw.page import page
from takeback.draw.result import section_of
from takeback.run.errors import TakebackError
from takeback.run.parts import Shard, collect, collect_shard
from takeback.run.tables import records
from takeback.weights.circuits import neurons as neurons_module
from takeback.weights.circuits.circuits import COLUMNS, GAUGES, Circuits, CircuitsWork, circuits
from takeback.weights.circuits.gauge import form_change, outer_change, product_change
from takeback.weights.circuits.neurons import Neurons, partners
from takeback.weights.circuits.roles import Reads, Writes

HEADS = ("gpt2", "llama-mha", "llama-gqa-biases", "qwen3", "gpt_neox", "gemma3", "olmo2")
"""Models with and without RoPE, with grouped heads and others, with and without norms on queries."""


def compared(base: Any, tuned: Any, folder: Path, draws: int = 1) -> Circuits:
    base.save_pretrained(folder / "base")
    tuned.save_pretrained(folder / "tuned")
    return circuits(open_pair(folder / "base", folder / "tuned"), draws)


def built(name: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    return gauges.without_epsilon(models.build(name, seed).to(dtype))


def drift(base: Any, tuned: Any) -> float:
    before, after = (gauges.logits(model, models.tokens()) for model in (base, tuned))
    return float((after - before).abs().max() / before.abs().max())


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_scrambled_models_do_the_same_and_their_circuits_stay(
    name: str, dtype: torch.dtype, limit: float, tmp_path: Path
) -> None:
    base, tuned = built(name, dtype), built(name, dtype)
    gauges.scramble(tuned)
    assert drift(base, tuned) < limit
    table = compared(base, tuned, tmp_path).table
    assert (table["change"] < limit).all()
    large = table[table["circuit"].isin(["OV", "QK", "write"])]
    assert (large["raw"] > 0.7).all()
    assert (large["permuted"] > 0.5).all()
    assert (large["gaussian"] > 0.5).all()
    assert (table["reassigned"].dropna() > 0.3).all()


GAUGED = {
    "values": ("gpt2", "llama-gqa-biases"),
    "value_bias": ("gpt2", "llama-gqa-biases"),
    "scores": ("gpt2", "llama-gqa-biases", "gpt_neox", "qwen2"),
    "normed_scores": ("qwen3", "olmo2"),
    "shared_gains": ("qwen3", "gemma3", "olmo2"),
    "norm_gain": ("gpt2", "llama-mha", "gemma2", "mixtral"),
    "norm_shift": ("gpt2", "gpt_neox"),
    "reading_mean": ("gpt2", "gpt_neox"),
    "writing_mean": ("opt", "opt-350m"),
    "post_scale": ("gemma2", "olmo2"),
    "post_signs": ("gemma2", "olmo2"),
    "neurons": ("gpt2", "opt", "mistral", "mixtral"),
    "router": ("mixtral", "qwen3_moe"),
}


@pytest.mark.slow
@pytest.mark.parametrize("gauge", gauges.Scrambler(torch.Generator()).names)
def test_each_gauge_alone_moves_weights_but_no_circuit(gauge: str, tmp_path: Path) -> None:
    for name in GAUGED[gauge]:
        base, tuned = built(name, torch.float64), built(name, torch.float64)
        scrambler = gauges.Scrambler(torch.Generator().manual_seed(1), torch.float64, (gauge,))
        for block in views.blocks(tuned):
            scrambler.scramble(block)
        moved = [bool((a != b).any()) for a, b in zip(base.parameters(), tuned.parameters(), strict=True)]
        assert any(moved)
        assert drift(base, tuned) < 1e-10
        assert (compared(base, tuned, tmp_path / name).table["change"] < 1e-10).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
def test_three_changed_heads_among_scrambled_ones_come_first(name: str, tmp_path: Path) -> None:
    base, tuned = built(name), built(name)
    changed = {"L0.H1", "L1.H0", "L1.H2"}
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for layer, block in enumerate(views.blocks(tuned)):
            a = block.attention
            each = a.q.shape[1]
            for head in range(a.q.shape[0] * each):
                if f"L{layer}.H{head}" in changed:
                    at = divmod(head, each)
                    a.q[at] += 0.003 * torch.randn(a.q[at].shape, generator=generator)
                    a.o[:, *at] += 0.003 * torch.randn(a.o[:, *at].shape, generator=generator)
    gauges.scramble(tuned)
    found = compared(base, tuned, tmp_path)
    assert set(found.heads["component"].head(3)) == changed
    assert found.heads["change"][2] > 3 * found.heads["change"][3]
    by_raw = found.heads.sort_values("raw", ascending=False)["component"].head(3)
    assert set(by_raw) != changed


def turn_matrix(block: views.Block, scrambler: gauges.Scrambler) -> None:
    """A general matrix between queries and keys, which RoPE does not let through."""
    a = block.attention
    for group in range(len(a.k)):
        m = scrambler.matrix(a.k.shape[1])
        a.q[group], a.k[group] = m @ a.q[group], torch.linalg.inv(m).T @ a.k[group]


def move_key_bias(block: views.Block, scrambler: gauges.Scrambler) -> None:
    """A key bias on rotated dimensions."""
    assert block.attention.k_bias is not None
    block.attention.k_bias[:, : 2 * block.pairs] += scrambler.normal(2 * block.pairs)


def scale_each_head(block: views.Block, scrambler: gauges.Scrambler) -> None:
    """A scale of one head's queries under a norm that spans the heads."""
    block.attention.q[0, 0] *= 2


def turn_pairs(block: views.Block, scrambler: gauges.Scrambler) -> None:
    """A phase of rotated pairs before norms with gains."""
    a, m = block.attention, gauges.Scrambler(torch.Generator().manual_seed(2)).rotations(block.pairs)
    m /= torch.linalg.matrix_norm(m, 2)
    for group in range(len(a.k)):
        a.q[group], a.k[group] = m @ a.q[group], torch.linalg.inv(m).T @ a.k[group]


def scale_groups(block: views.Block, scrambler: gauges.Scrambler) -> None:
    """A matrix on the values of a group that only one of its heads undoes."""
    n = scrambler.matrix(block.attention.v.shape[1])
    block.attention.v[0] = n @ block.attention.v[0]
    block.attention.o[:, 0, 0] = block.attention.o[:, 0, 0] @ torch.linalg.inv(n)


def negate_relu(block: views.Block, scrambler: gauges.Scrambler) -> None:
    """A neuron and its output with the other sign: the same outer product, another function."""
    mlp = block.mlps[0]
    for part in (mlp.gate, mlp.gate_bias, mlp.down):
        part[:4] *= -1


def scale_gelu(block: views.Block, scrambler: gauges.Scrambler) -> None:
    """A positive scale of neurons whose activation is no ReLU."""
    mlp = block.mlps[0]
    for part, by in ((mlp.gate, 2.0), (mlp.gate_bias, 2.0), (mlp.down, 0.5)):
        part[:4] *= by


Mistake = Callable[[views.Block, gauges.Scrambler], None]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mistake", "circuit"),
    [
        ("llama-mha", turn_matrix, "QK"),
        ("gpt_neox", turn_matrix, "QK"),
        ("qwen2", move_key_bias, "QK"),
        ("gpt_neox", move_key_bias, "QK"),
        ("olmo2", scale_each_head, "QK"),
        ("qwen3", turn_pairs, "QK"),
        ("mistral", scale_groups, "OV"),
        ("opt", negate_relu, "gate"),
        ("gpt2", scale_gelu, "gate"),
    ],
)
def test_what_is_no_gauge_changes_both_function_and_measure(
    name: str, mistake: Mistake, circuit: str, tmp_path: Path
) -> None:
    base, tuned = built(name), built(name)
    with torch.no_grad():
        mistake(views.blocks(tuned)[0], gauges.Scrambler(torch.Generator().manual_seed(3)))
    assert drift(base, tuned) > 1e-3
    table = compared(base, tuned, tmp_path).table
    touched = table[(table["layer"] == 0) & (table["circuit"] == circuit)]
    assert touched["change"].max() > 0.05
    assert (table.loc[table["layer"] == 1, "change"] == 0).all()


def test_equals_full_matrices(name: str, tmp_path: Path) -> None:
    base, tuned = built(name, torch.float64, seed=0), built(name, torch.float64, seed=1)
    expected = dense_circuits.dense_changes(base, tuned)
    table = compared(base, tuned, tmp_path).table
    found = {(row["component"], row["circuit"]): row["change"] for row in records(table)}
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-9), key
    assert list(table.columns) == list(COLUMNS)
    assert set(table["circuit"]) <= set(GAUGES)


def test_raw_changes_are_those_of_each_heads_entries(tmp_path: Path) -> None:
    base, tuned = built("llama-gqa-biases", seed=0), built("llama-gqa-biases", seed=1)
    table = compared(base, tuned, tmp_path).table.set_index(["component", "circuit"])
    before, after = (views.blocks(model)[1].attention for model in (base, tuned))

    def moved(role: str, at: tuple[Any, ...], bias: bool = True) -> float:
        sides = [dense_circuits.array(getattr(side, role)[at]).ravel() for side in (before, after)]
        if bias:
            offsets = [dense_circuits.array(getattr(side, f"{role}_bias")[at]) for side in (before, after)]
            sides = [np.append(side, offset) for side, offset in zip(sides, offsets, strict=True)]
        return dense_circuits.relative(*sides)

    for head in range(4):
        group = divmod(head, 2)
        qk, ov = table.loc[(f"L1.H{head}", "QK")], table.loc[(f"L1.H{head}", "OV")]
        assert qk["raw_out"] == pytest.approx(moved("q", group), rel=1e-6)
        assert qk["raw_in"] == pytest.approx(moved("k", group[:1]), rel=1e-6)
        assert ov["raw_out"] == pytest.approx(moved("o", (slice(None), *group), bias=False), rel=1e-6)
        assert ov["raw_in"] == pytest.approx(moved("v", group[:1]), rel=1e-6)
        assert qk["raw"] == pytest.approx(math.hypot(qk["raw_out"], qk["raw_in"]))


sizes = st.integers(1, 6)


@settings(max_examples=60, deadline=None)
@given(n=sizes, m=sizes, w=st.integers(0, 6), seed=st.integers(0, 2**32 - 1), exponent=st.integers(-9, 1))
def test_thin_factors_equal_dense_differences(n: int, m: int, w: int, seed: int, exponent: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((2, n, w)), rng.standard_normal((2, m, w))
    new_left, new_right = (side + 10.0**exponent * rng.standard_normal(side.shape) for side in (left, right))
    found = product_change((new_left, new_right), (left, right))
    dense = [a @ b.swapaxes(-1, -2) for a, b in ((new_left, new_right), (left, right))]
    exact = np.sqrt(np.sum((dense[0] - dense[1]) ** 2, axis=(1, 2)))
    np.testing.assert_allclose(found.distance, exact, rtol=1e-9, atol=1e-13)
    forms = [side.swapaxes(-1, -2) @ side for side in (new_left, left)]
    exact = np.sqrt(np.sum((forms[0] - forms[1]) ** 2, axis=(1, 2)))
    np.testing.assert_allclose(form_change(new_left, left).distance, exact, rtol=1e-9, atol=1e-13)


@settings(max_examples=60, deadline=None)
@given(n=sizes, m=sizes, seed=st.integers(0, 2**32 - 1), exponent=st.integers(-9, 1), zero=st.booleans())
def test_outer_products_equal_dense_differences(n: int, m: int, seed: int, exponent: int, zero: bool) -> None:
    rng = np.random.default_rng(seed)
    u, v, p, q = (rng.standard_normal((2, k, 2)) @ np.array([1, 1j]) for k in (n, m, n, m))
    if zero:
        u[0] = 0
    new = u + 10.0**exponent * p, v + 10.0**exponent * q
    found = outer_change(new, (u, v))
    dense = [a.conj()[:, :, None] * b[:, None] for a, b in (new, (u, v))]
    exact = np.sqrt(np.sum(np.abs(dense[0] - dense[1]) ** 2, axis=(1, 2)))
    np.testing.assert_allclose(found.distance, exact, rtol=1e-9, atol=1e-13)


def some_neurons(rng: np.random.Generator, count: int, hidden: int = 4, gated: bool = True) -> Neurons:
    rows = [rng.standard_normal((count, hidden + 1)) for _ in range(2)]
    return Neurons(
        gate=rows[0],
        up=rows[1] if gated else None,
        down=rng.standard_normal((count, hidden)),
        out_bias=np.zeros((1, hidden)),
        reads=Reads(np.ones(hidden), np.zeros(hidden), centred=False),
        writes=Writes(None, centred=False),
        homogeneous=False,
    )


def cost(tuned: Neurons, base: Neurons, order: Any) -> float:
    total = 0.0
    for side in ("gate", "write"):
        old, new = (_parts(one)[side] for one in (base, tuned))
        total += sum(np.sum((new[i] - old[j]) ** 2) for i, j in enumerate(order)) / np.sum(old**2)
    return float(total)


def _parts(side: Neurons) -> dict[str, np.ndarray]:
    up = np.ones((len(side), 1)) if side.up is None else side.up
    return {"gate": side.gate, "write": np.einsum("nd,nu->ndu", side.down, up)}


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
    step=st.sampled_from([0.01, 0.5, 2.0]),
    gated=st.booleans(),
)
def test_partners_are_the_best_of_all_orders(count: int, seed: int, step: float, gated: bool) -> None:
    rng = np.random.default_rng(seed)
    base, noise = some_neurons(rng, count, gated=gated), some_neurons(rng, count, gated=gated)
    order = rng.permutation(count) if rng.random() < 0.5 else np.arange(count)
    tuned = Neurons(
        gate=(base.gate + step * noise.gate)[order],
        up=None if base.up is None or noise.up is None else (base.up + step * noise.up)[order],
        down=(base.down + step * noise.down)[order],
        out_bias=base.out_bias,
        reads=base.reads,
        writes=base.writes,
        homogeneous=False,
    )
    best = min(cost(tuned, base, one) for one in itertools.permutations(range(count)))
    assert cost(tuned, base, partners(tuned, base)) == pytest.approx(best, rel=1e-9)
    found = tuned.changes(base)
    squares = found["gate"].relative ** 2 + found["write"].relative ** 2
    assert squares[0] == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("step", [0.001, 0.3])
def test_partners_do_not_depend_on_the_size_of_blocks(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    base = some_neurons(rng, 50, hidden=8)
    tuned = some_neurons(np.random.default_rng(1), 50, hidden=8)
    for role in ("gate", "up", "down"):
        object.__setattr__(tuned, role, getattr(base, role) + step * getattr(tuned, role))
    whole = partners(tuned, base)
    monkeypatch.setattr(neurons_module, "BLOCK", 7)
    np.testing.assert_array_equal(partners(tuned, base), whole)


def test_a_small_change_needs_no_assignment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neurons_module, "_costs", None)
    base = some_neurons(np.random.default_rng(0), 200, hidden=100)
    tuned = some_neurons(np.random.default_rng(0), 200, hidden=100)
    tuned.gate[:] += 0.01
    np.testing.assert_array_equal(partners(tuned, base), np.arange(200))


def test_a_shard_at_a_time_gives_the_same_table(tmp_path: Path) -> None:
    pair = open_pair(*models.save_pair("mixtral", tmp_path))
    work = CircuitsWork(pair, draws=2, seed=3)
    alone = collect(work)
    for number in (2, 1):
        collect_shard(work, tmp_path / "out", Shard(number, 2))
    pd.testing.assert_frame_equal(collect(work, tmp_path / "out"), alone)
    assert not collect(CircuitsWork(pair, draws=2, seed=4)).equals(alone)


def test_nothing_changed(tmp_path: Path) -> None:
    base = built("llama-mha")
    found = compared(base, base, tmp_path)
    assert (found.table[["raw", "change", "permuted", "gaussian"]].dropna(axis=1) == 0).all(axis=None)
    assert section_of(found).words == ("No head's weights changed.",)
    found.print()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama-gqa-biases", "qwen3_moe", "olmo2"])
def test_a_page_and_the_terminal_show_every_component(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = open_pair(*models.save_pair(name, tmp_path))
    found = circuits(pair, draws=2)
    owners = {str(part) for part in pair.anatomy().universe if part.kind in ("H", "MLP", "E", "ROUTER")}
    assert set(found.components["component"]) == owners
    section = section_of(found)
    assert [figure.title[:2] for figure in section.figures] == ["OV", "OV", "QK", "QK", "OV", "QK"]
    shown = {row[0] for _, table in section.folded for row in table.rows}
    assert owners | set(GAUGES) <= shown
    assert "nan" not in str(section).lower()
    assert "<svg" in found._repr_html_()
    found.print()
    assert found.table.sort_values("change", ascending=False)["component"].iloc[0] in capsys.readouterr().out


def test_a_missing_measure_is_missing(tmp_path: Path) -> None:
    base, tuned = built("llama-mha"), built("llama-mha", seed=1)
    with torch.no_grad():
        views.blocks(base)[0].attention.o[:, 1] = 0
    found = compared(base, tuned, tmp_path)
    row = found.table[(found.table["component"] == "L0.H1") & (found.table["circuit"] == "OV")]
    assert row["change"].isna().all()
    assert row["raw"].isna().all()
    assert {row["change"] for row in records(row)} == {None}
    assert "L0.H1" in page("Circuits", (), [section_of(found)])


def test_every_wiring_is_of_a_family() -> None:
    told = tomllib.loads(files("takeback.anatomy").joinpath("circuits.toml").read_text("utf-8"))
    assert {name for name in families() if known_wiring(name)} == told.keys()


def test_a_family_without_roles_says_so(tmp_path: Path) -> None:
    stack = nn.Sequential(nn.Linear(3, 2))
    save_file(stack.state_dict(), tmp_path / "model.safetensors")
    pair = open_pair(tmp_path / "model.safetensors", tmp_path / "model.safetensors")
    with pytest.raises(TakebackError, match="circuits are not known for models of the family mlp"):
        circuits(pair)


def test_a_config_with_another_gauge_is_refused(tmp_path: Path) -> None:
    base = built("opt")
    base.config._remove_final_layer_norm = True
    with pytest.raises(TakebackError, match="_remove_final_layer_norm = True"):
        compared(base, base, tmp_path)


def test_configs_of_different_kinds_are_refused(tmp_path: Path) -> None:
    base, tuned = built("opt"), built("opt")
    tuned.config.activation_function = "gelu"
    with pytest.raises(TakebackError, match="of different kinds"):
        compared(base, tuned, tmp_path)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    base, tuned = built("llama-mha"), built("llama-mha")
    with torch.no_grad():
        views.blocks(tuned)[0].attention.q[0, 0, 0, 0] = math.nan
    with pytest.raises(TakebackError, match="not finite"):
        compared(base, tuned, tmp_path)


def test_a_null_needs_a_draw(tmp_path: Path) -> None:
    pair = open_pair(*models.save_pair("llama-mha", tmp_path))
    with pytest.raises(TakebackError, match="0 draws make no null"):
        circuits(pair, draws=0)
