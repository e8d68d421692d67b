"""How workers are started: what they have of the process that asks them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from takeback.run.jobs import Job, run_jobs
from takeback.run.progress import Report

SCRIPT = """
import sys

BEFORE = {name: name in sys.modules for name in ("transformers.modeling_utils", "calendar")}

from takeback.run.jobs import Job, run_jobs


def told(_):
    return BEFORE


if __name__ == "__main__":
    import transformers.modeling_utils

    run_jobs([Job(str(n), told, ()) for n in range(2)], 2, keep=lambda _, found: print(found))
"""
"""Workers import it before they do anything: BEFORE is what they were born with."""


def told(name: str, _: Report) -> tuple[int, int, str | None]:
    return os.getpid(), os.getppid(), os.environ.get(name)


def asked(name: str) -> list[tuple[int, int, str | None]]:
    found: list[Any] = []
    jobs = [Job(str(number), told, (name,)) for number in range(4)]
    run_jobs(jobs, 2, keep=lambda _, result: found.append(result))
    return found


def born_with(folder: Path, **environment: str) -> list[dict[str, bool]]:
    script = folder / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [eval(line) for line in done.stdout.splitlines()]


def test_workers_have_the_environment_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEBACK_TRIED", "first")
    assert {value for _, _, value in asked("TAKEBACK_TRIED")} == {"first"}
    monkeypatch.setenv("TAKEBACK_TRIED", "later")
    assert {value for _, _, value in asked("TAKEBACK_TRIED")} == {"later"}
    monkeypatch.delenv("TAKEBACK_TRIED")
    assert {value for _, _, value in asked("TAKEBACK_TRIED")} == {None}
    assert "PYTHONSAFEPATH" not in os.environ


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each worker is started anew")
def test_workers_of_all_calls_come_from_one_process() -> None:
    first, second = (asked("HOME") for _ in range(2))
    (server,) = {parent for _, parent, _ in (*first, *second)}
    assert server != os.getpid()
    assert not {one for one, _, _ in first} & {one for one, _, _ in second}, "no worker is used twice"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each worker is started anew")
def test_that_process_has_imported_what_is_slow_and_nothing_of_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "datasets.py").write_text("raise SystemExit('it was imported')", encoding="utf-8")
    (tmp_path / "calendar.py").write_text("raise SystemExit('it was imported')", encoding="utf-8")
    found = born_with(tmp_path)
    assert [one["transformers.modeling_utils"] for one in found] == [True, True]


@pytest.mark.slow
def test_where_it_can_not_be_reached_workers_are_started_anew(tmp_path: Path) -> None:
    """A socket has no place below a path of more than about a hundred letters."""
    far = tmp_path / ("far" * 30)
    far.mkdir()
    found = born_with(tmp_path, TMPDIR=str(far))
    assert [one["transformers.modeling_utils"] for one in found] == [False, False]
