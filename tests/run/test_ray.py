"""Work on a Ray cluster of two local nodes: the tables of a single process, whatever dies."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from kill import run_and_kill
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.findings.sweep import Sweep, squared_norms, sweep
from takeback.measure.bench import Bench
from takeback.measure.setup import Setup
from takeback.run.errors import TakebackError
from takeback.run.jobs import Job, OnRay, run_jobs
from takeback.run.parts import collect
from takeback.run.progress import Report
from takeback.weights import diff

CPUS = 2
TWO = OnRay(2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """Two nodes of this machine with two CPUs each; this process is joined to the first."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # actors can't import tests
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": CPUS, "include_dashboard": False})
    nodes.add_node(num_cpus=CPUS)
    nodes.connect()
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@dataclass(frozen=True)
class Where:
    """On which node each item is done, and in which process; one process dies at the third item, once."""

    diary: Path
    mortal: bool = False
    identity: str = "where"
    name: str = "where"

    def items(self) -> Sequence[str]:
        return [str(number) for number in range(12)]

    def rows(self, item: str) -> pd.DataFrame:
        import ray

        node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"
        with self.diary.open("a", encoding="utf-8") as diary:
            diary.write(f"{item} {node} {os.getpid()}\n")
        if self.mortal and item == "3" and len(self.lines("3")) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return pd.DataFrame({"item": [int(item)], "root": [int(item) ** 0.5]})

    def lines(self, item: str | None = None) -> list[list[str]]:
        lines = [line.split() for line in self.diary.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if item in {None, line[0]}]


def swept(players: tuple[str, str], out: Path, workers: int | OnRay) -> list[bytes]:
    pair = open_pair(*players)
    situations = arena("endgames").situations("held-out", 4, 0)
    requests = ("each head", "each mlp", "*")
    bench = Bench(pair, arena("endgames"), situations, setup=Setup(workers=workers))
    sweep(Sweep(bench, squared_norms(diff(pair)), requests, controls=2), out)
    return [path.read_bytes() for path in (out, out.with_suffix(".readouts.parquet"))]


@pytest.mark.slow
def test_two_nodes_sweep_like_one_process(cluster, players, tmp_path):
    expected = swept(players, tmp_path / "here.parquet", 1)
    assert swept(players, tmp_path / "ray.parquet", TWO) == expected


@pytest.mark.slow
def test_two_nodes_diff_like_one_process(cluster, players, tmp_path):
    pair = open_pair(*players)
    found = diff(pair, out=tmp_path / "ray", workers=TWO).tables
    for name, table in diff(pair).tables.items():
        pd.testing.assert_frame_equal(found[name], table, check_exact=True)


@pytest.mark.slow
def test_both_nodes_work_and_each_actor_stays(cluster, tmp_path):
    work = Where(tmp_path / "diary")
    table = collect(work, tmp_path / "out", TWO, threads=CPUS)  # a node has room for one such actor
    assert table["item"].tolist() == list(range(12))
    assert len({node for _, node, _ in work.lines()}) == 2
    assert len({process for *_, process in work.lines()}) == 2


@pytest.mark.slow
def test_an_actor_that_dies_is_started_again(cluster, tmp_path):
    work = Where(tmp_path / "diary", mortal=True)
    table = collect(work, tmp_path / "out", TWO)
    (died, *_), (again, *_) = (work.lines("3")[place][2:] for place in (0, 1))
    assert died != again
    pd.testing.assert_frame_equal(table, collect(Where(tmp_path / "other diary")))


@pytest.mark.slow
def test_a_job_that_keeps_killing_its_actor_ends_in_one_line(cluster, tmp_path):
    with pytest.raises(TakebackError, match="an actor died 4 times") as raised:
        collect(Deadly(), tmp_path / "out", OnRay(1))
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_an_error_in_an_actor_is_the_error_here(cluster, tmp_path):
    with pytest.raises(TakebackError, match=r"^no such item$"):
        collect(Wrong(), tmp_path / "out", TWO)


@dataclass(frozen=True)
class Wrong:
    """Work that a user made a mistake in."""

    identity: str = "wrong"
    name: str = "wrong"

    def items(self) -> Sequence[str]:
        return ["0", "1"]

    def rows(self, item: str) -> pd.DataFrame:
        raise TakebackError("no such item")


@dataclass(frozen=True)
class Deadly(Wrong):
    """Work that kills whoever does it."""

    def rows(self, item: str) -> pd.DataFrame:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@pytest.mark.slow
def test_a_killed_run_on_a_cluster_of_its_own_goes_on(tmp_path):
    pytest.importorskip("ray")
    out = tmp_path / "out"
    code = (
        f"import sys; sys.path[:0] = {list(map(str, Path(__file__).parents[:2]))!r}\n"
        "import ray, time, test_ray\n"
        "from takeback.run.parts import collect\n"
        "class Slow(test_ray.Where):\n"
        "    def rows(self, item):\n"
        "        time.sleep(0.2)\n"
        "        return super().rows(item)\n"
        "ray.cloudpickle.register_pickle_by_value(test_ray)\n"
        f"collect(Slow(test_ray.Path({str(tmp_path / 'diary')!r})), {str(out)!r}, test_ray.TWO)\n"
    )
    run_and_kill(code, lambda: len([*out.glob(".parts/where/*.parquet")]) > 2, tmp_path / "log")
    before = len([*out.glob(".parts/where/*.parquet")])
    assert 2 < before < 12
    work = Where(tmp_path / "diary of the second run")
    table = collect(work, out)
    assert len(work.lines()) == 12 - before
    pd.testing.assert_frame_equal(table, collect(Where(tmp_path / "other diary")))


def test_without_ray_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TakebackError, match=r"^ray is not installed: pip install 'takeback\[ray\]'"):
        collect(Wrong(), tmp_path / "out", TWO)


def test_actors_need_a_folder():
    with pytest.raises(TakebackError, match="--out"):
        collect(Wrong(), workers=TWO)


ARM = {"method": "sft", "goal": "win", "steps": 2, "learning_rate": 1e-3, "batch": 8}
STUDY = {
    "name": "spread",
    "base": "endgame-mlp",
    "arms": {"after": {**ARM, "parent": "first"}, "first": ARM, "other": {**ARM, "steps": 3}},
    "situations": 4,
    "games": 0,
    "sets": ["each layer", "each kind"],
    "controls": 1,
}


@pytest.mark.slow
def test_two_nodes_run_a_study_like_one_process(cluster, tmp_path):
    from takeback.study import run_plan
    from takeback.study.plan import check_plan

    here, ray = tmp_path / "here", tmp_path / "ray"
    run_plan(check_plan(STUDY), here)
    run_plan(check_plan(STUDY), ray, TWO)
    tables = sorted(path.relative_to(here) for path in here.rglob("*.parquet"))
    assert len(tables) > 20
    for table in tables:
        assert (ray / table).read_bytes() == (here / table).read_bytes(), table


def follows(own: Path, other: Path, report: Report) -> bool:
    """Tell whether another job has ended; take longer where there is none to follow."""
    time.sleep(0.0 if other.exists() else 0.3)
    seen = other.exists()
    own.touch()
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, TWO])
def test_a_job_begins_after_those_that_it_waits_for(workers, cluster, tmp_path):
    names = [f"job {n}" for n in range(6)]
    jobs = [
        Job(name, follows, (tmp_path / name, tmp_path / f"job {n - 2}"), after=(f"job {n - 2}",) * (n > 1))
        for n, name in enumerate(names)
    ]
    found = {}
    run_jobs(jobs, workers, keep=lambda job, result: found.update({job.name: result}))
    assert found == {name: n > 1 for n, name in enumerate(names)}
