"""Jobs in local processes, with one display of what they are all doing."""

from __future__ import annotations

import multiprocessing as mp
import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait as wait_for
from typing import Any, TypeAlias

from takeback.errors import TakebackError
from takeback.progress import Display, Report
from takeback.threads import cpu_threads

Workers: TypeAlias = int
"""How many jobs run at once: one runs here, several in local processes."""


@dataclass(frozen=True)
class Job:
    """A call that takes a `Report` as its last argument; function and arguments can be sent to a process."""

    name: str
    call: Callable[..., None]
    arguments: tuple[Any, ...]
    threads: int | None = None
    """CPU threads that torch uses for it."""

    def run(self, report: Report) -> None:
        """Run it here."""
        with cpu_threads(self.threads):
            self.call(*self.arguments, report)


Count = Callable[[int, int], None]
"""Told how many jobs are done of how many."""


def run_jobs(jobs: Sequence[Job], workers: int, title: str | None = None, count: Count | None = None) -> None:
    """Run the jobs, at most `workers` at a time, and show their progress; the first error stops all.

    One worker runs them here, several each in a process of its own, which ends with this one. With a `title`
    one bar counts the jobs that are done, where otherwise each has a bar; with `count` nothing is shown and
    that is told instead.

    Raises:
        TakebackError: a worker died, or a job raised it.
    """
    board = _Board([job.name for job in jobs], title, count)
    with nullcontext() if count else board.display:
        if workers == 1:
            for job in jobs:
                job.run(board.reporter(job.name))
                board.finish(job.name)
        else:
            _run_in_processes(jobs, workers, board)


class _Board:
    """Shows what jobs do on one display: a bar for each, or one that counts them; or has them counted."""

    def __init__(self, names: Sequence[str], title: str | None, count: Count | None) -> None:
        self.display = Display(names if title is None else [title])
        if count is None and title is not None:
            count = partial(self.display.show, title, "working")
        self._count, self._total, self._done = count, len(names), 0

    def reporter(self, name: str) -> Report:
        return self.display.reporter(name) if self._count is None else _silent

    def show(self, name: str, stage: str, done: int, total: int) -> None:
        if self._count is None:
            self.display.show(name, stage, done, total)

    def finish(self, name: str) -> None:
        self._done += 1
        if self._count is None:
            self.display.finish(name)
        else:
            self._count(self._done, self._total)


def _silent(stage: str, done: int, total: int) -> None:
    pass


def _run_in_processes(jobs: Sequence[Job], workers: int, board: _Board) -> None:
    context = mp.get_context("spawn")
    others = set(mp.active_children())
    with context.Manager() as manager:
        reports = manager.Queue()
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
            running: dict[Future[None], str] = {pool.submit(_run_job, job, reports): job.name for job in jobs}
            try:
                while running:
                    done, _ = wait(running, timeout=0.2)
                    _drain(reports, board)
                    for future in done:
                        future.result()
                        board.finish(running.pop(future))
            except BaseException as error:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in set(mp.active_children()) - others:
                    process.terminate()
                if isinstance(error, BrokenProcessPool):
                    raise TakebackError(
                        "a worker died (no memory?); run again with fewer --workers, it goes on"
                    ) from None
                raise


def _run_job(job: Job, reports: Any) -> None:
    def report(stage: str, done: int, total: int) -> None:
        reports.put((job.name, stage, done, total))

    job.run(report)


def _start_worker() -> None:
    """End this process when the one that started it is gone: nothing may write beside a second run."""
    parent = mp.parent_process()

    def watch() -> None:
        if parent is not None:
            wait_for([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _drain(reports: Any, board: _Board) -> None:
    while True:
        try:
            name, stage, done, total = reports.get_nowait()
        except queue.Empty:
            return
        board.show(name, stage, done, total)
