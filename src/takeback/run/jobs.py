"""Jobs here, in local processes or on a Ray cluster, with one display of what they are all doing."""

from __future__ import annotations

import multiprocessing as mp
import os
import queue
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, nullcontext
from functools import partial
from multiprocessing.connection import wait as wait_for
from typing import TYPE_CHECKING, Any, TypeAlias

from takeback.run.errors import TakebackError, show_warnings_in_lines
from takeback.run.job import Finished, Job, OnRay, Waiting, Workers, silent
from takeback.run.processes import workers_context
from takeback.run.progress import Display, Report

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    Reports: TypeAlias = Queue[tuple[str, str, int, int]]

Count = Callable[[int, int], None]
"""Told how many jobs are done of how many."""


def run_jobs(
    jobs: Sequence[Job],
    workers: Workers,
    title: str | None = None,
    count: Count | None = None,
    keep: Callable[[Job, Any], None] | None = None,
) -> None:
    """Run the jobs, at most so many at a time, and show their progress; the first error stops all.

    With a `title` one bar counts the jobs that are done, where otherwise each has a bar; with `count` nothing
    is shown and that is told instead. What a job returns is given to `keep`, in this process.

    Raises:
        TakebackError: a worker died, Ray is not there, or a job raised it.
    """
    board = _Board([job.name for job in jobs], title, count)
    with nullcontext() if count else board.display, closing(_started(jobs, workers, board)) as finished:
        for job, result in finished:
            if keep is not None:
                keep(job, result)
            board.finish(job.name)


def _started(jobs: Sequence[Job], workers: Workers, board: _Board) -> Finished:
    if isinstance(workers, OnRay):
        from takeback.run.ray import run_on_ray

        return run_on_ray(jobs, workers)
    return _run_here(jobs, board) if min(workers, len(jobs)) <= 1 else _run_in_processes(jobs, workers, board)


def _run_here(jobs: Sequence[Job], board: _Board) -> Finished:
    for job in jobs:
        yield job, job.run(board.reporter(job.name))


class _Board:
    """Shows what jobs do on one display: a bar for each, or one that counts them; or has them counted."""

    def __init__(self, names: Sequence[str], title: str | None, count: Count | None) -> None:
        self.display = Display(names if title is None else [title])
        if count is None and title is not None:
            count = partial(self.display.count, "parts done")
        self._count, self._total, self._done = count, len(names), 0

    def reporter(self, name: str) -> Report:
        return self.display.reporter(name) if self._count is None else silent

    def show(self, name: str, stage: str, done: int, total: int) -> None:
        if self._count is None:
            self.display.show(name, stage, done, total)

    def finish(self, name: str) -> None:
        self._done += 1
        if self._count is None:
            self.display.finish(name)
        else:
            self._count(self._done, self._total)


def _run_in_processes(jobs: Sequence[Job], workers: int, board: _Board) -> Finished:
    context = workers_context(jobs)
    others = set(mp.active_children())
    reports: Reports = context.Queue()  # a pipe, no process of its own that could outlive this one
    count = min(workers, len(jobs))
    with ProcessPoolExecutor(count, context, _start_worker, (reports, dict(os.environ))) as pool:
        running: dict[Future[Any], Job] = {}
        waiting = Waiting(jobs)
        try:
            while True:
                while len(running) < 2 * count and (job := waiting.next()) is not None:
                    running[_submitted(pool, job)] = job
                if not running:
                    break
                done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                _drain(reports, board)
                for future in done:
                    job, result = running.pop(future), future.result()
                    waiting.end(job.name)
                    yield job, result
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(mp.active_children()) - others:
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise TakebackError(
                    "a worker died (no memory?); run again with fewer --workers, it goes on"
                ) from None
            raise


def _submitted(pool: ProcessPoolExecutor, job: Job) -> Future[Any]:
    try:
        return pool.submit(_run_job, job)
    except (EOFError, OSError) as error:
        told = str(error) or type(error).__name__
        raise TakebackError(f"workers can't be started ({told}); run again with --workers 1") from error


_REPORTS: list[Reports] = []
"""Where a worker tells how far it is."""


def _run_job(job: Job) -> Any:
    def report(stage: str, done: int, total: int) -> None:
        _REPORTS[0].put((job.name, stage, done, total))

    return job.run(report)


def _start_worker(reports: Reports, environment: Mapping[str, str]) -> None:
    """Take over the environment, and end this process when the one that started it is gone.

    Else something might write beside a second run.
    """
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started it stops it
    show_warnings_in_lines()
    reports.cancel_join_thread()
    _REPORTS.append(reports)
    parent = mp.parent_process()

    def watch() -> None:
        if parent is not None:
            wait_for([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _drain(reports: Reports, board: _Board) -> None:
    while True:
        try:
            name, stage, done, total = reports.get_nowait()
        except queue.Empty:
            return
        board.show(name, stage, done, total)
