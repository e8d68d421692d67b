"""What the page says of agency."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from record import write_record
from takeback.report import write_report
from takeback.run.stats import seeds_estimate
from test_worlds import pictures, words
from worlds import write_agency, write_agents


@pytest.fixture
def chess(tmp_path: Path) -> Path:
    return write_record(tmp_path / "chess")


def test_a_record_without_measures_of_agency_says_nothing_of_it(chess: Path) -> None:
    text = write_report(chess).read_text(encoding="utf-8")
    assert "pursuit" not in text.lower()


def test_each_arm_has_a_sentence_and_rl_has_the_others_beside_it(chess: Path) -> None:
    shares = {("rl-win", "win", 0): 0.41, ("sft-win", "win", 0): 0.2, ("rl-corner", "corner", 0): -0.3}
    write_agency(chess, shares)
    said = words(write_report(chess))
    assert (
        "41% [31%, 51%] of its change from base (KL 0.500 nats) is pursuit of “win”, with β = 2.50; "
        "without a reward for it: sft-win 20% [10%, 30%]." in said
    )
    assert "20% [10%, 30%] of its change from base (KL 0.500 nats) is pursuit of “win”" in said
    assert "no reward for it trained this arm" in said
    assert "pursuit of “corner” explains none of its change: the signed share is −30% [−40%, −20%]" in said
    assert "docs/agency.md" in said


def test_the_table_has_every_trained_goal_and_its_picture_the_same_numbers(chess: Path) -> None:
    shares = {
        (arm, goal, 0): 0.25 for arm in ("rl-win", "sft-win", "rl-corner") for goal in ("win", "corner")
    }
    write_agency(chess, shares, beta=float("inf"))
    page = write_report(chess)
    text = page.read_text(encoding="utf-8")
    table = re.search(r"KL from its start, nats.*?</table>", text, re.DOTALL)
    assert table
    assert table[0].count("25% [15%, 35%]") == 6
    assert table[0].count("<td>∞</td>") == 6
    assert table[0].count("win *") == 2
    assert pictures(page, "Signed pursuit share").pop().count("25% [15%, 35%]") == 6


def test_an_interval_that_includes_zero_and_an_undefined_share_are_said_to(chess: Path) -> None:
    write_agency(chess, {("rl-win", "win", 0): 0.05})
    told = "5.0% [−5.0%, 15%], an interval that includes 0: no larger than 15%, of its change"
    assert told in words(write_report(chess))
    reason = "no change to explain: KL 1e-08 [0, 2e-08] nats"
    write_agency(chess, {("rl-win", "win", 0): None}, note=reason)
    said = words(write_report(chess))
    assert f"what share of its change is pursuit of “win” is undefined: {reason}." in said
    assert "sft-win : what share of its change is pursuit of “win” is undefined: not measured." in said


def test_several_seeds_have_a_mean_with_its_interval_over_runs(tmp_path: Path) -> None:
    run = write_agents(tmp_path / "run", seeds=(0, 1, 2, 3))
    values = {0: 0.3, 1: 0.5, 2: 0.4, 3: None}
    write_agency(run, {("agent", "reward", seed): share for seed, share in values.items()}, note="why: 1e-9")
    page = write_report(run)
    mean = seeds_estimate([0.3, 0.5, 0.4])
    assert f"{mean.value:.0%} [{mean.low:.0%}, {mean.high:.0%}] of its change from base" in words(page)
    assert "undefined, why (1 of 4 seeds)" in words(page)
    assert "Pursuit seed by seed" in words(page)
    assert "mean of 3 seeds" in pictures(page, "Signed pursuit share").pop()


def test_a_reader_is_told_how_to_read_units_and_shares(tmp_path: Path, chess: Path) -> None:
    run = write_agents(tmp_path / "run")
    write_agency(run, {("agent", "reward", 0): 0.3})
    text = write_report(run).read_text(encoding="utf-8")
    assert "<strong>Units.</strong>" in text
    assert "<strong>Pursuit shares.</strong>" in text
    assert "<strong>Units.</strong>" not in write_report(chess).read_text(encoding="utf-8")
