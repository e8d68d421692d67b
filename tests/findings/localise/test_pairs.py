"""Interactions have the signs of the games they come from, and equal sums of answers done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from coalitions import TWO_LAYERS, UTILITY, additive, ask_about, redundant
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.component import Component
from takeback.draw.page import fragment
from takeback.draw.result import section_of
from takeback.findings.localise.pairs import pairs
from takeback.findings.sweep.run import DIRECTIONS
from takeback.measure.bench import Bench
from takeback.run.errors import TakebackError, UnknownName
from takeback.run.stats import ratio_estimate

TAKE_BACK, GRAFT = DIRECTIONS


def test_two_that_stand_in_for_each_other_and_two_that_need_each_other(monkeypatch):
    stand_in, need = frozenset({"L0.H1", "L1.MLP"}), frozenset({"L0.H2", "L1.H0"})

    def value(tuned):
        return additive(tuned) + bool(stand_in & tuned) + 2 * (need <= tuned)

    total = value(frozenset(TWO_LAYERS))
    found = pairs(ask_about(monkeypatch, value))
    for direction, sign in ((TAKE_BACK, 1), (GRAFT, -1)):
        rows = found.rows(UTILITY, direction)
        strong = {
            frozenset((row.a, row.b)): row.interaction
            for row in rows.itertuples()
            if abs(row.interaction) > 1e-9
        }
        assert strong == {
            stand_in: pytest.approx(sign / total),
            need: pytest.approx(-2 * sign / total),
        }
        assert found.reproduced(UTILITY, direction) == pytest.approx(1.0)
        assert len(rows) == len(TWO_LAYERS) * (len(TWO_LAYERS) - 1) // 2


def test_what_simply_adds_up_does_not_interact(monkeypatch):
    found = pairs(ask_about(monkeypatch, additive))
    assert found.table["interaction"].abs().max() < 1e-12
    np.testing.assert_allclose(
        found.table["together"].astype(float), (found.table["alone_a"] + found.table["alone_b"]).astype(float)
    )


def test_pairs_are_ranked_among_their_kinds(monkeypatch):
    found = pairs(ask_about(monkeypatch, redundant("L0.H1 L1.MLP", "L0.H0 L0.MLP")))
    rows = found.rows(UTILITY, TAKE_BACK).set_index(["a", "b"])
    assert rows.loc[("L0.H1", "L1.MLP"), "kinds"] == "H MLP"
    assert rows.loc[("L0.H1", "L1.MLP"), "peers"] == 8 * 2 - 1
    assert rows.loc[("L0.H1", "L1.MLP"), "p"] == pytest.approx((1 + 1) / 16)
    assert rows.loc[("L0.H1", "L0.MLP"), "p"] == 1.0


def test_it_refuses_what_has_no_pairs_no_name_or_no_change(monkeypatch):
    bench = ask_about(monkeypatch, additive)
    with pytest.raises(TakebackError, match="no pairs"):
        pairs(bench, [Component.parse("L0.H0")])
    with pytest.raises(UnknownName, match=r"L0\.H9"):
        pairs(bench, [Component.parse("L0.H0"), Component.parse("L0.H9")])
    with pytest.raises(TakebackError, match="told from 0"):
        pairs(ask_about(monkeypatch, lambda _: 0.0))


@pytest.fixture(scope="module")
def real(players):
    return Bench.held_out(open_pair(*players), arena("endgames"), ("entropy, if legal",), (8, 0))


def test_interactions_of_a_real_pair_equal_those_by_hand(real):
    chosen = [Component.parse(name) for name in ("L0.MLP", "L1.H0", "EMBED")]
    found = pairs(real, chosen)
    sets = {name: real.anatomy.parse(name) for name in ("", "*", "L0.MLP", "EMBED", "EMBED L0.MLP")}
    values = real.answer(sets.values())
    value = {name: values.of(one, "entropy, if legal") for name, one in sets.items()}
    by_hand = value["L0.MLP"] + value["EMBED"] - value["EMBED L0.MLP"] - value[""]
    wanted = ratio_estimate(by_hand, value[""] - value["*"], real.clusters, 1 - 0.05 / 3)
    row = found.rows("entropy, if legal", TAKE_BACK).set_index(["a", "b"]).loc[("EMBED", "L0.MLP")]
    for name, end in (("interaction", wanted.value), ("low", wanted.low), ("high", wanted.high)):
        assert row[name] == pytest.approx(end)
    assert len(found.table) == 6
    assert "<svg" in fragment(section_of(found))
