"""Kinds of illegal moves, sorted whole by the example, are those that the bench decides."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

import takeback
from takeback.arenas.endgames.rules import KINDS
from takeback.checkpoint import load_model

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "illegal-kinds"))

from squares import FIRST, GOALS, Board


def test_masses_are_those_of_the_bench_with_nothing_left_undecided():
    place, base = takeback.arena("endgames"), takeback.open_checkpoint("endgame-base")
    situations = place.situations("held-out", 48, 7)
    found = Board(situations).read(load_model(base))
    readouts = takeback.read(takeback.load_policy(base, place), place, situations, tolerance=0.05)
    sums = [sum(one.legal.values()) for one in readouts]
    assert np.allclose(
        found.legal, sums, atol=1e-3
    )  # an answer that goes on after a legal move is none there
    assert np.allclose(found.legal + found.kinds.sum(axis=1), 1.0)
    for place_, one in enumerate(readouts):
        for kind, mass in one.illegal.items():
            mine = found.kinds[place_, KINDS.index(kind)]
            assert mass - 1e-3 <= mine <= mass + one.undecided + 1e-3


def test_promotions_and_utilities_are_counted_move_by_move():
    place = takeback.arena("endgames")
    situations = [place.parse("w Kb6 Pa7 kd6"), place.parse("w Kb6 Rh1 kb8")]
    board = Board(situations)
    answers = torch.rand(2, 3, 400, generator=torch.Generator().manual_seed(0)).double().softmax(-1).numpy()
    letters = np.full((len(board.promoting), 4), 0.2)
    found = board.sorted(answers, letters)
    for number, one in enumerate(situations):
        legal, worth = place.legal(one), place.goals["win"].utility([one])
        total = 0.0
        for move, value in zip(legal, worth, strict=True):
            source, target = (
                takeback.arenas.endgames.geometry.SQUARES.index(move[k : k + 2]) for k in (0, 2)
            )
            slot = 0 if source == one.white_king else 1
            mass = answers[number, 0, FIRST + source] * answers[number, 1 + slot, FIRST + target]
            total += mass * (0.2 if len(move) > 4 else 1.0) * value
        assert np.isclose(found.utility[GOALS.index("win"), number], total)
