"""Bent input is refused in one line or read rightly, and what was there stays: a small run of the fuzzer."""

from __future__ import annotations

import pytest

from fuzz.kinds import KINDS
from fuzz.run import fuzz


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_bent_input_is_read_rightly_or_refused_in_one_line(seed: int) -> None:
    found = fuzz(112, seed, [*KINDS], 112)
    assert [one for one in found if one.outcome not in ("accepted", "refused")] == []
    assert {one.kind for one in found if one.outcome == "accepted"}
