import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from takeback.run.errors import TakebackError
from takeback.study.conjectures import brier, calibration, log_score, scores
from takeback.study.conjectures.markdown import of_scores

PROBABILITIES = st.floats(0.001, 0.999)


def told(*rows):
    frame = pd.DataFrame(rows, columns=["author", "probability", "outcome"])
    return frame.astype({"outcome": "boolean"})


def test_saying_one_half_scores_a_quarter_and_one_bit_whatever_comes():
    assert [brier(0.5, outcome) for outcome in (True, False)] == [0.25, 0.25]
    assert [log_score(0.5, outcome) for outcome in (True, False)] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("probability", "outcome", "square", "bits"),
    [(0.8, True, 0.04, 0.3219280949), (0.8, False, 0.64, 2.3219280949), (0.25, True, 0.5625, 2.0)],
)
def test_scores_by_hand(probability, outcome, square, bits):
    assert brier(probability, outcome) == pytest.approx(square)
    assert log_score(probability, outcome) == pytest.approx(bits)


@pytest.mark.parametrize("score", [brier, log_score])
@given(PROBABILITIES, PROBABILITIES)
def test_scores_are_strictly_proper(score, truth, said):
    def expected(p):
        return truth * score(p, True) + (1 - truth) * score(p, False)

    assert expected(said) >= expected(truth) - 1e-12
    if abs(said - truth) > 1e-3:
        assert expected(said) > expected(truth)


@pytest.mark.parametrize("score", [brier, log_score])
@pytest.mark.parametrize("probability", [0, 1, -0.1, math.nan])
def test_certainty_has_no_score(score, probability):
    with pytest.raises(TakebackError, match="above 0 and below 1"):
        score(probability, True)


def test_authors_are_scored_apart_and_the_undecided_left_out():
    table = scores(
        told(
            ("Ada", 0.8, True),
            ("Bob", 0.9, False),
            ("Ada", 0.4, False),
            ("Ada", 0.6, None),
            ("Cleo", 0.7, None),
        )
    ).set_index("author")
    assert list(table.index) == ["Ada", "Bob", "Cleo"]
    assert table["n"].tolist() == [2, 1, 0]
    assert table["true"].tolist() == [1, 0, 0]
    assert table["unresolved"].tolist() == [1, 0, 1]
    assert table.loc["Ada", "brier"] == pytest.approx((0.04 + 0.16) / 2)
    assert table.loc["Ada", "log_score"] == pytest.approx((math.log2(1 / 0.8) + math.log2(1 / 0.6)) / 2)
    assert table.loc["Ada", "expected_true"] == pytest.approx(1.2)
    assert table.loc["Ada", "expected_brier"] == pytest.approx((0.16 + 0.24) / 2)
    assert table.loc["Bob", "brier"] == pytest.approx(0.81)
    assert table.loc["Cleo", ["brier", "log_score"]].isna().all()


@settings(max_examples=20)
@given(st.lists(PROBABILITIES, min_size=1, max_size=3))
def test_the_expected_brier_score_is_the_mean_over_what_could_come(probabilities):
    n = len(probabilities)
    whole = 0.0
    for number in range(2**n):
        outcomes = [bool(number >> place & 1) for place in range(n)]
        chance = math.prod(p if o else 1 - p for p, o in zip(probabilities, outcomes, strict=True))
        rows = [("Ada", p, o) for p, o in zip(probabilities, outcomes, strict=True)]
        whole += chance * scores(told(*rows))["brier"][0]
    table = scores(told(*(("Ada", p, True) for p in probabilities)))
    assert table["expected_brier"][0] == pytest.approx(whole)


def test_calibration_by_hand():
    course = calibration([0.9, 0.2, 0.5], [True, False, True])
    assert course.came == (0, 0, 1, 2)
    assert course.foretold == pytest.approx((0, 0.2, 0.7, 1.6))
    assert course.spread == pytest.approx((0, 0.4, math.sqrt(0.41), math.sqrt(0.5)))


@given(st.lists(st.tuples(PROBABILITIES, st.booleans()), max_size=30))
def test_calibration_ends_at_the_sums(pairs):
    course = calibration([p for p, _ in pairs], [o for _, o in pairs])
    assert course.came[-1] == sum(o for _, o in pairs)
    assert course.foretold[-1] == pytest.approx(sum(p for p, _ in pairs))
    assert list(course.came) == sorted(course.came)


def test_conjectures_that_were_all_locked_late_have_no_score() -> None:
    """What is not scored is told as missing, and never as 0."""
    late = {"outcome": [True, None], "probability": [0.75, 0.5], "brier": [pd.NA, pd.NA]}
    told = dict(of_scores(pd.DataFrame(late).astype({"outcome": "boolean", "brier": "Float64"})))
    assert told == {"came true": "1", "decided": "1", "expected": "0.8", "brier": "–"}
