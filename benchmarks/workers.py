"""Seconds until workers are ready to read hybrids: forked from one process that has imported all, or anew.

    python benchmarks/workers.py [--workers 4] [--runs 3]

Each way starts its workers twice in a process, as a command or a notebook does that sweeps twice. The two are
measured in turns.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from takeback.run.job import Job
from takeback.run.processes import workers_context

WAYS = ("anew", "forked")


_ALL: list[Any] = []
"""In a worker, where all of them meet."""


def meet(barrier: Any) -> None:
    """Keep where workers meet."""
    _ALL.append(barrier)


def ready(_: int) -> int:
    """Import what reads hybrids, as a worker's first job does; wait for the others, and say who it is."""
    import takeback.measure.read  # noqa: F401

    _ALL[0].wait()
    return os.getpid()


def pools(way: str, workers: int) -> tuple[float, float]:
    """Return the seconds until the workers of a first and of a second pool have answered."""
    from takeback.measure.read import read_in_worker

    jobs = [Job("read", read_in_worker, ())]
    context = mp.get_context("spawn") if way == "anew" else workers_context(jobs)
    taken: list[float] = []
    for _ in range(2):
        began = time.monotonic()
        with ProcessPoolExecutor(workers, context, meet, (context.Barrier(workers),)) as pool:
            assert len(set(pool.map(ready, range(workers)))) == workers
        taken.append(time.monotonic() - began)
    return taken[0], taken[1]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(pools(given.way, given.workers)))
        return
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(given.runs):
        for way, times in found.items():
            words = [sys.executable, __file__, "--way", way, "--workers", str(given.workers)]
            told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            times.append(tuple(json.loads(told)))
    print(f"{given.workers} workers on {os.cpu_count()} cores, median of {given.runs} runs")
    for place, name in enumerate(("first pool", "second pool")):
        anew, forked = (statistics.median(times[place] for times in found[way]) for way in WAYS)
        print(f"{name:12}anew {anew:6.2f} s   forked {forked:6.2f} s   {anew / forked:6.1f} times")


if __name__ == "__main__":
    main()
