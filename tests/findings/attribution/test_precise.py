import numpy as np
import pandas as pd
import pytest

from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.draw.page import fragment
from takeback.draw.result import section_of
from takeback.findings.attribution import precise
from takeback.findings.attribution.attribution import attribute
from takeback.findings.attribution.precise import COLUMNS, Aim, estimate
from takeback.measure.bench import Bench
from takeback.measure.setup import Setup
from takeback.run.errors import TakebackError
from takeback.run.stats import mean_estimate
from takeback.run.tables import read_table

pytestmark = pytest.mark.slow

ENDGAMES = arena("endgames")
MEASURES = ("utility win", "legal")
COARSE = Aim(precision=0.05, first=6, growth=2.0)


@pytest.fixture(scope="module")
def bench(players):
    situations = tuple(ENDGAMES.situations("held-out", 24, 0))
    return Bench(open_pair(*players), ENDGAMES, situations, MEASURES)


@pytest.fixture(scope="module")
def sets(bench):
    return [bench.anatomy.parse(text) for text in ("L0.H1", "L3.MLP", "L0.H1 L3.MLP", "L2.LN1")]


@pytest.fixture(scope="module")
def coarse(bench, sets):
    return estimate(bench, COARSE, sets)


def rows(found):
    return found.table.set_index(["measure", "set"]).sort_index()


def test_a_row_for_each_measure_and_set_with_every_column(coarse, sets):
    table = coarse.table
    assert list(table.columns) == list(COLUMNS)
    assert list(table["set"]) == [str(one) for one in sets] * 2
    assert not table.isna().any(axis=None)
    assert (table["high"] - table["low"] >= 2 * COARSE.precision - 1e-12).all()
    reached = table[table["reached"]]
    np.testing.assert_allclose((reached["high"] - reached["low"]).astype(float), 2 * COARSE.precision)
    assert set(coarse.seconds) == {"attribution", "exact"}


def test_what_is_precise_is_not_measured_further(coarse):
    n = coarse.table.groupby("set", sort=False)["n"].max()
    assert n["L2.LN1"] < n["L0.H1 L3.MLP"] <= 24
    assert rows(coarse).loc[("legal", "L2.LN1"), "reached"]


def test_measured_everywhere_it_is_the_plain_exact_effect(bench, sets):
    found = rows(estimate(bench, Aim(precision=1e-9, first=8), sets[:2]))
    answers = bench.answer([bench.nothing, *sets[:2]])
    for measure in MEASURES:
        for one in sets[:2]:
            change = answers.change(one, measure, bench.nothing)
            wanted = mean_estimate(change[np.isfinite(change)])
            row = found.loc[(measure, str(one))]
            assert row["n"] == wanted.n
            assert row["effect"] == pytest.approx(wanted.value, abs=1e-6)
            assert row["exact"] == row["effect"]
            assert not row["reached"]
            assert row["high"] - row["low"] > wanted.high - wanted.low


def test_predictions_of_a_set_are_the_sums_of_its_components(bench, sets):
    run = precise._Run(bench, Aim(), tuple(sets))
    predicted = run.predicted()
    np.testing.assert_allclose(predicted[..., 2], predicted[..., 0] + predicted[..., 1])
    found = attribute(bench, "near")
    for place, measure in enumerate(MEASURES):
        (component,) = sets[0]
        np.testing.assert_allclose(predicted[:, place, 0], found.of(component, measure), atol=1e-6)


def test_the_measured_situations_are_a_random_part_by_whole_clusters(bench, sets):
    run = precise._Run(bench, COARSE, (sets[0],))
    chosen = []
    for seed in range(2):
        part = precise._Run(bench, Aim(precision=10.0, first=6, seed=seed), (sets[0],))
        exact, _ = part.measured(run.predicted())
        known = np.isfinite(exact[:, MEASURES.index("legal"), 0])
        assert len(set(bench.clusters[known])) == 6
        assert not set(bench.clusters[known]) & set(bench.clusters[~known])
        chosen.append(known)
    assert (chosen[0] != chosen[1]).any()


@pytest.mark.slow
def test_workers_and_what_was_kept_give_the_same_table(bench, sets, coarse, tmp_path):
    def again(workers=1):
        setup = Setup(tmp_path, workers=workers)
        return Bench(bench.pair, bench.arena, bench.situations, bench.measures, setup)

    pd.testing.assert_frame_equal(estimate(again(2), COARSE, sets).table, coarse.table)
    kept = sorted((tmp_path / ".parts").glob("predictions/*.parquet"))
    table = read_table(kept[0])
    assert again().unread(sets) > 0, "a set that was precise was not read everywhere"
    next((tmp_path / "readouts").glob("*/*.parquet")).unlink()
    pd.testing.assert_frame_equal(estimate(again(), COARSE, sets).table, coarse.table)
    pd.testing.assert_frame_equal(read_table(kept[0]), table)


@pytest.mark.slow
def test_every_component_alone_is_the_default(bench):
    table = estimate(bench, Aim(precision=10.0, first=6)).table
    assert list(table["set"])[: len(bench.anatomy.universe)] == [str(c) for c in bench.anatomy.universe]
    assert table["reached"].all()


def test_without_attribution_any_measure_is_estimated_from_exact_effects_alone(bench, sets):
    found = estimate(bench.about("legal, greedy"), Aim(0.05, first=6, method="none"), sets[:2]).table
    assert (found["weight"] == 0).all()
    pd.testing.assert_series_equal(found["effect"], found["exact"], check_names=False)


def test_what_it_shows(coarse, capsys):
    coarse.print()
    printed = capsys.readouterr().out
    assert "all together with 95% confidence" in printed
    assert "need more situations" in printed
    html = fragment(section_of(coarse))
    assert html.count("<svg") == len(MEASURES)
    assert "L0.H1 L3.MLP" in html


def test_errors_say_what_to_do(bench, sets):
    with pytest.raises(TakebackError, match="moves in jumps"):
        estimate(bench.about("legal, greedy"), COARSE, sets)
    with pytest.raises(TakebackError, match="name at least one"):
        estimate(bench, COARSE, [])
    with pytest.raises(TakebackError, match="is not positive"):
        Aim(precision=0)
