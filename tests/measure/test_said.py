"""What two policies say where they differ most."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import tiny_answers
from measure.test_flips import AFTER, BEFORE, choices, likeliest
from takeback.arenas import arena
from takeback.arenas.rows import DrawnRows
from takeback.checkpoint import open_pair
from takeback.measure.bench import Bench
from takeback.measure.said import said
from takeback.measure.setup import Setup


def test_of_choices_the_likeliest_is_said_and_those_that_changed_come_first(tmp_path: Path) -> None:
    place = choices(tmp_path)
    table = said(likeliest(place, BEFORE), likeliest(place, AFTER))
    changed = [one != other for one, other in zip(BEFORE, AFTER, strict=True)]
    assert table["moved"].gt(0).tolist() == sorted(changed, reverse=True)
    words = ("yes", "no")
    for row in table.itertuples():
        number = int(str(row.situation).split()[-1])
        assert (row.before, row.after) == (words[BEFORE[number]], words[AFTER[number]])


@pytest.mark.parametrize("reading", ["pooled", "drawn"])
def test_of_texts_each_side_says_one_that_it_drew(tmp_path: Path, reading: str) -> None:
    tiny_answers.save_pair(tmp_path, 6)
    pair = open_pair(str(tmp_path / "base"), str(tmp_path / "tuned"))
    open_ = arena(tiny_answers.arena_text(tmp_path))
    place = open_ if reading == "pooled" else DrawnRows(open_, 4)
    bench = Bench.answering(pair, place, open_.situations("held-out", 6, 0), setup=Setup(tmp_path / "out"))
    base, tuned = bench.ends["base"], bench.ends["tuned"]
    table = said(base, tuned)
    assert table["moved"].is_monotonic_decreasing
    if reading == "drawn":
        first = {name: str(one[0]) for name, one in zip(tuned.situations, tuned.answers, strict=True)}
        assert dict(zip(table["situation"], table["after"], strict=True)) == first
        return
    (file,) = (tmp_path / "out" / "pool").glob("*.parquet")
    pool = pd.read_parquet(file)
    drawn = pool[pool["draw"] == 0].pivot_table(
        index="situation", columns="side", values="answer", aggfunc="first"
    )
    for row in table.itertuples():
        assert (row.before, row.after) == tuple(drawn.loc[row.situation, ["base", "tuned"]])
