from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from readouts_by_hand import make
from takeback.arenas import arena
from takeback.measure.measure import MeasureContext
from takeback.measure.measures import measure_values, measures
from takeback.run.errors import TakebackError
from takeback.run.stats import clustered_se
from toy_arena import ToyArena

TOY = ToyArena()
HAND = make(
    [[0.2, 0.3], [0.1, 0.2, 0.3], [0.75], []],
    [[0.1, 0.2, 0.1], [0.3, 0, 0], [0, 0.25, 0], [0.5, 0.2, 0.3]],
)
VALUES = measure_values(HAND, MeasureContext.of(HAND, TOY))


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("legal", [0.5, 0.6, 0.75, 0]),
        ("legal, greedy", [1, 1, 1, 0]),
        ("legal, drawn", [0.5, 0.6, 0.8, 0]),
        ("illegal, short", [0.2, 0, 0.25, 0.2]),
        ("undecided", [0.1, 0.1, 0, 0]),
        ("utility first", [0.2 * 0.25 + 0.3, 0.2 * 0.5 + 0.3, 0.375, 0]),
        ("utility first, if legal", [0.7, 0.4 / 0.6, 0.5, None]),
        ("utility even", [0.35, None, 0.375, None]),
        ("two, if legal", [0.6, 0.5 / 0.6, None, None]),
        ("entropy, if legal", [scipy.stats.entropy([2, 3]), scipy.stats.entropy([1, 2, 3]), 0, None]),
    ],
)
def test_by_hand(measure: str, expected: list[float | None]) -> None:
    values = VALUES[measure]
    assert values.applies.tolist() == [number is not None for number in expected]
    known = [number for number in expected if number is not None]
    np.testing.assert_allclose(values.numbers[values.applies], known, atol=1e-12)


def test_entropy_is_over_actions_classes_and_the_undecided() -> None:
    whole = [[0.2, 0.3, 0.1, 0.2, 0.1, 0.1], [0.1, 0.2, 0.3, 0.3, 0.1], [0.75, 0.25], [0.5, 0.2, 0.3]]
    np.testing.assert_allclose(VALUES["entropy"].numbers, [scipy.stats.entropy(row) for row in whole])


def test_the_table_has_clustered_errors_and_nothing_that_applies_nowhere() -> None:
    table = measures(HAND, TOY).set_index("measure")
    legal = table.loc["legal"]
    assert legal["value"] == pytest.approx(0.4625)
    assert legal["se"] == pytest.approx(clustered_se([0.5, 0.6, 0.75, 0], [0, 0, 1, 1]))
    assert legal["low"] < legal["value"] < legal["high"]
    assert table.loc["utility even", "n"] == 2
    assert pd.isna(table.loc["two, if legal", "se"])  # both situations lie in one cluster
    assert "two, if legal" not in set(measures(HAND[2:], TOY)["measure"])
    assert not table.drop(index="two, if legal").isna().any().any()
    assert table["n"].min() > 0
    assert "all, if legal" not in table.index  # no situation leaves a choice


def test_a_context_serves_other_readouts_of_its_situations() -> None:
    context = MeasureContext.of(HAND, TOY)
    other = make([[0.5, 0.0], [0, 0, 1], [0.5], []], [[0.5, 0, 0], [0, 0, 0], [0, 0.5, 0], [1, 0, 0]])
    pd.testing.assert_frame_equal(measures(other, TOY, context), measures(other, TOY))
    with pytest.raises(TakebackError, match="other situations"):
        measures(HAND[:2], TOY, context)


def test_readouts_that_do_not_belong_to_the_arena_are_refused() -> None:
    with pytest.raises(TakebackError, match="'toy', not 'endgames'"):
        measures(HAND, arena("endgames"))
    with pytest.raises(TakebackError, match="legal actions in 's0'"):
        measures(replace(HAND, actions=(("a", "ba"), *HAND.actions[1:])), TOY)
