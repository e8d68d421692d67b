"""Precision, recall and average precision by hand."""

from __future__ import annotations

import pytest

from takeback.findings.localise.recovery import Recovery, recovery

SCORES = {"A": 0.9, "B": 0.8, "C": 0.7, "D": 0.6, "E": 0.0}


def test_by_hand() -> None:
    found = recovery(SCORES, {"A", "C", "E"}, floor=0.65)
    assert found.found == ("A", "B", "C")
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 3)
    assert found.average_precision == pytest.approx((1 / 1 + 2 / 3 + 3 / 5) / 3)


def test_what_stands_first_is_perfect_whatever_the_floor() -> None:
    assert recovery(SCORES, {"A", "B"}, floor=0.85).average_precision == 1
    assert recovery(SCORES, {"A", "B"}, floor=0.85).recall == 0.5


def test_equal_scores_help_nobody() -> None:
    assert recovery({"A": 0.0, "B": 0.0, "C": 0.0, "D": 0.0}, {"A"}, 0.0) == Recovery((), None, 0.0, 0.25)


def test_a_planted_component_that_a_measure_does_not_know_was_not_found() -> None:
    found = recovery(SCORES, {"A", "Z"}, floor=0.5)
    assert (found.recall, found.average_precision) == (0.5, 0.5)


def test_without_a_plant_only_false_findings_are_told() -> None:
    assert recovery(SCORES, (), floor=1.0) == Recovery((), None, None, None)
    assert recovery(SCORES, (), floor=0.85) == Recovery(("A",), 0.0, None, None)
