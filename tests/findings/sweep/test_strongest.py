"""The strongest sets of a sweep stand beside the random sets that are like them."""

from __future__ import annotations

import pandas as pd
import pytest

from takeback.findings.sweep import moved_most, strongest


def effects() -> pd.DataFrame:
    """Make a table: three layers, two heads, and random sets of either make-up."""
    rows = [
        ("take back", "each layer", "L0", "L0.*", -0.5, ""),
        ("take back", "each layer", "L1", "L1.*", 0.1, ""),
        ("take back", "each head", "L0.H0", "L0.H0", -0.2, ""),
        ("take back", "by name", "the first", "L0.*", -0.5, ""),
        ("take back", "random, same size", "r0", "L0.H0 L1.MLP", -0.3, "L0; L1"),
        ("take back", "random, same size", "r1", "L0.H1 L1.MLP", 0.2, "L0; L1"),
        ("graft", "each layer", "L1", "L1.*", 0.4, ""),
    ]
    names = ("direction", "family", "set", "components", "effect", "matches")
    table = pd.DataFrame(rows, columns=list(names)).assign(measure="utility good")
    other = table.assign(measure="legal", effect=9.0)
    return pd.concat([other, table]).assign(
        low=lambda one: one["effect"] - 0.05, high=lambda one: one["effect"]
    )


def test_the_largest_come_first_each_once_and_no_random_set_among_them() -> None:
    found = strongest(effects(), "utility good", 3)
    back = found[found["direction"] == "take back"]
    assert back["set"].tolist() == ["L0", "L0.H0", "L1"]
    assert back["effect"].tolist() == [-0.5, -0.2, 0.1]
    assert found[found["direction"] == "graft"]["set"].tolist() == ["L1"]
    assert strongest(effects(), "utility good", 1)["set"].tolist() == ["L0", "L1"]


def test_each_is_beside_the_random_sets_of_its_make_up() -> None:
    found = strongest(effects(), "utility good").set_index(["direction", "set"])
    strong, weak = found.loc[("take back", "L0")], found.loc[("take back", "L1")]
    assert (strong["random"], strong["random_low"], strong["random_high"]) == (2, -0.3, 0.2)
    assert strong["beyond"], "larger in size than either"
    assert not weak["beyond"], "smaller than both"
    alone = found.loc[("take back", "L0.H0")]
    assert alone["random"] == 0
    assert not alone["beyond"], "nothing says that it is large"


@pytest.mark.parametrize("low", [-0.7, None])
def test_what_is_not_told_from_zero_is_beyond_nothing(low: float | None) -> None:
    some = effects().assign(low=low, high=None if low is None else 0.1).astype({"low": "Float64"})
    found = strongest(some, "utility good").set_index(["direction", "set"])
    assert not found.loc[("take back", "L0"), "beyond"]


def test_what_was_not_measured_has_no_strongest_sets() -> None:
    assert strongest(effects(), "utility other").empty
    assert moved_most(effects(), ["utility other"]) is None
    assert moved_most(effects(), ["utility good", "legal"]) == "legal"
