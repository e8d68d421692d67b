"""Steps of bfloat16: counted as a walk through all bfloat16 numbers in order would count them."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import models
from takeback.checkpoint import open_pair
from takeback.draw.result import section_of
from takeback.run.errors import TakebackError
from takeback.weights.entries.kernel import LEAST_EXPONENT, STEP_SHAPE, step_counts
from takeback.weights.entries.ulps import ulps

EVERY = torch.arange(0, 1 << 16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16).double()
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
IN_ORDER = np.unique(EVERY[torch.isfinite(EVERY)].numpy())
"""Every finite bfloat16 number once, in order; 0 and -0 are one."""

numbers = st.floats(-(2.0**99), 2.0**99, width=32) | st.sampled_from([0.0, -0.0, 1e-40, 1.0, -1.0])


def steps_between(base: np.ndarray, tuned: np.ndarray) -> np.ndarray:
    """The slow reference: places apart among all bfloat16 numbers, rounded by torch."""
    places = [
        np.searchsorted(IN_ORDER, torch.from_numpy(side.copy()).bfloat16().double().numpy())
        for side in (base, tuned)
    ]
    return np.abs(places[1] - places[0])


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20), st.sampled_from(DTYPES))
def test_steps_are_places_apart_among_all_bfloat16_numbers(
    pairs: list[tuple[float, float]], dtype: torch.dtype
) -> None:
    sides = torch.tensor(pairs, dtype=torch.float64).clamp(-6e4, 6e4).T.to(dtype).contiguous()
    stored = [side.view(torch.uint16 if dtype == torch.bfloat16 else dtype).numpy() for side in sides]
    stored = [side.view(np.int16) if side.dtype == np.float16 else side for side in stored]
    counts = np.zeros(STEP_SHAPE, np.int64)
    step_counts(stored[0], stored[1], counts)
    base, tuned = sides.double().numpy()
    expected = np.zeros(STEP_SHAPE, np.int64)
    for weight, steps in zip(base.tolist(), steps_between(base, tuned).tolist(), strict=True):
        row = 0 if weight == 0 else math.frexp(weight)[1] - 1 - LEAST_EXPONENT + 1
        expected[row, 0 if steps == 0 else (steps - 1).bit_length() + 1] += 1
    np.testing.assert_array_equal(counts, expected)


def test_counts_equal_a_dense_loop(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[ulps.__module__], "_BLOCK", 50)
    pair = open_pair(*models.save_pair(name, tmp_path))
    found = ulps(pair)
    for tensor, rows in found.table.groupby("tensor"):
        base, tuned = (side.read(str(tensor)).double().numpy().ravel() for side in (pair.base, pair.tuned))
        steps = steps_between(base, tuned)
        assert rows["entries"].sum() == base.size
        for row in rows.to_dict("records"):
            low, high = 2.0 ** row["exponent"], 2.0 ** (row["exponent"] + 1)
            of_size = (np.abs(base) >= low) & (np.abs(base) < high)
            moved = (steps >= row["steps_low"]) & (steps <= row["steps_high"])
            assert row["entries"] == np.count_nonzero(of_size & moved)
    assert found.share(1).keys() == set(found.whole["exponent"])


def test_by_hand_with_zeros_and_its_drawing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = torch.tensor([[0.0, 1.0, 1.0, 2.0]])
    tuned = torch.tensor([[-0.0, 1.0, 1.0078125, 2.078125]])  # one step at 1, five at 2
    for side, tensor in (("base", base), ("tuned", tuned)):
        save_file({"0.weight": tensor}, tmp_path / f"{side}.safetensors")
    found = ulps(open_pair(tmp_path / "base.safetensors", tmp_path / "tuned.safetensors"))
    rows = [(None if row[0] is None else row[0], *row[1:]) for row in _plain(found.whole)]
    assert rows == [(0, 0, 0, 1), (0, 1, 1, 1), (1, 5, 8, 1), (None, 0, 0, 1)]
    assert found.share(1) == {0: 0.5, 1: 1.0, None: 0.0}
    assert "50% of 4 entries" in section_of(found).words[0]
    assert "<polyline" in found._repr_html_()
    found.print()
    assert "by a single" in capsys.readouterr().out


def test_a_value_that_is_not_finite_is_an_error(tmp_path: Path) -> None:
    for side, value in (("base", 1.0), ("tuned", float("nan"))):
        save_file({"0.weight": torch.tensor([[value]])}, tmp_path / f"{side}.safetensors")
    with pytest.raises(TakebackError, match=r"0\.weight holds a value that is not finite"):
        ulps(open_pair(tmp_path / "base.safetensors", tmp_path / "tuned.safetensors"))


def _plain(table: object) -> list[tuple[int | None, ...]]:
    from takeback.run.tables import records

    return [tuple(row.values()) for row in records(table)]  # type: ignore[arg-type]
