"""Strength: a takeback by degree equals hybrids written to disk, and barriers what their definition says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.component import ComponentSet
from takeback.draw.result import section_of
from takeback.findings.localise.shares import Controls
from takeback.findings.localise.strength import (
    COLUMNS,
    EVERYTHING,
    StrengthCurves,
    at_degree,
    is_control,
    strength,
)
from takeback.findings.sweep.sets import chosen_sets
from takeback.measure.bench import Bench
from takeback.measure.read import Ask
from takeback.run.stats import mean_estimate

DEGREES = (-0.5, 0.5, 1.5)
MEASURES = ("utility win", "legal", "down, if legal")


@pytest.fixture(scope="module")
def bench(players: tuple[str, str]) -> Bench:
    return Bench.held_out(open_pair(*players), arena("endgames"), MEASURES, (8, 0))


@pytest.fixture(scope="module")
def found(bench: Bench) -> StrengthCurves:
    delta = dict.fromkeys(bench.anatomy.universe, 1.0)
    sets = chosen_sets(bench.anatomy, ["L1.MLP", "L0.H0 L0.H1"])
    return strength(bench, sets, Controls(delta, 2), DEGREES)


def rows(found: StrengthCurves, name: str, measure: str) -> pd.DataFrame:
    table = found.table
    return table[(table["set"] == name) & (table["measure"] == measure)].set_index("degree")


def test_values_are_those_of_hybrids_asked_alone(found: StrengthCurves, bench: Bench) -> None:
    chosen = bench.anatomy.parse("L1.MLP")
    asks = [Ask(chosen, "strength:0.5"), Ask(bench.nothing), Ask(chosen)]
    numbers = bench.answer(asks)
    for measure in MEASURES:
        mine = rows(found, "L1.MLP", measure)
        for degree, ask in zip((0.5, 0.0, 1.0), asks, strict=True):
            values = numbers.of(ask, measure)
            applies = np.isfinite(values)
            expected = mean_estimate(values[applies], bench.clusters[applies])
            assert mine.loc[degree, "value"] == pytest.approx(expected.value, abs=1e-6)
            assert mine.loc[degree, "low"] == pytest.approx(expected.low, abs=1e-6)
        assert mine.loc[0.0, "effect"] == 0


@pytest.mark.slow
def test_a_barrier_is_the_loss_above_the_straight_line(found: StrengthCurves) -> None:
    for (name, measure), mine in found.table.groupby(["set", "measure"]):
        inside = rows(found, str(name), str(measure)).loc[0.0:1.0]
        if measure == MEASURES[2]:  # where the measure applies in other situations, means don't add up
            continue
        loss = 1 - inside["value"].astype(float)
        line = (1 - inside.index) * loss[0.0] + inside.index * loss[1.0]
        np.testing.assert_allclose(inside["excess"].astype(float), loss - line, atol=1e-9)
        assert mine.loc[mine["barrier"], "excess"].tolist() == [inside["excess"].max()]
        assert mine.loc[~mine["degree"].between(0, 1), "excess"].isna().all()


def test_everything_comes_first_and_controls_have_the_same_degrees(found: StrengthCurves) -> None:
    assert found.table["set"].iloc[0] == EVERYTHING
    controls = found.table[is_control(found.table)]
    assert set(controls["degree"]) == set(found.table["degree"]) == {-0.5, 0.0, 0.5, 1.0, 1.5}
    assert set(controls["n_components"]) == {1, 2}
    assert set(found.barriers.groupby(["set", "measure"]).size()) == {1}
    assert list(found.table.columns) == list(COLUMNS)


def test_the_ends_need_no_other_source(bench: Bench) -> None:
    some = bench.anatomy.parse("L0.H0")
    assert at_degree(some, 1.0) == Ask(some)
    assert at_degree(some, 0.0) == Ask(ComponentSet([], some.universe))
    assert at_degree(some, 0.1).source == "strength:0.1"


def test_it_is_shown(found: StrengthCurves, capsys: pytest.CaptureFixture[str]) -> None:
    section = section_of(found)
    assert len(section.figures) == 3 * len(MEASURES)
    assert section.figures[0].note == "No random set has its size."
    found.print()
    assert "barrier" in capsys.readouterr().out
