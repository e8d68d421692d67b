"""How workers are started: what they have of the process that asks them."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from takeback.run.jobs import Job, run_jobs
from takeback.run.progress import Report


def told(name: str, _: Report) -> tuple[int, int, str | None]:
    return os.getpid(), os.getppid(), os.environ.get(name)


def asked(name: str) -> list[tuple[int, int, str | None]]:
    found: list[Any] = []
    jobs = [Job(str(number), told, (name,)) for number in range(4)]
    run_jobs(jobs, 2, keep=lambda _, result: found.append(result))
    return found


def test_workers_have_the_environment_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    asked("TAKEBACK_TRIED")
    monkeypatch.setenv("TAKEBACK_TRIED", "later")
    assert {value for _, _, value in asked("TAKEBACK_TRIED")} == {"later"}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each worker is started anew")
def test_workers_come_from_one_process_that_has_imported_what_is_slow() -> None:
    first, second = (asked("HOME") for _ in range(2))
    (server,) = {parent for _, parent, _ in (*first, *second)}
    assert server != os.getpid()
    assert not {one for one, _, _ in first} & {one for one, _, _ in second}, "no worker is used twice"
