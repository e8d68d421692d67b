"""Workers whose main process is gone: none of them stays, and what reads their output comes to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

SLEEPERS = """
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from takeback.run.parts import collect

@dataclass(frozen=True)
class Sleepers:
    diary: str
    identity: str = "sleepers"
    name: str = "sleepers"

    def items(self):
        return ["1", "2"]

    def rows(self, item):
        (Path(self.diary) / item).touch()
        print("asleep", flush=True)
        time.sleep(600)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs these tests may ignore it
    collect(Sleepers({diary!r}), {out!r}, workers=2, threads=1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_main_process(how: signal.Signals, tmp_path: Path) -> None:
    script, diary = tmp_path / "sleepers.py", tmp_path / "diary"
    diary.mkdir()
    script.write_text(SLEEPERS.format(diary=str(diary), out=str(tmp_path / "out")), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    family = psutil.Process(process.pid)
    try:
        _until(lambda: len([*diary.iterdir()]) == 2)
        others = family.children(recursive=True)
        assert len(others) >= 2
        process.send_signal(how)
        told, _ = process.communicate(timeout=30)  # as `| tee` would: until nobody holds the pipe
        assert told.count(b"asleep") == 2
        assert psutil.wait_procs(others, timeout=10)[1] == []
    finally:
        _end(process.pid)


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def _end(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
