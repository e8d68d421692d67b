import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from games import ANATOMY, additive, answering, game, part
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.component import ComponentSet
from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.findings.localise.curves import AGAINST, Halves, counts_of, curves, trapezoids
from takeback.findings.localise.localise import ORDERED, LocaliseSettings, localise
from takeback.findings.localise.orders import (
    DENSITY,
    EXACT,
    GREEDY,
    INVARIANT,
    NORM,
    ORDERS,
    RANDOM,
    Order,
    at_random,
    by_attribution,
    by_effect,
    by_weights,
    greedy,
    in_every_lane,
)
from takeback.findings.localise.shares import GRAFT, TAKE_BACK, Controls
from takeback.findings.localise.smallest import smallest, smallest_sets
from takeback.measure.bench import Bench
from takeback.measure.setup import Setup
from takeback.run.errors import TakebackError, UnknownName
from takeback.run.tables import read_table
from takeback.weights import diff
from takeback.weights.circuits import circuits

CONTROL = Controls({component: 1.0 for component in ANATOMY.universe}, number=5)
ALL = list(ANATOMY.universe)


def use(monkeypatch, worth, asked=None):
    monkeypatch.setattr(Bench, "answer", answering(worth, asked))


def led_by(*names):
    """Return the components, these first."""
    first = [part(name) for name in names]
    return tuple(first + [component for component in ALL if component not in first])


def of(orders, direction):
    (found,) = [order for order in orders if order.direction == direction]
    return [str(component) for component in found.components]


def redundant(kept, _):
    """Worth 0.8 as long as one of two heads is tuned, and 0.2 for an MLP."""
    return 0.8 * ("L0.H0" in kept or "L0.H1" in kept) + 0.2 * ("L1.MLP" in kept)


def test_halves_share_no_cluster():
    for seed in range(5):
        halves = Halves.of(game(31, cluster=3), seed)
        sides = [{one // 3 for one in side.situations} for side in (halves.selection, halves.evaluation)]
        assert sides[0].isdisjoint(sides[1])
        assert sides[0] | sides[1] == set(range(11))
        assert min(map(len, sides)) >= 4


def test_points_and_areas_of_an_additive_game_are_those_on_paper(monkeypatch):
    weights = {"L0_H0": 0.5, "L0_H1": 0.3, "L1_MLP": 0.2}
    use(monkeypatch, additive(**weights))
    order = led_by("L0.H0", "L0.H1", "L1.MLP")
    found = curves(Halves.of(game()), in_every_lane(game(), "by hand", order))
    shown = np.array([0, 0.5, 0.8] + [1.0] * (len(ALL) - 2))
    counts = np.arange(len(ALL) + 1)
    sizes = np.array([0, *np.cumsum([ANATOMY.parameters(component) for component in order])])
    for direction, expected in ((TAKE_BACK, 1 - shown), (GRAFT, shown)):
        points = found.points[found.points["direction"] == direction]
        assert points["n_components"].tolist() == counts.tolist()
        assert points["added"].tolist()[1:] == [str(component) for component in order]
        np.testing.assert_allclose(points["parameters"].astype(float), sizes / sizes[-1])
        np.testing.assert_allclose(points["share"].astype(float), expected, atol=1e-12)
        np.testing.assert_allclose(points["selected"].astype(float), expected, atol=1e-12)
        areas = found.areas[found.areas["direction"] == direction].set_index("against")["area"]
        for against, places in zip(AGAINST, (counts, sizes), strict=True):
            assert areas[against] == pytest.approx(np.trapezoid(expected, places / places[-1]))


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_trapezoids_are_numpys(gaps, random):
    places = np.array([0, *np.cumsum(gaps)]) / sum(gaps)
    values = np.array([random.uniform(-1, 2) for _ in places])
    assert trapezoids(places) @ values == pytest.approx(np.trapezoid(values, places))
    assert trapezoids(places).sum() == pytest.approx(1.0)


@given(st.integers(1, 500), st.integers(2, 60))
def test_counts_go_from_nothing_to_everything(components, most):
    counts = counts_of(components, most)
    assert counts[0] == 0
    assert counts[-1] == components
    assert counts == sorted(set(counts))
    assert len(counts) <= most + 1


def test_an_area_has_the_error_of_the_mean_of_its_shares(monkeypatch):
    """The area's interval is that of the ratio of each situation's mean over the path."""
    random = np.random.default_rng(0).normal(size=(40, len(ALL)))
    use(monkeypatch, lambda kept, one: sum(1 + 0.3 * random[one, ALL.index(part(name))] for name in kept))
    halves = Halves.of(game(40))
    (area, _), (lowest, highest) = _area_by_hand(halves, tuple(ALL))
    found = curves(halves, [Order("by hand", GRAFT, "gain", tuple(ALL))]).areas.iloc[0]
    assert found["area"] == pytest.approx(area)
    assert (found["low"], found["high"]) == pytest.approx((lowest, highest))


def _area_by_hand(halves, order):
    bench = halves.evaluation
    sets = [~ComponentSet(order[:count], ANATOMY.universe) for count in range(len(order) + 1)]
    answers = bench.answer([*sets, bench.nothing])
    rows = np.array([answers.of(one, "gain") - answers.of(ANATOMY.universe, "gain") for one in sets])
    found = answers.ratio(np.trapezoid(rows, np.linspace(0, 1, len(sets)), axis=0), rows[-1])
    return (found.value, found.se), (found.low, found.high)


def test_the_smallest_set_carries_90_percent_and_less_does_not(monkeypatch):
    use(monkeypatch, additive(L0_H0=0.5, L0_H1=0.3, L1_MLP=0.1, NORM=0.1))
    halves = Halves.of(game())
    orders = [*by_effect(halves.selection), *at_random(halves.selection, 7)]
    found = curves(halves, orders)
    table = smallest_sets(halves, found, CONTROL).table.set_index("direction")
    for direction in (TAKE_BACK, GRAFT):
        row = table.loc[direction]
        assert row["components"] == str(ANATOMY.parse("L0.H0 L0.H1 L1.MLP"))
        assert (row["n_components"], row["of"]) == (3, len(ALL))
        for column in ("selected", "carried", "low", "high", "also"):
            assert row[column] == pytest.approx(0.9)
        assert row["controls_carried"] < 0.9
        assert row["p_size"] == pytest.approx(1 / 8)
    sizes = smallest(found.points, 0.9)
    needed = sizes.loc[(sizes["order"] == RANDOM) & (sizes["direction"] == GRAFT), "n_components"]
    assert table.loc[GRAFT, "random_median"] == needed.median()
    assert (table.loc[GRAFT, "random_low"], table.loc[GRAFT, "random_high"]) == (needed.min(), needed.max())
    for order in [order for order in orders if order.name == RANDOM and order.direction == GRAFT]:
        places = [order.components.index(part(name)) for name in ("L0.H0", "L0.H1")]
        third = min(order.components.index(part(name)) for name in ("L1.MLP", "NORM"))
        drawn = sizes[(sizes["order"] == RANDOM) & (sizes["draw"] == order.draw)]
        assert set(drawn["n_components"]) == {1 + max(*places, third)}
    assert set(smallest(found.points, 0.5).loc[lambda rows: rows["order"] == EXACT, "n_components"]) == {1}
    with pytest.raises(TakebackError, match="between 0 and 1"):
        smallest(found.points, 90)


def test_where_two_stand_in_for_each_other_what_is_needed_is_not_what_is_enough(monkeypatch):
    use(monkeypatch, redundant)
    halves = Halves.of(game())
    orders = [*greedy(halves.selection), *by_effect(halves.selection)]
    table = smallest_sets(halves, curves(halves, orders), CONTROL).table.set_index(["order", "direction"])
    enough = table.loc[(GREEDY, GRAFT)]
    assert enough["n_components"] == 2
    assert enough["carried"] == pytest.approx(1.0)
    assert enough["also"] == pytest.approx(0.2)
    needed = table.loc[(GREEDY, TAKE_BACK)]
    assert needed["components"] == str(ANATOMY.parse("EMBED L0.H0 L0.H1 L1.MLP")), (
        "until one of the two is gone neither adds anything, so the next in canonical order is taken"
    )


def test_when_only_everything_carries_enough_it_says_so(monkeypatch, capsys):
    equal = {str(component).replace(".", "_"): 1 / len(ALL) for component in ALL}
    use(monkeypatch, additive(**equal))
    halves = Halves.of(game())
    found = smallest_sets(halves, curves(halves, by_effect(halves.selection)), CONTROL, wanted=0.99)
    assert set(found.table["components"]) == {"*"}
    assert found.table["controls"].tolist() == [0, 0]
    assert found.table[["p", "random_median", "controls_carried"]].isna().all(axis=None)
    assert "nothing less than all components" in found._repr_html_()
    found.print()
    assert "nothing less" in capsys.readouterr().out


def test_what_orders_are_made_of_never_reads_the_situations_they_are_judged_in(monkeypatch):
    asked = []
    halves = Halves.of(game(20))
    inside = set(halves.selection.situations)
    use(
        monkeypatch,
        lambda kept, one: (1 + 3 * (one in inside)) * ("L0.H0" in kept) + 2 * ("NORM" in kept),
        asked,
    )
    orders = [*by_effect(halves.selection), *greedy(halves.selection, rounds=2)]
    orders += by_attribution(halves.selection, lambda one, _: np.zeros(len(halves.selection.situations)))
    assert set(asked) == {halves.selection.situations}
    assert of(orders[:2], GRAFT)[:2] == ["L0.H0", "NORM"]
    asked.clear()
    curves(halves, orders)
    assert asked == [half.situations for half in (halves.evaluation, halves.selection, halves.evaluation)]


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([None, 1, 3]))
def test_greedy_is_greedy(seed, rounds):
    """Against the plain definition, in a game where every pair works together or against each other."""
    names = [str(component) for component in ALL]
    single, double = (
        np.random.default_rng([seed, one]).normal(size=size) for one, size in ((0, 9), (1, (9, 9)))
    )

    def worth(kept, _=0):
        inside = [place for place, name in enumerate(names[:9]) if name in kept]
        pairs = sum(double[pair] for pair in itertools.combinations(inside, 2))
        return 50.0 * ("NORM" in kept) + single[inside].sum() + pairs

    with pytest.MonkeyPatch.context() as patch:
        use(patch, worth)
        found = of(greedy(game(2, 1), rounds), GRAFT)
    chosen = []
    while len(chosen) < len(names):
        rest = [name for name in names if name not in chosen]
        gains = {name: worth({*chosen, name}) for name in rest}
        best = sorted(rest, key=lambda name: -gains[name])
        chosen += best if rounds is not None and len(chosen) == rounds - 1 else best[:1]
    assert found == chosen


def test_exact_effects_put_last_what_stands_against_the_change(monkeypatch):
    use(monkeypatch, additive(L0_H0=-0.5, L0_H1=-0.3, L1_MLP=0.2))
    for direction in (TAKE_BACK, GRAFT):
        order = of(by_effect(game()), direction)
        assert order[:2] == ["L0.H0", "L0.H1"]
        assert order[-1] == "L1.MLP"


def test_attribution_orders_by_what_it_says_a_takeback_undoes(monkeypatch):
    use(monkeypatch, additive(L0_H0=-0.5, L0_H1=-0.3, L1_MLP=0.2))
    told = {"L0.H0": 0.5, "L0.H1": 0.3, "L1.MLP": -0.2}
    found = by_attribution(game(), lambda one, _: np.array([told.get(str(one), 0.0), np.nan]))
    for direction in (TAKE_BACK, GRAFT):
        assert of(found, direction) == of(by_effect(game()), direction)


def test_random_orders_are_permutations_that_a_seed_fixes():
    found = at_random(game(), 4, seed=1)
    assert found == at_random(game(), 4, seed=1)
    assert found != at_random(game(), 4, seed=2)
    assert all(sorted(order.components) == ALL for order in found)
    assert len({order.components for order in found}) == 4
    assert found[:2] == at_random(game(), 1, seed=1)


def test_a_greedy_order_needs_a_round():
    with pytest.raises(TakebackError, match="one round or more"):
        greedy(game(), rounds=0)


def test_a_carrier_needs_an_order_that_is_not_random(monkeypatch):
    use(monkeypatch, redundant)
    halves = Halves.of(game())
    with pytest.raises(TakebackError, match="all orders are random"):
        smallest_sets(halves, curves(halves, at_random(game(), 2)), CONTROL)


def test_curves_are_drawn_with_random_orders_as_a_band(monkeypatch, capsys):
    use(monkeypatch, redundant)
    halves = Halves.of(game())
    found = curves(halves, [*by_effect(halves.selection), *at_random(game(), 3)])
    html = found._repr_html_()
    assert html.count("stroke-dasharray") == 2 * 2 * len(AGAINST)
    assert html.count("<polygon") > 4
    found.print()
    assert "random orders" in capsys.readouterr().out
    assert {*found.points.columns, *found.areas.columns} == set(found.columns)
    assert found.areas.loc[found.areas["order"] == RANDOM, "p"].isna().all()


@pytest.fixture(scope="module")
def moved(players):
    return open_pair(*players), diff(open_pair(*players))


def test_orders_by_weights_follow_their_measures(moved):
    pair, found = moved
    bench = Bench.held_out(pair, arena("endgames"), ["legal"], (2, 0))
    told = circuits(pair)
    orders = {
        order.name: of([order], GRAFT) for order in by_weights(bench, found, told) if order.direction == GRAFT
    }
    table = found.components.set_index("component")
    norms = table["delta_norm"].astype(float)
    assert norms[orders[NORM]].is_monotonic_decreasing
    assert (norms / table["parameters"].astype(float) ** 0.5)[orders[DENSITY]].is_monotonic_decreasing
    relative = table["relative"].astype(float)
    relative.update(told.components.set_index("component")["change"].astype(float))
    assert relative[orders[INVARIANT]].is_monotonic_decreasing
    assert set(orders) == {NORM, DENSITY, INVARIANT}
    assert INVARIANT not in {order.name for order in by_weights(bench, found, None)}


def test_every_order_has_a_maker_and_no_name_is_silent(moved):
    assert set(ORDERED) == set(ORDERS)
    bench = Bench.held_out(moved[0], arena("endgames"), ["legal"], (2, 0))
    with pytest.raises(UnknownName, match="did you mean 'carriers'"):
        localise(bench, ["carrier"])
    with pytest.raises(UnknownName, match="did you mean 'greedy'"):
        localise(bench, ["curves"], LocaliseSettings(orders=("gredy",)))


@pytest.mark.slow
def test_a_real_change_from_the_question_to_the_page(moved, tmp_path):
    bench = Bench.held_out(moved[0], arena("endgames"), ["legal"], (32, 0), Setup(tmp_path))
    chosen = LocaliseSettings(("each layer",), points=2, rounds=1, controls=1, random_orders=1)
    found = localise(bench, ("shares", "curves", "carriers"), chosen)
    found.write(tmp_path)
    written = {path.stem for path in tmp_path.glob("*.parquet")}
    assert written == {"shares", "changes", "curves", "areas", "carriers", "carriers_checked"}
    assert (tmp_path / "localise.html").exists()
    points = read_table(tmp_path / "curves.parquet")
    assert set(points["order"]) == set(ORDERS)
    ends = points[points["n_components"].isin([0, len(bench.anatomy.universe)])]
    assert set(ends["share"]) == {0.0, 1.0}
    shown = read_table(tmp_path / "shares.parquet").set_index(["direction", "set"])["share"]
    layer, anatomy = bench.anatomy.parse("L1.*"), bench.anatomy
    ends = bench.answer([bench.nothing, anatomy.universe, layer, ~layer])
    tuned, base, *hybrids = (
        ends.of(one, "legal").mean() for one in (bench.nothing, anatomy.universe, layer, ~layer)
    )
    for direction, hybrid in zip((TAKE_BACK, GRAFT), hybrids, strict=True):
        assert shown[direction, "L1"] == pytest.approx((hybrid - base) / (tuned - base), rel=1e-4)


def test_a_band_takes_the_place_of_whiskers_and_names_are_in_the_legend():
    points = (Point(0, 0.2, 0.1, 0.3), Point(1, 0.5, 0.4, 0.6))
    whiskers = line_plot([Series(0, points)], Axes("x"), "plot")
    band = line_plot([Series(0, points, band=True, dashed=True, name="a < b")], Axes("x"), "plot")
    assert "<polygon" not in whiskers
    assert band.count("<polygon") == 1
    assert band.count('stroke-dasharray="5 3"') == 2
    assert "a &lt; b" in band
    assert band.count('stroke-width="1.3"') == 0 < whiskers.count('stroke-width="1.3"')
