"""No hybrid is read twice: in one process, by the next command, step or process, and after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from readings import TINY, Reads, counted
from takeback import cli
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.findings.localise import LocaliseSettings, localise
from takeback.findings.sweep import Sweep, squared_norms, sweep
from takeback.measure.bench import Bench
from takeback.measure.read import SIDES, Ask, Reader
from takeback.measure.setup import Setup
from takeback.measure.store import Store
from takeback.policies.readout import Readouts
from takeback.report import run_plan
from takeback.run.tables import read_table
from takeback.study.plan import check_plan
from takeback.weights import diff

ENDGAMES = arena("endgames")
SHORT = LocaliseSettings(("each layer",), points=2, rounds=1, controls=2, random_orders=1)


@pytest.fixture
def reads() -> Iterator[Reads]:
    with counted() as found:
        yield found


def fresh(players: Any, out: Path | None = None, measures: Any = (), situations: int = 12) -> Bench:
    place = ENDGAMES.situations("held-out", situations, 0)
    return Bench(open_pair(*players), ENDGAMES, place, measures, Setup(out))


def swept(bench: Bench, out: Path) -> Path:
    delta = squared_norms(diff(bench.pair))
    return sweep(Sweep(bench, delta, ("each layer", "each mlp"), controls=2), out)


def same(one: Readouts, other: Readouts) -> bool:
    arrays = ("probabilities", "masses", "undecided", "greedy", "drawn_legal", "errors", "lower_bound")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)


def only_once(reads: Reads) -> bool:
    return bool(reads) and set(reads.values()) == {1}


@pytest.mark.slow
def test_what_a_sweep_read_localise_finds(players: Any, tmp_path: Path, reads: Reads) -> None:
    swept(fresh(players, situations=32), tmp_path / "effects.parquet")
    before = len(reads)
    for _ in range(2):
        localise(fresh(players, tmp_path, ("legal",), 32), ("shares", "curves"), SHORT)
    assert len(reads) > before
    assert only_once(reads), "nor does the second run read anything"


@pytest.mark.slow
def test_commands_with_one_output_read_nothing_twice(players: Any, tmp_path: Path, reads: Reads) -> None:
    pair, more = list(map(str, players)), ["--situations", "32", "--controls", "1", "--sets", "each layer"]
    words = ["sweep", *pair, "-o", str(tmp_path / "effects.parquet"), *more]
    assert CliRunner().invoke(cli.app, words).exit_code == 0
    swept = len(reads)
    words = ["localise", *pair, "-o", str(tmp_path), *more, "--measure", "legal", "--with", "shares"]
    assert CliRunner().invoke(cli.app, words).exit_code == 0
    words = ["explain", *pair, "-o", str(tmp_path), "--take-back", "L0.*", "--situations", "32"]
    assert CliRunner().invoke(cli.app, words).exit_code == 0
    assert len(reads) > swept
    assert only_once(reads)


@pytest.mark.slow
def test_an_arm_of_a_study_reads_every_hybrid_once(tmp_path: Path, reads: Reads) -> None:
    run_plan(check_plan(TINY), tmp_path / "kept")
    assert only_once(reads)
    kept = list((tmp_path / "kept" / "readouts").glob("a-seed-0/*/*.parquet"))
    assert kept
    run_plan(check_plan(TINY), tmp_path / "kept")
    assert only_once(reads), "a run that is done reads nothing"
    reads.clear()
    run_plan(check_plan({**TINY, "readouts": False, "contrasts": {}}), tmp_path / "lean")
    assert only_once(reads)
    assert not list((tmp_path / "lean").rglob("readouts/a-seed-0/**/*.parquet"))
    columns = ["direction", "set", "measure", "effect"]
    tables = [
        read_table(tmp_path / run / "effects" / "a-seed-0.parquet")[columns] for run in ("kept", "lean")
    ]
    assert tables[0].equals(tables[1])


def test_grafting_a_set_is_taking_back_all_else(players: Any) -> None:
    """One hybrid, whichever of the two models it is made from: bit for bit."""
    bench = fresh(players, situations=4)
    chosen = bench.anatomy.parse("L0.H1 L1.MLP")
    assert Ask.graft(chosen).key == Ask(~chosen).key
    (side, exchanged), (other, most) = Ask.graft(chosen).built, Ask(chosen).built
    assert (side, exchanged) == ("base", chosen)
    assert (other, most) == ("tuned", chosen)
    (grafted,) = bench.read([Ask.graft(chosen)])
    reader, places = Reader(bench.pair, ENDGAMES, bench.situations), [0, 1, 2, 3]
    policy, (_, marks) = reader.policy("tuned"), reader.ends(places, bench.tolerance)
    from takeback.hybrid.walk import path_of

    views = [(reader.hybrids("tuned"), path_of(~chosen))]
    steps = policy.steps(reader.plan(places), marks)
    (taken,), _ = policy.read_hybrids(reader.plan(places), views, bench.tolerance, steps)
    assert same(grafted, taken)


@pytest.mark.slow
def test_a_readout_does_not_depend_on_what_is_read_with_it(players: Any) -> None:
    singles = [[one] for one in ("L0.MLP", "L1.MLP", "L0.H0")]
    together = fresh(players, situations=4)
    sets = [together.anatomy.parse(" ".join(names)) for names in singles]
    for one, read in zip(sets, together.read(sets), strict=True):
        (alone,) = fresh(players, situations=4).read([one])
        assert same(alone, read)


def test_what_was_read_on_all_situations_serves_some_of_them(players: Any, reads: Reads) -> None:
    bench = fresh(players, situations=6)
    chosen = bench.anatomy.parse("L1.MLP")
    (whole,) = bench.read([chosen])
    (part,) = bench.first(4).about("utility win").read([chosen])
    assert same(part, whole[np.arange(4)])
    (some,) = bench.some(np.array([1, 4])).read([chosen])
    assert same(some, whole[np.array([1, 4])])
    assert some.actions == whole[np.array([1, 4])].actions
    assert only_once(reads)


def test_halves_that_were_read_apart_make_a_whole(players: Any, reads: Reads) -> None:
    bench = fresh(players, situations=8)
    chosen = bench.anatomy.parse("L1.MLP")
    first, second = (bench.some(places) for places in bench.halves())
    parts = [half.read([chosen])[0] for half in (first, second)]
    (whole,) = bench.read([chosen])
    for places, part in zip(bench.halves(), parts, strict=True):
        assert same(whole[places], part)
    assert only_once(reads)


def test_illegal_mass_is_decided_as_finely_as_the_finest_measure_needs(players: Any, reads: Reads) -> None:
    bench = fresh(players, situations=4)
    legal, kinds = bench.about("utility win", "legal"), bench.about("legal", "entropy")
    assert (legal.tolerance, kinds.tolerance, bench.tolerance) == (1.0, 0.05, 0.05)
    chosen = bench.anatomy.parse("L1.MLP")
    (coarse,) = legal.read([chosen])
    assert kinds.unread([chosen]) == 1, "it was not read as finely"
    (fine,) = kinds.read([chosen])
    assert fine.undecided.max() <= 0.05 < coarse.undecided.max()
    assert np.array_equal(fine.probabilities, coarse.probabilities)
    assert legal.unread([chosen]) == 0
    assert max(reads.values()) == 2


def test_a_store_survives_its_process_and_takes_in_what_others_write(players: Any, tmp_path: Path) -> None:
    one, other = fresh(players, tmp_path, situations=4), fresh(players, tmp_path, situations=4)
    first, second = (one.anatomy.parse(name) for name in ("L0.MLP", "L1.MLP"))
    (mine,) = one.read([first])
    other.read([second])
    assert one.unread([first, second]) == other.unread([first, second]) == 0
    (folder,) = (tmp_path / "readouts").iterdir()
    draft = next(folder.glob("[!.]*.parquet")).read_bytes()[:100]
    (folder / ".half-written.parquet").write_bytes(draft)
    (found,) = fresh(players, tmp_path, situations=4).read([first])
    assert same(mine, found)
    one.forget()
    assert not (tmp_path / "readouts").exists()
    assert one.unread([first]) == 1


def test_another_arena_weights_or_threads_have_another_store(players: Any, tmp_path: Path) -> None:
    pair, some = open_pair(*players), ENDGAMES.situations("held-out", 4, 0)
    benches: Iterator[Bench] = (
        Bench(pair, ENDGAMES, some, setup=Setup(tmp_path)),
        Bench(pair, ENDGAMES, some[:3], setup=Setup(tmp_path)),
        Bench(open_pair(*players[::-1]), ENDGAMES, some, setup=Setup(tmp_path)),
        Bench(pair, ENDGAMES, some, setup=Setup(tmp_path, threads=2)),
    )
    folders = [bench.store.folder for bench in benches]
    assert len(set(folders)) == 4
    again = Bench(open_pair(*players), ENDGAMES, some, ("legal",), Setup(tmp_path))
    assert again.first(2).store.folder == folders[0], "measures and a part of the situations are no matter"


def test_both_sides_are_the_ends(players: Any) -> None:
    bench = fresh(players, situations=4)
    nothing, everything = bench.read([bench.nothing, bench.anatomy.universe])
    for side, readouts in zip(SIDES, (everything, nothing), strict=True):
        assert same(bench.ends[side], readouts)
    assert isinstance(bench.store, Store)
    assert len(bench.store.reads) == 2
