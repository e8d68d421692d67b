"""Shapley's axioms, the exact values against every order, drawn orders against the exact values."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from coalitions import additive, ask_about, redundant
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.draw.page import fragment
from takeback.draw.result import section_of
from takeback.findings.localise.shapley import Orders, Players, exactly, sampled, shapley
from takeback.measure.bench import Bench
from takeback.run.errors import TakebackError

NUMBERS = st.floats(-10, 10, width=32)
HEADS = "L0.H0 L0.H1 L0.H2 L0.H3 L0.MLP"


@st.composite
def games(draw, most=5):
    players = draw(st.integers(1, most))
    values = draw(arrays(np.float64, (1 << players, 2), elements=NUMBERS))
    return players, dict(enumerate(values))


def by_every_order(values, players):
    """The slow definition: the mean over all orders of what a player adds."""
    added = np.zeros((players, len(values[0])))
    orders = list(permutations(range(players)))
    for order in orders:
        mask = 0
        for player in order:
            added[player] += values[mask | 1 << player] - values[mask]
            mask |= 1 << player
    return added / len(orders)


def with_player(mask, player, others):
    return mask | 1 << player if others >> player & 1 else mask & ~(1 << player)


@given(games())
def test_exact_values_are_the_mean_over_every_order(game):
    players, values = game
    np.testing.assert_allclose(exactly(values, players)[0], by_every_order(values, players), atol=1e-9)


@given(games(), st.integers(0, 3))
def test_efficiency_values_sum_to_the_total_in_every_pair_of_orders(game, seed):
    players, values = game
    total = values[(1 << players) - 1] - values[0]
    for found in (exactly(values, players), sampled(values, Orders(3, seed), players)):
        np.testing.assert_allclose(found.sum(axis=1), np.broadcast_to(total, (len(found), 2)), atol=1e-9)


@given(games(), st.data())
def test_a_player_that_adds_nothing_has_nothing(game, data):
    players, values = game
    idle = data.draw(st.integers(0, players - 1))
    values = {mask: values[mask & ~(1 << idle)] for mask in values}
    for found in (exactly(values, players), sampled(values, Orders(2), players)):
        np.testing.assert_allclose(found[:, idle], 0, atol=1e-12)


@given(games().filter(lambda game: game[0] > 1))
def test_symmetric_players_have_equal_values(game):
    players, values = game

    def swapped(mask):
        return mask & ~3 | (mask & 1) << 1 | mask >> 1 & 1

    values = {mask: values[mask] + values[swapped(mask)] for mask in values}
    found = exactly(values, players)[0]
    np.testing.assert_allclose(found[0], found[1], atol=1e-9)


@given(games(3), st.data())
def test_the_values_of_a_sum_of_games_are_the_sums_of_the_values(game, data):
    players, values = game
    others = dict(enumerate(data.draw(arrays(np.float64, (1 << players, 2), elements=NUMBERS))))
    both = {mask: values[mask] + others[mask] for mask in values}
    for solve in (exactly, lambda one, count: sampled(one, Orders(2), count)):
        np.testing.assert_allclose(
            solve(both, players), solve(values, players) + solve(others, players), atol=1e-9
        )


@given(arrays(np.float64, (5, 5), elements=NUMBERS), st.integers(0, 9))
def test_one_order_and_its_reverse_are_exact_where_only_pairs_interact(worth, seed):
    members = [[place for place in range(5) if mask >> place & 1] for mask in range(32)]
    values = {mask: np.array([worth[np.ix_(one, one)].sum()]) for mask, one in enumerate(members)}
    np.testing.assert_allclose(sampled(values, Orders(1, seed), 5), exactly(values, 5), atol=1e-9)


def test_every_order_is_as_likely_as_any_other():
    drawn, masks = Orders(3000, 1).coalitions(3)
    _, counts = np.unique(drawn[:, 0], axis=0, return_counts=True)
    assert len(counts) == 6
    assert ((counts - 500) ** 2 / 500).sum() < 20.5, "chi² with 5 degrees of freedom, 1 in 1000"
    np.testing.assert_array_equal(drawn[:, 1], drawn[:, 0, ::-1])
    assert (masks[..., 0] == 0).all()
    assert (masks[..., -1] == 7).all()


def test_drawn_orders_come_near_the_exact_values_with_their_error(monkeypatch):
    bench = ask_about(monkeypatch, redundant("L0.H0 L0.H1 L0.H2 L0.MLP", "L1.H0 L1.H1 L1.MLP"))
    players = Players.each(bench.anatomy.universe)
    exact, drawn = shapley(bench, players), shapley(bench, players, Orders(40, 3))
    for found in (exact, drawn):
        assert found.table["value"].sum() == pytest.approx(1)
    assert (exact.table["se_orders"] == 0).all()
    apart = (drawn.table["value"] - exact.table["value"]).abs()
    assert (apart <= 4 * drawn.table["se_orders"] + 1e-12).all()
    assert drawn.table["se_orders"].max() > 1e-3
    values = exact.table.set_index("player")
    assert values.loc["L0.H0", "value"] > 20 * values.loc["L0.H0", "necessity"]
    assert values.loc["L0.H0", "sufficiency"] > values.loc["L0.H0", "value"]


@pytest.mark.slow
def test_intervals_hold_for_other_situations_and_other_orders():
    """Both samples are drawn anew each time, and the interval must hold what neither of them knows."""
    random = np.random.default_rng(5)
    worth = random.normal(size=16)
    worth[0] = 0
    truth = exactly({mask: worth[[mask]] for mask in range(16)}, 4)[0, :, 0] / (worth[15] - worth[0])
    held = []
    with pytest.MonkeyPatch.context() as patch:
        for seed in range(100):
            names = HEADS.split()[:4]
            noise = random.normal(0, 1, (16, 40))

            def value(tuned, noise=noise, names=names):
                mask = sum(1 << names.index(name) for name in tuned)
                return worth[mask] + noise[mask]

            bench = ask_about(patch, value, names, 40)
            table = shapley(bench, Players.each(bench.anatomy.universe), Orders(6, seed)).table
            held.append(((table["low"] <= truth) & (truth <= table["high"])).astype(float))
    assert np.mean(held) > 0.93


def test_the_background_is_what_no_player_holds(monkeypatch):
    bench = ask_about(monkeypatch, additive)
    parse = bench.anatomy.universe.parse
    sets = {
        "heads": parse("L0.H*", bench.anatomy.universe),
        "mlp": parse("L1.MLP", bench.anatomy.universe),
    }
    for background, rest in (("tuned", ""), ("base", "~L0.H* ~L1.MLP")):
        players = Players(sets, background)
        outside = parse(rest, bench.anatomy.universe) if rest else bench.nothing
        assert players.hybrid(0b11) == outside
        assert players.hybrid(0b01) == outside | sets["mlp"]
        assert players.hybrid(0) == outside | sets["mlp"] | sets["heads"]
        found = shapley(bench, players)
        assert found.table["value"].sum() == pytest.approx(1)
        assert found.players.background in fragment(section_of(found))


def test_it_refuses_players_that_overlap_and_more_coalitions_than_can_be_read(monkeypatch):
    bench = ask_about(monkeypatch, additive, [f"L0.H{place}" for place in range(13)])
    everything = bench.anatomy.universe
    with pytest.raises(TakebackError, match="8,192 coalitions"):
        shapley(bench, Players.each(everything))
    with pytest.raises(TakebackError, match=r"L0\.H0 is in two players"):
        Players({"all": everything, "one": everything.parse("L0.H0", everything)})
    with pytest.raises(TakebackError, match="none of them empty"):
        Players({"none": bench.nothing})
    with pytest.raises(TakebackError, match="not 'zeros'"):
        Players({"all": everything}, "zeros")


def test_the_values_of_a_real_pair_equal_those_over_every_order(players):
    bench = Bench.held_out(open_pair(*players), arena("endgames"), ("entropy, if legal",), (8, 0))
    whole = Players.parts_of_layers(bench.anatomy.universe)
    assert sum(map(len, whole.sets.values())) == len(bench.anatomy.universe)
    chosen = Players({name: whole.sets[name] for name in ("L0 heads", "L0 mlp", "embeddings")}, "base")
    found = shapley(bench, chosen)
    coalitions = {mask: chosen.hybrid(mask) for mask in range(8)}
    answers = bench.answer(coalitions.values())
    values = {mask: answers.of(one, "entropy, if legal") for mask, one in coalitions.items()}
    wanted = by_every_order(values, 3).mean(axis=1) / (values[7] - values[0]).mean()
    np.testing.assert_allclose(found.table["value"].astype(float), wanted, rtol=1e-6)
    assert "<svg" in fragment(section_of(found))
