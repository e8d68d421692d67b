from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats

from readouts_by_hand import make
from takeback.measure.effects import effects, most_changed
from takeback.measure.measure import MeasureContext
from takeback.measure.measures import measures
from takeback.measure.shift import shift
from takeback.run.errors import TakebackError
from takeback.run.stats import clustered_se, paired_difference
from toy_arena import ToyArena

TOY = ToyArena()
BEFORE = make(
    [[0.2, 0.3], [0.1, 0.2, 0.3], [0.75], []],
    [[0.2, 0.2, 0.1], [0.3, 0.05, 0.05], [0.1, 0.1, 0.05], [0.5, 0.2, 0.3]],
)
AFTER = make(
    [[0.5, 0.3], [0.1, 0.2, 0.5], [0.25], []],
    [[0.1, 0.05, 0.05], [0.1, 0.05, 0.05], [0.25, 0.4, 0.1], [0.5, 0.3, 0.2]],
)


def whole(readouts: object, i: int) -> list[float]:
    readout = readouts[i]  # type: ignore[index]
    return [*readout.legal.values(), *readout.illegal.values()]


@pytest.mark.parametrize("i", range(4))
def test_divergences_are_scipys(i: int) -> None:
    found = {name: values[i] for name, values in shift(BEFORE, AFTER).items()}
    p, q = whole(BEFORE, i), whole(AFTER, i)
    assert found["KL(before || after)"] == pytest.approx(scipy.stats.entropy(p, q))
    assert found["KL(after || before)"] == pytest.approx(scipy.stats.entropy(q, p))
    assert found["Jensen-Shannon"] == pytest.approx(scipy.spatial.distance.jensenshannon(p, q) ** 2)
    assert found["total variation"] == pytest.approx(np.abs(np.array(p) - q).sum() / 2)


def test_top_moves() -> None:
    assert shift(BEFORE, AFTER)["top move changed"].tolist() == [1, 0, 0, 0]


def test_nothing_changed() -> None:
    for values in shift(BEFORE, BEFORE).values():
        assert not values.any()


def test_divergences_stay_finite_and_undecided_mass_is_no_difference() -> None:
    """What one side books as a class and the other leaves undecided counts as the same."""
    decided = make([[0.5, 0.3]], [[0.15, 0.05, 0.0]])
    left = make([[0.5, 0.3]], [[0.0, 0.0, 0.0]])
    for values in shift(decided, left).values():
        np.testing.assert_allclose(values, 0, atol=1e-12)
    nothing = make([[0.0, 1.0]], [[0.0, 0.0, 0.0]])
    distances = shift(decided, nothing)
    floored = scipy.special.rel_entr([0.5, 0.3, 0.15, 0.05], [1e-12, 1.0, 1e-12, 1e-12]).sum()
    assert distances["KL(before || after)"][0] == pytest.approx(floored)
    assert distances["KL(after || before)"][0] == pytest.approx(np.log(1 / 0.3))


def test_effects_are_paired_and_say_their_side() -> None:
    table = effects(BEFORE, AFTER, TOY, "tuned").set_index("measure")
    labels = [0, 0, 1, 1]
    legal = paired_difference(AFTER.legal_mass, BEFORE.legal_mass, labels)
    row = table.loc["legal"]
    assert (row["value"], row["effect"], row["se"]) == pytest.approx(
        (AFTER.legal_mass.mean(), legal.value, legal.se)
    )
    assert (row["low"], row["high"]) == pytest.approx((legal.low, legal.high))
    assert set(table["relative_to"]) == {"tuned"}
    variation = table.loc["total variation"]
    distances = shift(BEFORE, AFTER)["total variation"]
    assert (variation["effect"], variation["se"]) == pytest.approx(
        (distances.mean(), clustered_se(distances, labels))
    )
    assert table["n"].to_dict()["utility even"] == 2
    for measure, value in measures(AFTER, TOY).set_index("measure")["value"].items():
        assert table.loc[measure, "value"] == pytest.approx(value)


def test_effects_use_situations_that_apply_on_both_sides() -> None:
    silent = make([[0.0, 0.0], *[[0.1, 0.2, 0.3], [0.75], []]], [[1.0, 0, 0], *BEFORE.masses[1:].tolist()])
    for before, after in ((BEFORE, silent), (silent, BEFORE)):
        table = effects(before, after, TOY, "tuned").set_index("measure")
        assert table.loc["utility first, if legal", "n"] == 2
        assert table.loc["utility first", "n"] == 4
        assert not table[["value", "effect"]].isna().any().any()


def test_a_context_changes_nothing_but_time() -> None:
    context = MeasureContext.of(BEFORE, TOY)
    pd.testing.assert_frame_equal(
        effects(BEFORE, AFTER, TOY, "base", context), effects(BEFORE, AFTER, TOY, "base")
    )


def test_the_most_changed_situations() -> None:
    changes = most_changed(BEFORE, AFTER, 2)
    assert [change.situation for change in changes] == ["s2", "s0"]
    assert changes[0].distance == pytest.approx(0.5)
    assert changes[1].arrows("before") == (("ab", 0.3), ("a", 0.2))
    assert changes[1].arrows("after", 1) == (("a", 0.5),)
    assert most_changed(BEFORE, BEFORE, 3)[2].situation == "s2"


def test_readouts_of_different_situations_do_not_compare() -> None:
    for other in (BEFORE[:2], replace(BEFORE, illegal=("x", "y", "z"))):
        with pytest.raises(TakebackError, match="not of the same situations"):
            shift(BEFORE, other)
