"""Directions: the hybrids asked are those of the sources, with their ends, and random ones stand beside."""

from __future__ import annotations

import pytest

from takeback.arenas import arena
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.draw.result import section_of
from takeback.findings.localise.directions import COLUMNS, DirectionCuts, DirectionPart, directions
from takeback.hybrid import hybrid, write_hybrid
from takeback.hybrid.sources import source_of
from takeback.measure.bench import Bench
from takeback.measure.measures import measure_values
from takeback.policies.language import ReadoutPlan, read_plan
from takeback.policies.load import load_policy
from takeback.run.errors import TakebackError

ENDGAMES = arena("endgames")
SET = "L0.* L1.MLP"


@pytest.fixture(scope="module")
def bench(players: tuple[str, str]) -> Bench:
    return Bench.held_out(open_pair(*players), ENDGAMES, ("legal", "utility win"), (6, 0))


@pytest.fixture(scope="module")
def found(bench: Bench) -> DirectionCuts:
    return directions(bench, (4,), bench.anatomy.parse(SET), seeds=(7,))


def value(found: DirectionCuts, what: str, k: int, scaled: bool = False, seed: int | None = None) -> float:
    table = found.table[found.table["measure"] == "legal"]
    mine = table[(table["what"] == what) & (table["k"] == k) & (table["scaled"] == scaled)]
    mine = mine[mine["seed"].isna() if seed is None else mine["seed"] == seed]
    assert len(mine) == 1
    return float(mine["value"].iloc[0])


def alone(bench: Bench, source: str, folder) -> float:
    """The legal mass of a hybrid that is written to disk and read alone."""
    chosen = bench.anatomy.parse(SET)
    made = hybrid(bench.pair, chosen, source_of(source, bench.pair))
    policy = load_policy(open_checkpoint(write_hybrid(made, folder / source.replace(":", "-"))), ENDGAMES)
    plan = ReadoutPlan.prepare(ENDGAMES, bench.situations, policy.tokenizer, policy.style)
    readouts = read_plan(policy.model, plan, tolerance=1.0)
    return float(measure_values(readouts, bench.context)["legal"].numbers.mean())


@pytest.mark.slow
def test_each_part_is_the_hybrid_on_disk(found: DirectionCuts, bench: Bench, tmp_path) -> None:
    for part in (
        DirectionPart("without", 4),
        DirectionPart("only", 4, True),
        DirectionPart("only", 4, False, 7),
    ):
        read = alone(bench, part.source, tmp_path)
        assert value(found, part.what, part.k, part.scaled, part.seed) == pytest.approx(read, abs=1e-6)


@pytest.mark.slow
def test_no_direction_is_an_end(found: DirectionCuts, bench: Bench) -> None:
    chosen = bench.anatomy.parse(SET)
    numbers = bench.answer([bench.nothing, chosen])
    assert value(found, "without", 0) == pytest.approx(numbers.of(bench.nothing, "legal").mean(), abs=1e-6)
    assert value(found, "only", 0) == pytest.approx(numbers.of(chosen, "legal").mean(), abs=1e-6)


def test_the_table_holds_every_part(found: DirectionCuts) -> None:
    assert list(found.table.columns) == list(COLUMNS)
    assert set(found.table["components"]) == {SET}
    cut = found.table[found.table["k"] > 0]
    assert not cut.duplicated(["measure", "what", "scaled", "directions", "seed", "k"]).any()
    assert len(cut) == 2 * 2 * 2 * 2


@pytest.mark.parametrize("ks", [(), (0,), (3, -1)])
def test_a_number_below_1_is_refused(bench: Bench, ks: tuple[int, ...]) -> None:
    with pytest.raises(TakebackError, match="counted from 1"):
        directions(bench, ks)


@pytest.mark.slow
def test_it_is_shown(found: DirectionCuts, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(section_of(found).figures) == 8
    found.print()
    assert "without the 4 leading" in capsys.readouterr().out
