"""Where a pool is too thin for a hybrid, it draws answers of its own, and the table says so."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import tiny_chat
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.findings.sweep import Sweep, squared_norms, sweep
from takeback.measure.bench import Bench
from takeback.measure.thin import effective, is_thin
from takeback.weights import diff

OWN = '''
def vowels(completions, **_):
    """The share of vowels."""
    return [sum(letter in "aeiou" for letter in one) / 10 for one in completions]
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("thin")
    tiny_chat.save_pair(folder, change=0.5)
    (folder / "own.py").write_text(OWN)
    rows = [{"prompt": f"what is {n}"} for n in range(6)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def bench(place, **more):
    told = {"data": str(place / "rows.jsonl"), "rewards": [f"{place}/own.py:vowels"], "max_tokens": 6, **more}
    pair = open_pair(str(place / "base"), str(place / "tuned"))
    drawn = more.get("reading") == "drawn"
    measures = ["utility vowels", *([] if drawn else ["margin vowels"]), "length"]
    return Bench.held_out(pair, arena("rows:" + json.dumps(told)), measures)


def test_a_thin_hybrid_is_told_as_what_it_draws_more_than_its_side(place):
    asked = bench(place, answers=4, thin=0.99)
    half = asked.anatomy.parse("L0.*")
    readouts = asked.read([half])[0]
    assert is_thin(asked.arena, readouts)
    assert not is_thin(bench(place, answers=4, thin=0.0).arena, readouts)
    answers = asked.answer([half, asked.nothing, asked.anatomy.universe])
    drawn = asked.drawn.about("utility vowels", "length").answer([half, asked.nothing])
    for name in ("utility vowels", "length"):
        moved = answers.change(half, name, asked.nothing)
        np.testing.assert_allclose(moved, drawn.change(half, name, asked.nothing), atol=1e-12)
    weighed = asked.asked["margin vowels"].of(readouts, asked.context).numbers
    np.testing.assert_array_equal(answers.of(half, "margin vowels"), weighed)


@pytest.mark.slow
def test_a_sweep_says_how_each_number_was_read(place, tmp_path):
    share = effective(bench(place, answers=4).read([bench(place, answers=4).anatomy.parse("L0.*")])[0])
    for thin, way in ((share - 0.01, "pooled"), (share + 0.01, "drawn")):
        asked = bench(place, answers=4, thin=thin)
        out = tmp_path / way / "e.parquet"
        sweep(Sweep(asked, squared_norms(diff(asked.pair)), ["L0.*"], 1), out)
        table = pd.read_parquet(out).query("set == 'L0.*' and direction == 'take back'").set_index("measure")
        assert table.loc["utility vowels", "reading"] == way
        assert table.loc["margin vowels", "reading"] == "pooled"
        assert table.loc["utility vowels", "effective"] == pytest.approx(share)


def test_all_may_be_drawn(place):
    asked = bench(place, answers=4, reading="drawn", temperature=0.7, top_p=0.9)
    layer = asked.anatomy.parse("L1.*")
    answers = asked.about("utility vowels").answer([layer, asked.nothing, asked.anatomy.universe])
    assert np.isfinite(answers.of(layer, "utility vowels")).all()
    np.testing.assert_array_equal(
        answers.of(asked.nothing, "utility vowels"), asked.ends["tuned"].reward("vowels")
    )
