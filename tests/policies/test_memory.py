"""What does not fit in memory is read in smaller batches, with the same numbers; a single row is refused."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.hybrid.memory import in_halves, is_out_of_memory
from takeback.measure.bench import Bench
from takeback.measure.read import Ask
from takeback.measure.setup import Setup
from takeback.run.errors import TakebackError

ENDGAMES = arena("endgames")
replay = importlib.import_module("takeback.hybrid.replay")


def full(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Let memory be full whenever a layer is given more than so many rows; return the rows of each try."""
    tried: list[int] = []
    layer = replay.Replay.layer

    def limited(self, number, hidden, *rest):
        tried.append(len(hidden))
        if number == 1 and len(hidden) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has …")
        return layer(self, number, hidden, *rest)

    monkeypatch.setattr(replay.Replay, "layer", limited)
    return tried


def bench(players: tuple[str, str], measure: str, setup: Setup | None = None) -> Bench:
    drawn = ENDGAMES.situations("held-out", 12, 1)
    return Bench(open_pair(*players), ENDGAMES, drawn, [measure], setup)


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["legal", "entropy"])
def test_reading_goes_on_with_half_the_rows(players, monkeypatch, measure):
    asks = [Ask(bench(players, measure).anatomy.parse(text)) for text in ("", "L0.H0", "L1.MLP", "*")]
    wanted = bench(players, measure).read(asks)
    small = bench(players, measure)
    tried = full(monkeypatch, 3)
    with pytest.warns(UserWarning, match=r"out of memory with \d+ rows: going on with \d+"):
        found = small.read(asks)
    assert max(tried) > 3
    for mine, others in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine.probabilities, others.probabilities, atol=1e-6)
        np.testing.assert_allclose(mine.masses, others.masses, atol=1e-6)
        assert (mine.greedy == others.greedy).all()


def test_what_was_read_is_kept_when_a_row_does_not_fit(players, monkeypatch, tmp_path):
    kept = bench(players, "legal", Setup(tmp_path))
    one, other = (Ask(kept.anatomy.parse(text)) for text in ("L0.H0", "L1.MLP"))
    first = kept.read([one])[0]
    model = kept.policy("tuned").model
    before = {name: each.clone() for name, each in model.named_parameters()}
    with monkeypatch.context() as patched:
        full(patched, 0)
        with pytest.warns(UserWarning, match="out of memory"), pytest.raises(TakebackError) as told:
            kept.read([one, other])
    assert "take a smaller --dtype, --hold one" in str(told.value)
    assert "\n" not in str(told.value)
    assert all(torch.equal(before[name], each) for name, each in model.named_parameters())
    again = bench(players, "legal", Setup(tmp_path))
    assert again.unread([one, other]) == 1
    assert (again.read([one])[0].probabilities == first.probabilities).all()


def test_halves_are_run_in_order_and_other_errors_are_raised():
    def run(work: list[int]):
        if len(work) > 2:
            raise RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")
        yield from work

    def halves(work: list[int]):
        return work[: (len(work) + 1) // 2], work[(len(work) + 1) // 2 :]

    with pytest.warns(UserWarning, match="going on with"):
        assert list(in_halves(list(range(9)), 9, run, halves)) == list(range(9))

    def broken(work: list[int]):
        yield from work
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        list(in_halves([1], 1, broken, halves))
    assert not is_out_of_memory(ValueError("out of memory"))
