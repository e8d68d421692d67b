"""A 2-2-2 network from end to end: weights, readouts, takebacks, sweep and pursuit, all by hand.

Base's hidden units are relu(x) and relu(y) and its outputs are 0, so both actions have 1/2. Tuned's first
unit is relu(2x), and its output a is log 2 times that unit: a has 4/5 where x is 1, and 1/2 where it is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import networks
from takeback.arenas import Goal
from takeback.checkpoint import open_pair
from takeback.findings.sweep import Sweep, squared_norms, sweep
from takeback.measure.agency.pursuits import pursuit
from takeback.measure.bench import Bench
from takeback.measure.outcomes import Outcomes
from takeback.run.tables import read_table
from takeback.weights import diff
from toy_arena import Place, ToyArena

HIDDEN = [[1.0, 0.0], [0.0, 1.0]]
PLACES = [Place(0), Place(1), Place(2), Place(3)]
"""They show (0, 0), (1, 0), (0, 1) and (1, 1)."""


class Coin(ToyArena):
    """Two actions that are always legal; the goal `first` is to take a."""

    outputs: ClassVar[tuple[str, ...]] = ("a", "b")

    def __init__(self) -> None:
        self.goals = {"first": Goal("first", lambda situations: np.tile([1.0, 0.0], len(situations)))}

    def legal(self, situation: Place) -> tuple[str, ...]:
        return ("a", "b")

    def classify(self, situation: Place, text: str) -> str:
        return "legal" if text in self.outputs else "unparsable"

    def verdicts(self, situations: Sequence[Place]) -> NDArray[np.int16]:
        return np.tile(np.array([0, 1], np.int16), (len(situations), 1))

    def features(self, situations: Sequence[Place]) -> dict[str, NDArray[np.bool_]]:
        return {"b": np.tile([False, True], len(situations))}

    def cluster(self, situation: Place) -> int:
        return situation.at


@pytest.fixture
def pair(tmp_path):
    tensors = {
        "policy.0.weight": torch.tensor(HIDDEN),
        "policy.0.bias": torch.zeros(2),
        "policy.1.weight": torch.zeros(2, 2),
        "policy.1.bias": torch.zeros(2),
    }
    networks.write(tmp_path / "base.safetensors", tensors)
    tuned = {name: tensor.clone() for name, tensor in tensors.items()}
    tuned["policy.0.weight"][0, 0] = 2.0
    tuned["policy.1.weight"][0, 0] = log(2)
    networks.write(tmp_path / "tuned.safetensors", tuned)
    return open_pair(tmp_path / "base.safetensors", tmp_path / "tuned.safetensors")


def test_the_change_of_the_weights(pair):
    moved = squared_norms(diff(pair))
    assert {str(unit): square for unit, square in moved.items()} == pytest.approx(
        {"L0.U0": 1.0, "L0.U1": 0.0, "L1.U0": log(2) ** 2, "L1.U1": 0.0}
    )


AT_ONE = {
    "": 4 / 5,
    "L0.U0": 2 / 3,
    "L1.U0": 1 / 2,
    "L0.U1": 4 / 5,
    "L1.U1": 4 / 5,
    "L0.*": 2 / 3,
    "*": 1 / 2,
}
"""What a hybrid gives to action a where x is 1; where it is 0 all give 1/2."""


@pytest.mark.parametrize(("text", "at_one"), AT_ONE.items())
def test_takebacks(pair, text, at_one):
    (found,) = Bench(pair, Coin(), PLACES).read([pair.anatomy().parse(text)])
    assert found.probabilities[::2].tolist() == pytest.approx([1 / 2, at_one, 1 / 2, at_one])


def test_a_sweep_of_its_units(pair, tmp_path):
    what = Sweep(Bench(pair, Coin(), PLACES), squared_norms(diff(pair)), ["each unit"], controls=1)
    table = read_table(sweep(what, tmp_path / "effects.parquet"))
    rows = table[(table["measure"] == "utility first") & (table["family"] == "each unit")]
    effects = rows.set_index(["direction", "set"])["effect"]
    assert effects["take back"].to_dict() == pytest.approx(
        {"L0.U0": 7 / 12 - 13 / 20, "L0.U1": 0.0, "L1.U0": 1 / 2 - 13 / 20, "L1.U1": 0.0}
    )
    # Grafted alone, the unit has no output to reach, and the output gives 2/3 where the unit is 1.
    assert effects["graft"].to_dict() == pytest.approx(
        {"L0.U0": 0.0, "L0.U1": 0.0, "L1.U0": 7 / 12 - 1 / 2, "L1.U1": 0.0}
    )


def test_pursuit(pair):
    bench = Bench(pair, Coin(), PLACES)
    found = pursuit(Outcomes.of(bench.ends["base"], bench.ends["tuned"], bench.context, ["first"]))
    change = (4 / 5 * log(8 / 5) + 1 / 5 * log(2 / 5)) / 2
    explained = 0.65 * log(1.3) + 0.35 * log(0.7)  # the tilt that gives a the mean probability 0.65
    assert found.change.value == pytest.approx(change)
    assert found.inside.value == pytest.approx(explained)
    assert found.beta == pytest.approx(log(0.65 / 0.35))
    assert found.share is None, (
        "four situations can't tell the divergence from 0, so nothing has a share of it"
    )
    assert "no change to explain" in found.note
