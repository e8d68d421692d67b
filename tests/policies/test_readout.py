from __future__ import annotations

import io
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pytest

from readouts_by_hand import make
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError

HAND = make(
    [[0.2, 0.3], [0.1, 0.2, 0.3], [0.75], []], [[0.1, 0.2, 0.1], [0.3, 0, 0], [0, 0.25, 0], [0.5, 0.2, 0.3]]
)


def same(left: Readouts, right: Readouts) -> None:
    for field in fields(Readouts):
        one: Any = getattr(left, field.name)
        two: Any = getattr(right, field.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, two)
            assert one.dtype == two.dtype
        else:
            assert one == two


def test_one_situation() -> None:
    readout = HAND[1]
    assert readout.legal == {"b": 0.1, "ba": 0.2, "cc": 0.3}
    assert readout.illegal == {"unparsable": 0.3, "short": 0.0, "long": 0.0}
    assert readout.undecided == pytest.approx(0.1)
    assert (readout.greedy, HAND[3].greedy, HAND[-4].greedy) == ("cc", None, "ab")
    assert [one.situation for one in HAND] == ["s0", "s1", "s2", "s3"]


def test_some_situations() -> None:
    some = HAND[[3, 1]]
    assert some.situations == ("s3", "s1")
    assert some.probabilities.tolist() == [0.1, 0.2, 0.3]
    same(HAND[:], HAND)


def test_table_and_back_through_parquet() -> None:
    file = io.BytesIO()
    HAND.to_frame().to_parquet(file)
    same(Readouts.from_frame(pd.read_parquet(file)), HAND)


def test_rows_may_come_back_from_a_larger_table() -> None:
    two = pd.concat([HAND.to_frame().assign(policy="base"), HAND[1:].to_frame().assign(policy="tuned")])
    same(Readouts.from_frame(two[two["policy"] == "tuned"]), HAND[1:])
    with pytest.raises(TakebackError, match="just one policy"):
        Readouts.from_frame(two)


def test_a_table_with_rows_missing_is_refused() -> None:
    frame = HAND.to_frame()
    for kind in ("illegal", "undecided"):
        with pytest.raises(TakebackError, match="just one policy"):
            Readouts.from_frame(frame.drop(frame.index[frame["kind"] == kind][0]))


def test_every_situation_adds_up_to_one() -> None:
    totals = HAND.to_frame().groupby("item")["probability"].sum()
    np.testing.assert_allclose(totals, 1)
