"""Random changes of coordinates and their undoing, on models of every family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

import gauges
import models
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.gauge import aligned, regauged
from takeback.gauge.nearest import nearest
from takeback.run.errors import TakebackError
from takeback.weights import circuits


def save(name: str, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    model = gauges.without_epsilon(models.build(name).to(dtype))
    model.save_pretrained(folder)
    return model


def logits(folder: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    return gauges.logits(gauges.without_epsilon(model), models.tokens())


def weights(folder: Path) -> dict[str, np.ndarray]:
    checkpoint = open_checkpoint(folder)
    return {name: checkpoint.read(name).double().numpy() for name in checkpoint.shapes}


def relative(after: Any, before: Any) -> float:
    return float(abs(after - before).max() / abs(before).max())


@pytest.mark.parametrize("name", models.marked(models.CONFIGS))
def test_random_coordinates_leave_the_function_and_circuits_and_can_be_undone(
    name: str, tmp_path: Path
) -> None:
    save(name, tmp_path / "base")
    regauged(tmp_path / "base", tmp_path / "other", seed=3)
    before = logits(tmp_path / "base")
    assert relative(logits(tmp_path / "other"), before) < 1e-4
    pair = open_pair(tmp_path / "base", tmp_path / "other")
    assert (circuits(pair).table["change"] < 1e-5).all()
    base, other = weights(tmp_path / "base"), weights(tmp_path / "other")
    matrices = {name for name, cuts in pair.base.anatomy().cuts.items() if cuts[0].layer is not None}
    assert all(relative(other[key], base[key]) > 0.1 for key in matrices & {*base} if base[key].ndim == 2)
    aligned(pair, tmp_path / "back")
    back = weights(tmp_path / "back")
    assert relative(logits(tmp_path / "back"), before) < 1e-4
    assert max(relative(back[key], base[key]) for key in base) < 1e-5


def test_coordinates_follow_from_the_seed(tmp_path: Path) -> None:
    save("llama-gqa-biases", tmp_path / "base")
    digests = [
        open_checkpoint(regauged(tmp_path / "base", tmp_path / str(place), seed=seed)).digest
        for place, seed in enumerate((0, 0, 1))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_weights_of_a_narrow_type_are_written_as_float32(tmp_path: Path) -> None:
    save("llama-mqa", tmp_path / "base", torch.bfloat16)
    out = open_checkpoint(regauged(tmp_path / "base", tmp_path / "other"))
    assert set(out.dtypes.values()) == {torch.float32}
    assert relative(logits(tmp_path / "other"), logits_of_float(tmp_path / "base")) < 1e-4


def logits_of_float(folder: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    ).eval()
    return gauges.logits(gauges.without_epsilon(model), models.tokens())


def test_an_aligned_fine_tune_differs_from_base_where_it_was_changed_and_nowhere_else(tmp_path: Path) -> None:
    """A grouped model: one query head and one MLP changed a little, all groups and neurons regauged."""
    model = save("llama-gqa-biases", tmp_path / "base")
    generator = torch.Generator().manual_seed(1)
    width = model.config.head_dim
    with torch.no_grad():
        rows = model.model.layers[0].self_attn.q_proj.weight[width : 2 * width]
        rows += 1e-3 * torch.randn(rows.shape, generator=generator)
        down = model.model.layers[1].mlp.down_proj.weight
        down += 1e-3 * torch.randn(down.shape, generator=generator)
    model.save_pretrained(tmp_path / "tuned")
    regauged(tmp_path / "tuned", tmp_path / "other", seed=5)
    pair = open_pair(tmp_path / "base", tmp_path / "other")
    near = open_checkpoint(aligned(pair, tmp_path / "near"))
    base, anatomy = pair.base, pair.anatomy()
    moved: dict[str, float] = {}
    for component in anatomy.universe:
        parts = [
            float((near.read_region(r).double() - base.read_region(r).double()).norm())
            for r in anatomy.regions(component)
        ]
        moved[str(component)] = max(parts, default=0.0)
    # Keys of the changed head's group take part of the change of its queries: they are nearest together.
    assert {name for name, size in moved.items() if size > 1e-4} <= {"L0.H0", "L0.H1", "L0.KV0", "L1.MLP"}
    assert min(moved["L0.H1"], moved["L1.MLP"]) > 1e-3
    assert relative(logits(tmp_path / "near"), logits(tmp_path / "other")) < 1e-4


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 5), complex_=st.booleans())
def test_what_was_only_changed_in_coordinates_comes_back(seed: int, size: int, complex_: bool) -> None:
    random = np.random.default_rng(seed)

    def draw(*shape: int) -> Any:
        real = random.standard_normal(shape)
        return real + 1j * random.standard_normal(shape) if complex_ else real

    a, b, n = draw(2, size, 7), draw(2, 6, size), draw(2, size, size) + 3 * np.eye(size)
    found = nearest((n @ a, b @ np.linalg.inv(n)), (a, b))
    np.testing.assert_allclose(found @ n, np.broadcast_to(np.eye(size), n.shape), atol=1e-8)


def test_no_small_change_of_the_found_coordinates_is_nearer() -> None:
    """Where the two sides really differ, what is found is a minimum, whatever coordinates it began in."""
    random = np.random.default_rng(0)
    a, b = random.standard_normal((4, 9)), random.standard_normal((8, 4))
    moved = a + 0.05 * random.standard_normal(a.shape), b + 0.05 * random.standard_normal(b.shape)

    def cost(gauge: Any, tuned: Any) -> float:
        parts = (gauge @ tuned[0] - a, a), (tuned[1] @ np.linalg.inv(gauge) - b, b)
        return sum(np.sum(part**2) / np.sum(whole**2) for part, whole in parts)

    costs = []
    for _ in range(3):
        n = random.standard_normal((4, 4)) + 2 * np.eye(4)
        tuned = n @ moved[0], moved[1] @ np.linalg.inv(n)
        found = nearest(tuned, (a, b))
        costs.append(cost(found, tuned))
        for _ in range(20):
            step = np.eye(4) + 1e-3 * random.standard_normal((4, 4))
            assert cost(step @ found, tuned) > costs[-1]
    assert costs == pytest.approx([costs[0]] * 3, rel=1e-6)
    assert costs[0] < cost(np.eye(4), moved)


def test_dead_factors_stay_in_their_coordinates() -> None:
    zero = np.zeros((3, 5)), np.zeros((4, 3))
    np.testing.assert_array_equal(nearest(zero, zero), np.eye(3))


def test_a_policy_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TakebackError, match="circuits are not known"):
        regauged("endgame-mlp", tmp_path / "out")
