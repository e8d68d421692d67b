from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import readouts_by_hand
from takeback.measure.measure import MeasureContext
from takeback.measure.measures import measure_slopes, measure_values
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError, UnknownName
from toy_arena import ToyArena

READOUTS = readouts_by_hand.make(
    [[0.2, 0.3], [0.1, 0.25, 0.05], [0.4], []],
    [[0.1, 0.15, 0.2], [0.3, 0.1, 0.15], [0.2, 0.1, 0.1], [0.5, 0.2, 0.1]],
)
CONTEXT = MeasureContext.of(READOUTS, ToyArena())
JUMPING = ("legal, greedy", "legal, drawn")
SMOOTH = [name for name in measure_values(READOUTS, CONTEXT) if name not in JUMPING]
STEP = 1e-6


def moved(field: str, place: tuple[int, ...], by: float) -> Readouts:
    numbers = getattr(READOUTS, field).copy()
    numbers[place] += by
    return replace(READOUTS, **{field: numbers})


def rate(name: str, field: str, place: tuple[int, ...], situation: int) -> float:
    """How fast a situation's number grows with one probability, by a central difference."""
    ends = [measure_values(moved(field, place, by), CONTEXT)[name] for by in (STEP, -STEP)]
    up, down = (end.numbers[situation] if end.applies[situation] else 0.0 for end in ends)
    return (up - down) / (2 * STEP)


@pytest.mark.parametrize("name", SMOOTH)
def test_slopes_are_the_rates_at_which_measures_move(name: str) -> None:
    slopes = measure_slopes(READOUTS, CONTEXT, [name])[name]
    by_action = [rate(name, "probabilities", (i,), owner) for i, owner in enumerate(READOUTS.owner)]
    np.testing.assert_allclose(slopes.legal, by_action, atol=1e-6)
    for place in np.ndindex(READOUTS.masses.shape):
        assert slopes.illegal[place] == pytest.approx(rate(name, "masses", place, place[0]), abs=1e-6)
    for place in np.ndindex(READOUTS.undecided.shape):
        assert slopes.undecided[place] == pytest.approx(rate(name, "undecided", place, place[0]), abs=1e-6)


def test_every_measure_either_has_slopes_or_says_that_it_jumps() -> None:
    assert set(measure_slopes(READOUTS, CONTEXT, SMOOTH)) == set(SMOOTH)
    for name in JUMPING:
        with pytest.raises(TakebackError, match="moves in jumps"):
            measure_slopes(READOUTS, CONTEXT, [name])
    with pytest.raises(UnknownName, match="utility first"):
        measure_slopes(READOUTS, CONTEXT, ["utility fist"])


def test_impossible_outcomes_have_finite_slopes() -> None:
    none = replace(READOUTS, probabilities=READOUTS.probabilities * [0, 0, 0, 1, 1, 1])
    for name, slopes in measure_slopes(none, CONTEXT, SMOOTH).items():
        for part in (slopes.legal, slopes.illegal, slopes.undecided):
            assert np.isfinite(part).all(), name
