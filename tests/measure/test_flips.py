"""Items that flip between pass and fail, counted by hand and tested as scipy does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from takeback.arenas import arena
from takeback.arenas.rows import ChoiceRows
from takeback.measure.flips import flipped_items, flips
from takeback.measure.measure import MeasureContext
from takeback.policies.answers import AnswerReadouts

RIGHT = [0, 1, 0, 1, 0, 1, 0, 0]
BEFORE = [0, 0, 1, 0, 0, 1, 1, 1]
AFTER = [0, 1, 0, 1, 0, 0, 0, 0]
"""Which of two choices is right, and which is likeliest before and after: five gained, one lost."""


def choices(folder: Path) -> ChoiceRows:
    rows = [
        {"prompt": f"question {place}", "choices": ["yes", "no"], "answer": right}
        for place, right in enumerate(RIGHT)
    ]
    (folder / "quiz.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    made = arena(f"rows:{{data: {folder / 'quiz.jsonl'}, choices: choices, answer: answer}}")
    assert isinstance(made, ChoiceRows)
    return made


def likeliest(place: ChoiceRows, chosen: list[int]) -> AnswerReadouts:
    """Make readouts of a policy that is surer of these choices."""
    logs = np.where(np.arange(2) == np.array(chosen)[:, None], -1.0, -2.0).ravel()
    numbers = {
        "logprobs": logs,
        "tokens": np.ones(len(logs)),
        "followed": np.zeros(len(logs), np.bool_),
        "unconditional": np.zeros(len(logs)),
    }
    told = [(place.prompt(row), place.cluster(row), place.legal(row)) for row in place.rows]
    return AnswerReadouts.of(place, told, [place.listing(row) for row in place.rows], numbers)


def test_flips_are_counted_and_tested(tmp_path: Path) -> None:
    place = choices(tmp_path)
    before, after = likeliest(place, BEFORE), likeliest(place, AFTER)
    context = MeasureContext.of(before, place, situations=place.rows)
    (row,) = flips(before, after, context).to_dict("records")
    assert (row["gained"], row["lost"], row["n"]) == (5, 1, 8)
    assert (row["passed_before"], row["passed_after"]) == (3, 7)
    assert row["p"] == pytest.approx(binomtest(5, 6).pvalue)
    items = flipped_items(before, after, context)
    assert sorted(items.loc[items["flip"] == "lost", "item"]) == [5]
    assert items["flip"].eq("").tolist() == [False] * 6 + [True] * 2, "those that changed come first"
    assert flips(before, before, context)["p"].tolist() == [1.0]


def test_a_bar_is_the_users(tmp_path: Path) -> None:
    place = choices(tmp_path)
    before = likeliest(place, BEFORE)
    context = MeasureContext.of(before, place, situations=place.rows)
    (row,) = flips(before, before, context, {"right": -1.0}).to_dict("records")
    assert row["passed_before"] == 8
    assert row["rule"].endswith("above -1")
