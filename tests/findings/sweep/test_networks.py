"""Sweeps over units of policy networks: equal to hybrids read one by one, with or without their readouts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import networks
from takeback.arenas import arena
from takeback.checkpoint import Pair, open_pair
from takeback.component import ComponentSet
from takeback.findings.sweep import Sweep, squared_norms, sweep
from takeback.hybrid import hybrid, write_hybrid
from takeback.hybrid.sources import source_of
from takeback.measure.bench import Bench
from takeback.measure.effects import effects
from takeback.measure.measures import measures
from takeback.measure.read import Ask, HybridBatch, Reader
from takeback.policies.load import load_policy
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError
from takeback.run.tables import read_table
from takeback.weights import diff
from toy_arena import ToyArena

TOY = ToyArena()
REQUESTS = ("each unit", "each layer", "L0.U1 L1.U0 L2.U3", "*", "")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return open_pair(*networks.save_pair(tmp_path_factory.mktemp("pair"), (2, 3, 2, 7)))


def prepared(pair: Pair, requests: Sequence[str] = REQUESTS, **more: Any) -> Sweep:
    situations = TOY.situations("held-out", 8, 0)
    return Sweep(Bench(pair, TOY, situations), squared_norms(diff(pair)), requests, controls=2, **more)


def alone(pair: Pair, taken: ComponentSet, out: Path, source: Any = None, place: Any = TOY) -> Readouts:
    """Write a hybrid, open it again and read it."""
    file = write_hybrid(hybrid(pair, taken, source), out / "hybrid.safetensors", overwrite=True)
    policy = load_policy(file, place)
    return policy.read(policy.prepare(place, place.situations("held-out", 8, 0)))


def assert_same_rows(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert found["measure"].tolist() == expected["measure"].tolist()
    for column in ("value", "effect", "se", "low", "high"):
        pd.testing.assert_series_equal(
            found[column], expected[column], check_index=False, rtol=1e-5, atol=2e-6, check_names=False
        )
    assert found["n"].tolist() == expected["n"].tolist()


@pytest.fixture(scope="module")
def swept(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sweep(prepared(pair), tmp_path_factory.mktemp("sweep") / "effects.parquet")


@pytest.mark.slow
def test_every_set_equals_its_hybrid_read_alone(swept: Path, pair: Pair, tmp_path: Path) -> None:
    table, what = read_table(swept), prepared(pair)
    everything = pair.anatomy().universe
    assert {len(named.components) for named in what.sets if named.family == "each unit"} == {1}
    assert sum(named.family == "each unit" for named in what.sets) == len(everything) == 12
    before = {
        side: alone(pair, taken, tmp_path)
        for side, taken in (("tuned", everything ^ everything), ("base", everything))
    }
    for named in what.sets:
        for direction, side, taken in (
            ("take back", "tuned", named.components),
            ("graft", "base", ~named.components),
        ):
            expected = effects(before[side], alone(pair, taken, tmp_path), TOY, relative_to=side)
            rows = (table["direction"] == direction) & (table["set"] == named.name)
            found = table[rows & (table["family"] == named.family)]
            assert set(found["relative_to"]) == {side}
            assert_same_rows(found, expected)


def test_the_ends_are_the_two_sides(swept: Path, pair: Pair) -> None:
    table = read_table(swept).set_index(["direction", "set", "measure"]).sort_index()
    for direction, side in (("take back", pair.base), ("graft", pair.tuned)):
        assert table.loc[(direction, "")]["effect"].abs().max() == 0
        policy = load_policy(side, TOY)
        expected = measures(policy.read(policy.prepare(TOY, prepared(pair).bench.situations)), TOY)
        values = table.loc[(direction, "*")]["value"].astype(float)
        for row in expected.itertuples():
            assert values[row.measure] == pytest.approx(float(row.value), abs=1e-6)


def test_wide_outputs_are_swept_as_one(tmp_path: Path) -> None:
    place = arena("endgames")
    pair = open_pair(*networks.save_pair(tmp_path, (320, 3, 4184)))
    situations = place.situations("held-out", 8, 0)
    what = Sweep(
        Bench(pair, place, situations), squared_norms(diff(pair)), ("each unit", "each kind"), controls=1
    )
    table = read_table(sweep(what, tmp_path / "effects.parquet"))
    assert {"L0.U0", "L0.U1", "L0.U2", "all units", "outputs"} <= set(table["set"])
    nothing = pair.anatomy().parse("")
    before = alone(pair, nothing, tmp_path, place=place)
    after = alone(pair, pair.anatomy().parse("OUTPUTS"), tmp_path, place=place)
    rows = table[(table["set"] == "outputs") & (table["direction"] == "take back")]
    assert_same_rows(rows, effects(before, after, place, relative_to="tuned"))


def test_other_sources_equal_hybrids_read_alone(pair: Pair, tmp_path: Path) -> None:
    bench = Bench(pair, TOY, TOY.situations("held-out", 8, 0))
    taken = [pair.anatomy().parse(text) for text in ("L0.U1", "L1.* L2.U0")]
    for name in ("zeros", "base", "zeros"):
        source = None if name == "base" else source_of(name, pair)
        for components, found in zip(taken, bench.read(Ask(one, name) for one in taken), strict=True):
            expected = alone(pair, components, tmp_path, source)
            assert found.probabilities.tolist() == pytest.approx(expected.probabilities.tolist(), rel=1e-5)
            assert found.masses == pytest.approx(expected.masses, rel=1e-5)


class _Killed(BaseException):
    pass


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("readouts", [True, False])
def test_a_killed_sweep_goes_on_with_or_without_readouts(
    readouts: bool, swept: Path, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what, out = prepared(pair, readouts=readouts), tmp_path / "effects.parquet"
    batches: list[HybridBatch] = []
    read = Reader.read

    def counted(reader: Reader, batch: HybridBatch, marks: Any) -> Any:
        if len(batches) == 1 and len({one.keys for one in batches}) == 1:
            batches.append(batch)
            raise _Killed
        batches.append(batch)
        return read(reader, batch, marks)

    monkeypatch.setattr(Reader, "read", counted)
    with pytest.raises(_Killed):
        sweep(what, out)
    assert not out.exists()
    sweep(prepared(pair, readouts=readouts), out)
    _, killed, *rest = [one.keys for one in batches]
    assert rest[0] == killed
    assert len(set(rest)) == len(rest), "what was read is not read again"
    assert digest(out) == digest(swept)
    beside = {"effects.readouts.parquet", "readouts"} if readouts else set()
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"effects.parquet", "effects.sweep.json"} | beside
    assert sweep(prepared(pair, readouts=readouts), out, report=lambda *_: pytest.fail("again")) == out
    with pytest.raises(TakebackError, match="holds another sweep"):
        sweep(prepared(pair, readouts=not readouts), out)


def test_another_way_to_run_the_same_weights_is_another_sweep(pair: Pair, tmp_path: Path) -> None:
    networks.build((2, 3, 2, 7), 1, "tanh").save_pretrained(tmp_path / "tanh")
    other = open_pair(pair.base, str(tmp_path / "tanh"))
    assert other.tuned.digest == pair.tuned.digest
    assert prepared(other).key != prepared(pair).key


def test_networks_that_give_something_else_are_no_pair_to_sweep(pair: Pair, tmp_path: Path) -> None:
    networks.build((2, 3, 2, 7), 1, outputs="values").save_pretrained(tmp_path / "values")
    other = open_pair(pair.base, str(tmp_path / "values"))
    with pytest.raises(TakebackError, match="has other inputs or outputs than"):
        sweep(prepared(other), tmp_path / "effects.parquet")
