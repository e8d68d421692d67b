"""The noise floor: none in fp32; in bf16 what another batch makes of the same policy, beside every effect."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from takeback.arenas import arena
from takeback.checkpoint import Placement, open_pair
from takeback.cli import app
from takeback.component import ComponentSet
from takeback.findings.sweep import Sweep, sweep
from takeback.measure.alone import HeldOut
from takeback.measure.bench import Bench
from takeback.measure.effects import effect_rows, noise_floor, with_floor
from takeback.measure.readings import AGAIN
from takeback.measure.setup import Setup

ENDGAMES = arena("endgames")
DRAWN = (10, 2)


def bench(players: tuple[str, str], dtype: str, out=None) -> Bench:
    setup = Setup(out, placement=Placement("cpu", dtype))
    return Bench.held_out(open_pair(*players), ENDGAMES, ["legal", "utility win"], DRAWN, setup)


def test_fp32_has_none_and_reads_nothing_for_it(players):
    exact = bench(players, "fp32")
    assert exact.floor is None
    assert not exact.store.reads
    assert with_floor([{"measure": "legal", "effect": 0.1}], None) == [{"measure": "legal", "effect": 0.1}]


@pytest.mark.slow
def test_the_floor_is_what_other_batches_make_of_tuned(players, tmp_path):
    coarse = bench(players, "bf16", tmp_path)
    floor = coarse.floor
    assert floor is not None
    (once,) = coarse.read([coarse.nothing])
    policy = coarse.policy("tuned")
    apart = [policy.read(policy.prepare(ENDGAMES, [one]))[0] for one in coarse.situations]
    moved = np.array([sum(one.legal.values()) for one in apart])
    moved -= [sum(once[place].legal.values()) for place in range(10)]
    assert np.abs(moved).max() > 0, "rounding shows in bf16"
    half = (floor["legal"] - abs(moved.mean())) / moved.std(ddof=1) * np.sqrt(10)
    assert 1.9 < half < 2.4, "the far end of a 95% interval"
    assert all(0 <= one < 0.05 for one in floor.values())
    reads = len(coarse.store.reads)
    later = bench(players, "bf16", tmp_path)
    assert later.floor == floor
    assert not later.store.reads, "it is kept"
    assert sum(key == ("", AGAIN) for key, *_ in coarse.store.reads) == 1
    assert reads == len(coarse.store.reads)


@pytest.mark.slow
def test_the_type_is_part_of_what_was_read(players, tmp_path):
    fine, coarse = bench(players, "fp32", tmp_path), bench(players, "bf16", tmp_path)
    assert fine.identity != coarse.identity
    fine.read([fine.nothing])
    assert coarse.unread([coarse.nothing]) == 1
    told = [HeldOut(ENDGAMES, fine.situations, players[1], one.setup) for one in (fine, coarse)]
    first, second = (one.read(players[1]) for one in told)
    assert (first.probabilities != second.probabilities).any()
    np.testing.assert_allclose(first.probabilities, second.probabilities, atol=0.05)


@pytest.mark.slow
def test_it_stands_beside_the_effects_of_a_sweep(players, tmp_path):
    tables: dict[str, pd.DataFrame] = {}
    for dtype in ("fp32", "bf16"):
        one = bench(players, dtype)
        delta = dict.fromkeys(one.anatomy.universe, 1.0)
        what = Sweep(one, delta, ["L0.H0", "L1.MLP"], controls=1, readouts=False)
        tables[dtype] = pd.read_parquet(sweep(what, tmp_path / f"{dtype}.parquet"))
    assert "floor" not in tables["fp32"]
    assert [*tables["bf16"]] == [*tables["fp32"], "floor", "above_floor"]
    found = tables["bf16"]
    assert (found["above_floor"] == (found["effect"].abs() > found["floor"])).all()
    assert found.groupby("measure")["floor"].nunique().eq(1).all()
    np.testing.assert_allclose(found["effect"], tables["fp32"]["effect"], atol=0.05)


def test_nothing_taken_back_is_below_the_floor(players):
    coarse = bench(players, "bf16")
    (same,) = coarse.read([ComponentSet([], coarse.anatomy.universe)])
    rows = with_floor(effect_rows(coarse.ends["tuned"], same, coarse.context, "tuned"), coarse.floor)
    assert rows
    assert not any(row["above_floor"] for row in rows)
    assert set(noise_floor(same, same, coarse.context).values()) == {0.0}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["auto", "bf16"])
def test_printed_tables_mark_what_is_below(players, dtype):
    asked = ["behaviour", players[1], "--against", players[1], "--arena", "endgames"]
    told = CliRunner().invoke(app, [*asked, "--device", "cpu", "--dtype", dtype, "--situations", "6"])
    assert told.exit_code == 0, told.output
    assert ("~ legal" in told.output) == ("noise floor" in told.output) == (dtype == "bf16")
