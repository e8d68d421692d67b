import shutil

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
from takeback.measure.question import Question, answer
from takeback.run.errors import TakebackError
from takeback.run.stats import mean_estimate
from takeback.run.tables import read_table

pytestmark = pytest.mark.slow

ENDGAMES = arena("endgames")
MEASURES = ("utility win", "legal")
COARSE = Aim(precision=0.05, first=6, growth=2.0)


@pytest.fixture(scope="module")
def question(players):
    situations = tuple(ENDGAMES.situations("held-out", 24, 0))
    return Question(open_pair(*players), ENDGAMES, situations, MEASURES)


@pytest.fixture(scope="module")
def sets(question):
    return [question.anatomy.parse(text) for text in ("L0.H1", "L3.MLP", "L0.H1 L3.MLP", "L2.LN1")]


@pytest.fixture(scope="module")
def coarse(question, sets):
    return estimate(question, COARSE, sets)


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


def test_measured_everywhere_it_is_the_plain_exact_effect(question, sets):
    found = rows(estimate(question, Aim(precision=1e-9, first=8), sets[:2]))
    answers = answer(question, [question.nothing, *sets[:2]])
    for measure in MEASURES:
        for one in sets[:2]:
            change = answers.change(one, measure, question.nothing)
            wanted = mean_estimate(change[np.isfinite(change)])
            row = found.loc[(measure, str(one))]
            assert row["n"] == wanted.n
            assert row["effect"] == pytest.approx(wanted.value, abs=1e-6)
            assert row["exact"] == row["effect"]
            assert not row["reached"]
            assert row["high"] - row["low"] > wanted.high - wanted.low


def test_predictions_of_a_set_are_the_sums_of_its_components(question, sets):
    run = precise._Run(question, Aim(), tuple(sets), None, 1)
    predicted = run.predicted()
    np.testing.assert_allclose(predicted[..., 2], predicted[..., 0] + predicted[..., 1])
    found = attribute(question, "near")
    for place, measure in enumerate(MEASURES):
        (component,) = sets[0]
        np.testing.assert_allclose(predicted[:, place, 0], found.of(component, measure), atol=1e-6)


def test_the_measured_situations_are_a_random_part_by_whole_clusters(question, sets):
    run = precise._Run(question, COARSE, (sets[0],), None, 1)
    chosen = []
    for seed in range(2):
        part = precise._Run(question, Aim(precision=10.0, first=6, seed=seed), (sets[0],), None, 1)
        exact, _ = part.measured(run.predicted())
        known = np.isfinite(exact[:, MEASURES.index("legal"), 0])
        assert len(set(question.clusters[known])) == 6
        assert not set(question.clusters[known]) & set(question.clusters[~known])
        chosen.append(known)
    assert (chosen[0] != chosen[1]).any()


@pytest.mark.slow
def test_workers_and_what_was_kept_give_the_same_table(question, sets, coarse, tmp_path):
    pd.testing.assert_frame_equal(estimate(question, COARSE, sets, tmp_path, workers=2).table, coarse.table)
    kept = sorted((tmp_path / ".parts").glob("*/*.parquet"))
    assert {file.parent.name for file in kept} >= {"predictions", "precise-6", "precise-12"}
    table = read_table(kept[0])
    shutil.rmtree(tmp_path / ".parts" / "precise-12")
    pd.testing.assert_frame_equal(estimate(question, COARSE, sets, tmp_path).table, coarse.table)
    pd.testing.assert_frame_equal(read_table(kept[0]), table)


@pytest.mark.slow
def test_every_component_alone_is_the_default(question):
    table = estimate(question, Aim(precision=10.0, first=6)).table
    assert list(table["set"])[: len(question.anatomy.universe)] == [str(c) for c in question.anatomy.universe]
    assert table["reached"].all()


def test_without_attribution_any_measure_is_estimated_from_exact_effects_alone(question, sets):
    found = estimate(question.about("legal, greedy"), Aim(0.05, first=6, method="none"), sets[:2]).table
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


def test_errors_say_what_to_do(question, sets):
    with pytest.raises(TakebackError, match="moves in jumps"):
        estimate(question.about("legal, greedy"), COARSE, sets)
    with pytest.raises(TakebackError, match="name at least one"):
        estimate(question, COARSE, [])
    with pytest.raises(TakebackError, match="is not positive"):
        Aim(precision=0)
