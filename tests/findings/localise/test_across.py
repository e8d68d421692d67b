"""Means over runs: of the same rows, with the spread of runs, random sets left out."""

from __future__ import annotations

import pandas as pd
import pytest
from scipy import stats

from takeback.draw.page import page
from takeback.draw.result import section_of
from takeback.findings.localise.across import across
from takeback.run.errors import TakebackError


def run(carried: dict[str, float], sizes: int) -> dict[str, pd.DataFrame]:
    shares = pd.DataFrame(
        [
            {"measure": "m", "direction": "graft", "family": family, "set": name, "carried": value}
            for name, value in carried.items()
            for family in ("random, same size" if name.startswith("random") else "each head",)
        ]
    )
    shares["controls_carried"] = 0.2
    carriers = pd.DataFrame(
        {"measure": "m", "direction": "graft", "order": ["greedy"], "n_components": [sizes]}
    ).assign(
        carried=0.9, also=pd.array([None], "Float64"), needed=9, random_median=20.0, controls_carried=0.5
    )
    return {"shares": shares, "carriers": carriers}


RUNS = {
    "rl 0": run({"L0.H0": 0.1, "L0.H1": 0.7, "random 1": 0.3}, 7),
    "rl 1": run({"L0.H0": 0.3, "L0.H1": 0.7}, 9),
    "rl 2": run({"L0.H0": 0.8, "random 1": 0.2}, 8),
}


def test_means_and_intervals_are_student_s_over_runs():
    table = across(RUNS).table.set_index(["row", "column"])
    row = table.loc[("m · graft · each head · L0.H0", "carried")]
    low, high = stats.t.interval(0.95, 2, loc=0.4, scale=stats.sem([0.1, 0.3, 0.8]))
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((0.4, low, high))
    assert (row["least"], row["most"], row["runs"]) == (0.1, 0.8, 3)
    assert table.loc[("m · graft · greedy", "n_components"), "mean"] == 8


def test_rows_of_some_runs_say_how_many_and_random_sets_are_left_out():
    table = across(RUNS).table
    assert set(table.loc[table["row"].str.endswith("L0.H1"), "runs"]) == {2}
    assert not table["row"].str.contains("random").any()
    assert "also" not in set(table["column"])


def test_one_run_has_no_interval():
    table = across({"rl 0": RUNS["rl 0"]}).table
    assert table["low"].isna().all()
    assert table["mean"].notna().all()


def test_runs_without_a_common_table_are_refused():
    with pytest.raises(TakebackError, match="in common"):
        across({"rl 0": RUNS["rl 0"], "other": {}})


def test_it_shows_what_sums_findings_up(capsys):
    found = across(RUNS)
    assert "greedy" in page("t", (), [section_of(found)])
    found.print()
    out = capsys.readouterr().out
    assert "Over 3 runs" in out
    assert "n_components" in out
