"""Planted groups are found and tested on situations that the search has not seen; sums have none."""

from __future__ import annotations

import pytest

from coalitions import TWO_LAYERS, additive, ask_about, redundant
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.component import Component, ComponentSet
from takeback.draw.page import fragment
from takeback.draw.result import section_of
from takeback.findings.localise.groups import groups
from takeback.findings.localise.search import CORE, Search, giving_back
from takeback.findings.localise.shares import Controls
from takeback.findings.sweep import squared_norms
from takeback.findings.sweep.run import DIRECTIONS
from takeback.findings.sweep.sets import CONTROLS
from takeback.measure.bench import Bench
from takeback.run.errors import TakebackError
from takeback.weights import diff

CHANCE = Controls({Component.parse(name): 1.0 for name in TWO_LAYERS}, number=9)
PAIR, FOUR = "L0.H3 L1.H0", "L0.H0 L0.MLP L1.H2 L1.LN1"


def parsed(texts):
    everything = ComponentSet(map(Component.parse, TWO_LAYERS))
    return [everything.parse(str(text), everything) for text in texts]


def row_of(found, names):
    (wanted,) = parsed([names])
    return found.table[[one == wanted for one in parsed(found.table["components"])]].iloc[0]


def test_groups_of_two_and_of_four_are_found(monkeypatch):
    bench = ask_about(monkeypatch, redundant(PAIR, FOUR))
    found = groups(bench, CHANCE)
    for names in (PAIR, FOUR):
        row = row_of(found, names)
        assert row["redundant"]
        assert row["excess"] == pytest.approx(1 / (2 + additive(frozenset(TWO_LAYERS))))
        assert row["joint"] > 5 * row["singles"] > 0
        assert row["excess_low"] > 0
    pair = row_of(found, PAIR)
    assert pair["controls"] > 0
    last = found.members[found.members["group"] == pair["group"]].set_index("member")["last"]
    assert (last > 0.3).all()


def test_a_group_within_a_layer_is_shown_by_its_core(monkeypatch):
    found = groups(ask_about(monkeypatch, redundant("L0.H0 L0.H1 L0.H2 L0.MLP")), CHANCE)
    cores = found.table[found.table["family"] == CORE].set_index("group")["components"]
    assert parsed([cores["core of L0"]]) == parsed(["L0.H0 L0.H1 L0.H2 L0.MLP"])
    assert "L0 heads" not in set(found.table["group"]), "the MLP still stands in for them"


def test_what_simply_adds_up_has_no_groups(monkeypatch):
    found = groups(ask_about(monkeypatch, additive), CHANCE)
    assert found.redundant.empty
    assert found.table["excess"].abs().max() < 1e-9


def test_what_overlaps_less_than_its_sum_is_not_redundant(monkeypatch):
    """Taking back any one of them takes all: together less than the sum of the singles."""
    whole = frozenset(TWO_LAYERS)
    bench = ask_about(monkeypatch, lambda tuned: additive(tuned) + (whole <= tuned))
    assert groups(bench, CHANCE).redundant.empty
    together = groups(bench, CHANCE, Search(direction=DIRECTIONS[1], most=12))
    assert list(together.redundant["components"]) == ["*"], "grafted, they work only together"


def test_the_search_and_the_test_share_no_situation(monkeypatch):
    bench = ask_about(monkeypatch, redundant(PAIR))
    found = groups(bench, CHANCE)
    *searched, tested = [situations for hybrids, situations in bench.pair.asked if hybrids > 2]
    search, test = {one for situations in searched for one in situations}, set(tested)
    assert not search & test
    assert search | test == set(bench.situations)
    assert set(found.table["n"]) == {len(test)}


def test_random_groups_stand_in_the_same_table(monkeypatch):
    found = groups(ask_about(monkeypatch, redundant(PAIR)), CHANCE)
    table = found.table
    real, random = table[~table["family"].isin(CONTROLS)], table[table["family"].isin(CONTROLS)]
    assert len(random)
    assert real["p"].notna().any()
    planted = row_of(found, PAIR)
    assert planted["p"] == pytest.approx(1 / (1 + planted["controls"]))
    assert random["matches"].str.len().gt(0).all()


def test_giving_back_tries_fewer_sets_of_many_components():
    names = [f"L{layer}.H{head}" for layer in range(10) for head in range(10)]
    start = ComponentSet(map(Component.parse, names))
    wanted = start.parse("L3.H* L4.H0", start)
    tried = []

    def excess_of(sets):
        tried.extend(sets)
        return [float(wanted <= one) for one in sets]

    path = giving_back(start, excess_of)
    assert (wanted, 1.0) in path
    assert len(path[-1][0]) == 2
    assert len(tried) < 1500


def test_it_refuses_fewer_than_two_components(monkeypatch):
    bench = ask_about(monkeypatch, additive)
    with pytest.raises(TakebackError, match="no groups"):
        groups(bench, CHANCE, Search(among=bench.nothing))


@pytest.mark.slow
def test_groups_of_a_real_pair(players):
    pair = open_pair(*players)
    bench = Bench.held_out(pair, arena("endgames"), ("entropy, if legal",), (12, 0))
    among = bench.anatomy.parse("L0.H* L1.MLP")
    found = groups(
        bench, Controls(squared_norms(diff(pair)), 2), Search(among=among, number=1, least=float("-inf"))
    )
    named = found.table.set_index("group")
    assert named.loc["L0 heads", "components"] == "L0.H*"
    lost = named.loc["L0 heads", "joint"] - named.loc["L0 heads", "singles"]
    assert lost == pytest.approx(named.loc["L0 heads", "excess"])
    assert "<svg" in fragment(section_of(found))
