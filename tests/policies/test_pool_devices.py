"""Pools and listed answers with one model held, elsewhere, in bf16, and in less memory: the same numbers."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stand_in
import tiny_answers
from takeback.arenas import arena
from takeback.checkpoint import Placement, open_pair
from takeback.measure.bench import Bench
from takeback.measure.setup import Setup
from takeback.policies.answers import AnswerReadouts
from takeback.policies.load import load_policy

replay = importlib.import_module("takeback.hybrid.replay")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_answers.save_pair(tmp_path_factory.mktemp("tiny"), 6)


def drawn(folder: Path, placement: Placement, **more: Any) -> tuple[Bench, list[AnswerReadouts]]:
    place = arena(tiny_answers.arena_text(folder, answers=4))
    pair = open_pair(str(folder / "base"), str(folder / "tuned"))
    rows = place.situations("held-out", 6, 0)
    bench = Bench.answering(pair, place, rows, setup=Setup(placement=placement, **more))
    sets = [bench.anatomy.parse(text) for text in ("", "L0.H0", "L0.MLP", "*")]
    found = bench.read(sets)
    assert all(isinstance(one, AnswerReadouts) for one in found)
    return bench, found  # type: ignore[return-value]


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple[Bench, list[AnswerReadouts]]:
    return drawn(folder, Placement("cpu", "fp32", "both"))


def same(found: list[AnswerReadouts], wanted: list[AnswerReadouts], off: float) -> None:
    for mine, others in zip(found, wanted, strict=True):
        assert mine.actions == others.actions, "one pool"
        np.testing.assert_allclose(mine.logprobs, others.logprobs, rtol=0, atol=off)


@pytest.mark.slow
def test_one_held_draws_and_reads_the_same_pool(folder, both):
    _, found = drawn(folder, Placement("cpu", "fp32", "one"))
    same(found, both[1], 0)


def test_a_pool_of_models_that_lie_elsewhere(folder, both):
    def pretended(*args: Any, **more: Any) -> Any:
        policy = load_policy(*args, **more)
        stand_in.move(policy.model)
        return policy

    with stand_in.cards():
        _, found = drawn(folder, Placement("cpu", "fp32", "both"), load=pretended)
    same(found, both[1], 1e-4)


def test_answers_are_read_in_halves_where_memory_is_full(folder, both, monkeypatch):
    layer = replay.Replay.layer

    def limited(self: Any, number: int, hidden: torch.Tensor, *rest: Any) -> torch.Tensor:
        if len(hidden) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return layer(self, number, hidden, *rest)

    bench = both[0]
    fresh = Bench(bench.pair, bench.arena, bench.situations)
    monkeypatch.setattr(replay.Replay, "layer", limited)
    with pytest.warns(UserWarning, match="out of memory"):
        found = fresh.read([fresh.anatomy.parse(text) for text in ("", "L0.H0", "L0.MLP", "*")])
    same(found, both[1], 1e-5)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_pool_in_bf16_has_a_floor(folder):
    bench, _ = drawn(folder, Placement("cpu", "bf16", "one"))
    assert bench.floor is not None
    assert all(np.isfinite(one) for one in bench.floor.values())
    assert bench.floor["utility good"] < 0.1
