"""What is refused as a way to draw."""

from __future__ import annotations

import math
from typing import Any

import pytest

from takeback.arenas.rows.sampling import Sampling
from takeback.run.errors import TakebackError


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0}, {"max_tokens": 2.0}, {"max_tokens": True},
        {"temperature": -0.1}, {"temperature": math.nan}, {"temperature": math.inf}, {"temperature": "1"},
        {"top_p": 0}, {"top_p": 1.1}, {"top_p": math.nan},
        {"stop": "\n"}, {"stop": [""]}, {"stop": [3]},
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_in_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(TakebackError) as refused:
        Sampling(**wrong)
    assert "\n" not in str(refused.value)


def test_stop_strings_may_be_any_list() -> None:
    assert Sampling(stop=["a", "b"]).stop == ("a", "b")  # type: ignore[arg-type]
    assert Sampling(temperature=0).greedy
    assert not Sampling().greedy
