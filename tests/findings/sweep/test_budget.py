"""A sweep within a budget: what is chosen is not judged on what chose it, and what is left out is listed."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import tiny_chat
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.findings.sweep import Budget, Sweep, budget, squared_norms, sweep, within
from takeback.measure.bench import Bench
from takeback.measure.setup import Setup
from takeback.run.errors import TakebackError
from takeback.weights import diff


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("budget")
    base, tuned = tiny_chat.save_pair(folder)
    rows = [{"prompt": f"{n} and", "options": ["yes", "no", "four"], "label": n % 3} for n in range(12)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    told = {"data": str(folder / "rows.jsonl"), "choices": "options", "answer": "label"}
    pair = open_pair(str(base), str(tuned))
    asked = Bench.held_out(pair, arena("rows:" + json.dumps(told)), ["margin right"], setup=Setup(folder))
    return Sweep(asked, squared_norms(diff(pair)), controls=2)


@pytest.mark.parametrize("text", ["", "ten", "1.5", "0", "-3", "10 m", "1d", "inf"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(TakebackError, match="a budget is"):
        Budget.parse(text)


def test_a_budget_of_time_depends_on_what_a_hybrid_takes():
    assert [Budget.parse(text).number(0.5) for text in ("90s", "1.5m", "1h", "7")] == [180, 180, 7200, 7]


def test_layers_and_kinds_come_first_and_then_the_strongest(whole):
    few = len(within(whole, 1000).few.hybrids)
    planned = within(whole, few + 6 + 14)
    assert {one.family for one in planned.few.sets if one.family.startswith("each")} == {
        "each layer",
        "each kind",
    }
    assert planned.strongest is not None
    assert 0 < len(planned.strongest.hybrids) <= 14
    kept = planned.estimated[planned.estimated["read"]]
    left = planned.estimated[~planned.estimated["read"]]
    assert len(left) == planned.left_out > 0
    assert kept["effect"].abs().min() >= left["effect"].abs().max()
    assert set(kept["set"]) == {one.name for one in planned.strongest.given}


def test_nothing_chosen_is_judged_on_the_situations_that_chose_it(whole, tmp_path):
    planned = within(whole, len(within(whole, 1000).few.hybrids) + 6 + 14)
    choosing, judging = (set(half.tolist()) for half in whole.bench.halves(0))
    assert set(planned.strongest.bench.places.tolist()) == judging
    assert planned.estimated["n"].max() <= len(choosing)
    sweep(planned.strongest, tmp_path / "e.parquet")
    table = pd.read_parquet(tmp_path / "e.parquet")
    assert set(table["n"]) == {len(judging)}
    controls = {one.name for one in planned.strongest.sets if one.family.startswith("random")}
    assert controls
    assert controls < set(table["set"])
    assert np.isfinite(table["effect"].astype(float)).all()


def test_a_small_budget_is_spent_on_fewer_situations_or_blocks_of_layers(whole):
    every = len(whole.bench.situations)
    enough = len(within(whole, 1000).few.hybrids)
    planned = within(whole, enough + 5)
    assert (planned.strongest, planned.estimated, planned.left_out) == (None, None, 0)
    assert {one.family for one in planned.few.sets} >= {"each layer", "each kind"}
    fewer = within(whole, enough // 2)
    assert every // 2 <= len(fewer.few.bench.situations) < every
    assert len(fewer.few.hybrids) * len(fewer.few.bench.situations) <= enough // 2 * every


def test_blocks_of_layers_hold_every_layer_once(whole, monkeypatch):
    monkeypatch.setattr(budget, "BLOCKS", (1,))
    least = within(whole, 12)
    (block,) = [one for one in least.few.sets if one.family == "block of layers"]
    anatomy = whole.bench.anatomy
    assert block.components == anatomy.parse("L*.*")
    assert anatomy.parse(block.name) == block.components
    assert len(block.name) < 12, "tables have room for it"
    assert 4 <= len(least.few.bench.situations) < len(whole.bench.situations)


def test_a_budget_that_holds_nothing_is_refused_with_what_would(whole):
    with pytest.raises(
        TakebackError, match=r"holds 1 hybrids.*kinds in 4 of them, is as much as \d+: raise it"
    ):
        within(whole, 1)
