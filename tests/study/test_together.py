"""What a table of contrasts says as a whole: p over all of it, intervals over situations, words of nulls."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

from takeback.draw.result import section_of
from takeback.run.crossed import crossed_estimate
from takeback.run.errors import TakebackError
from takeback.run.sign_flips import flip_p_values
from takeback.run.stats import max_permutation
from takeback.study.contrasts.contrasts import Contrasts
from takeback.study.contrasts.estimates import estimate
from takeback.study.contrasts.quantities import BEHAVIOUR, Quantities, Situations
from takeback.study.pursuit import PURSUIT, SHARE

ARMS = ("a", "b", "c", "d")
TWO = {"two": {"a": 1.0, "b": -1.0}}
FOUR = {"four": {"a": 0.5, "b": 0.5, "c": -0.5, "d": -0.5}}
SEEDS, SITUATIONS = 8, 40


class Kept:
    """Made-up contributions: of components, and of one number of the whole model."""

    def __init__(self, effect=0.0, seeds=SEEDS, whole=("utility gained",), spread=0.5, seed=0):
        rng = np.random.default_rng(seed)
        shape = len(ARMS), seeds, 6, SITUATIONS
        self.of_measure = {}
        for measure in (SHARE, PURSUIT):
            values = rng.normal(size=(*shape[:2], 6, 1)) + spread * rng.normal(size=(1, 1, 6, SITUATIONS))
            values = values + 0.3 * rng.normal(size=shape)
            values[0, :, 0] += effect
            self.of_measure["take back", measure] = values
        for measure in whole:
            values = rng.normal(size=(*shape[:2], 1, 1)) + rng.normal(size=(4, 1, 1, SITUATIONS)) * 3
            self.of_measure[BEHAVIOUR, measure] = values
        self.clusters = np.arange(SITUATIONS) // 2

    def quantities(self, situations=True, **changes):
        rows = [
            {"arm": ARMS[a], "seed": s, "source": source, "measure": measure, "value": value}
            | {"component": f"L0.H{c}" if source == "take back" else ""}
            for (source, measure), values in self.of_measure.items()
            for (a, s, c), value in np.ndenumerate(values.mean(axis=-1))
        ]
        empty = pd.DataFrame(columns=["source", "measure", "value"])
        table = pd.DataFrame(rows)
        return Quantities(table, empty, (), situations=self if situations else None, **changes)

    def of(self, key, arms, seeds, components):
        places = [ARMS.index(arm) for arm in arms]
        columns = [int(name[4:]) if name else 0 for name in components]
        values = self.of_measure[key][places][:, list(seeds)][:, :, columns]
        return Situations(values, self.clusters)


def drawn(found, weights):
    table, words = found
    empty = pd.DataFrame()
    return section_of(Contrasts("Made up", table, empty, empty, weights, words))


def test_p_is_the_maximum_over_measures_of_the_same_runs():
    kept = Kept(effect=3.0)
    table, _ = estimate(kept.quantities(), TWO)
    means = [kept.of_measure["take back", measure].mean(axis=-1) for measure in (SHARE, PURSUIT)]
    one, other, *_ = np.concatenate(means, axis=2)
    rows = table[table["table"] == "components"]
    assert rows["measure"].tolist() == [SHARE] * 6 + [PURSUIT] * 6
    single = max_permutation(one, other)
    assert rows["p_table"].min() == single.min()
    assert (rows["p_table"].to_numpy(float) <= single + 1e-12).all()
    assert (rows["p_table"] >= rows["p"]).all()
    assert rows["p_table"].min() > rows["p_family"].min()


def test_what_is_relabelled_in_different_ways_is_added_up():
    """Two arms have dealings of their own, four share flips: two groups, p twice that of each."""
    kept = Kept(effect=3.0)
    both, _ = estimate(kept.quantities(), {**TWO, **FOUR})
    for name, weights in (*TWO.items(), *FOUR.items()):
        alone, _ = estimate(kept.quantities(), {name: weights})
        mine = both[both["contrast"] == name]
        expected = np.minimum(2 * alone["p_table"].to_numpy(float), 1)
        np.testing.assert_allclose(mine["p_table"].to_numpy(float), expected)
        np.testing.assert_allclose(mine["smallest_p_table"], 2 * alone["smallest_p_table"])
    sums = {
        measure: np.tensordot([0.5, 0.5, -0.5, -0.5], values.mean(axis=-1), 1)
        for (source, measure), values in kept.of_measure.items()
        if source == "take back"
    }
    least = flip_p_values(np.concatenate(list(sums.values()), axis=1)).family.min()
    flips = both[(both["contrast"] == "four") & (both["table"] == "components")]
    assert flips["p_table"].min() == pytest.approx(min(2 * least, 1))


@pytest.mark.slow
def test_tables_without_an_effect_err_in_five_percent():
    """Any row of any contrast and measure counts; by each family alone far more tables err."""
    wrong, alone, tables = 0, 0, 120
    for seed in range(tables):
        table, _ = estimate(Kept(seed=seed, spread=0).quantities(situations=False), {**TWO, **FOUR})
        wrong += (table.loc[table["table"] == "components", "p_table"] <= 0.05).any()
        alone += (table["p_family"] <= 0.05).any()
    assert wrong <= tables * (0.05 + 3 * (0.05 * 0.95 / tables) ** 0.5)
    assert alone > 1.5 * tables * 0.05


def test_intervals_are_over_situations_where_these_were_kept():
    kept = Kept()
    table, words = estimate(kept.quantities(), FOUR)
    values = np.tensordot([0.5, 0.5, -0.5, -0.5], kept.of_measure[BEHAVIOUR, "utility gained"][:, :, 0], 1)
    expected = crossed_estimate(values, kept.clusters)
    row = table[table["measure"] == "utility gained"].iloc[0]
    assert (row["low"], row["high"]) == pytest.approx((expected.both.low, expected.both.high))
    assert (row["low_runs"], row["high_runs"]) == pytest.approx((expected.runs.low, expected.runs.high))
    assert row["high"] - row["low"] > row["high_runs"] - row["low_runs"]
    assert (row["of_runs"], row["of_situations"]) == (expected.of_runs, expected.of_situations)
    assert row["situations"] == SITUATIONS
    assert row["bound"] == max(-row["low"], row["high"])
    assert not any("not kept" in word for word in words)

    table, words = estimate(kept.quantities(situations=False), FOUR)
    row = table[table["measure"] == "utility gained"].iloc[0]
    assert (row["low"], row["high"]) == (row["low_runs"], row["high_runs"])
    assert pd.isna(row["situations"])
    assert any("over training runs in the same situations" in word for word in words)


def test_contributions_that_do_not_come_to_the_values_are_refused():
    kept = Kept()
    found = kept.quantities()
    other = dataclasses.replace(found, table=found.table.assign(value=found.table["value"] + 0.1))
    with pytest.raises(TakebackError, match="does not come to its values"):
        estimate(other, TWO)


def nulls(words):
    """Return the parts of sentences that say that something is not told from chance."""
    found = [part for word in words for part in re.findall(r"ot told from chance[^.]*: (.*?)\.(?:$| )", word)]
    return [one for part in found for one in part.split("; ")]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 4, 8])
@pytest.mark.parametrize("effect", [0.0, 8.0])
def test_no_null_is_told_without_what_it_rules_out_and_what_could_be_seen(seeds, effect):
    weights = {**TWO, **FOUR}
    section = drawn(estimate(Kept(effect, seeds).quantities(), weights), weights)
    told = nulls(section.words)
    assert told, "something here is not told from chance"
    for one in told:
        assert re.search(r"no larger than \S+ \((80% power for|no power for any)", one), one
    for table in section.tables:
        for row in table.rows:
            if any("not told from chance" in str(cell) for cell in row):
                assert "no larger than" in " ".join(map(str, row))
    every = " ".join(map(str, (*section.words, *section.tables)))
    assert "nothing" not in every
    assert "chance, p" not in every.replace("not told from chance, p", "")


def test_one_seed_rules_out_nothing_and_says_so():
    section = drawn(estimate(Kept(seeds=1).quantities(), TWO), TWO)
    assert "of any size (no power for any)" in section.words[0]


def test_a_table_that_so_few_seeds_cannot_decide_is_told():
    _, words = estimate(Kept(seeds=4).quantities(), {**TWO, **FOUR})
    assert "components: 4 seeds can't decide this table: no p over all of it is below 0.057" in "; ".join(
        words
    )
    _, words = estimate(Kept(seeds=8).quantities(), {**TWO, **FOUR})
    assert not any("can't decide" in word for word in words)
    table, _ = estimate(Kept(seeds=4).quantities(), {**TWO, **FOUR})
    assert table["detectable"].isna().all()


def test_an_effect_in_these_situations_alone_is_told_as_such():
    """All runs agree, and situations differ by more than they agree on."""
    kept = Kept(whole=())
    values = np.random.default_rng(3).normal(size=(4, 1, 1, SITUATIONS)) * 9
    values = values + np.array([1.0, 0, 0, 0])[:, None, None, None]
    values = values - values.mean(axis=-1, keepdims=True) * 0.9
    noise = np.random.default_rng(4).normal(size=(4, SEEDS, 1, 1)) * 0.01
    kept.of_measure[BEHAVIOUR, "utility gained"] = np.broadcast_to(values + noise, (4, SEEDS, 1, SITUATIONS))
    section = drawn(estimate(kept.quantities(), TWO), TWO)
    assert re.search(r"utility gained \S+ \[−.*\] \(in these situations alone\)", section.words[0])
