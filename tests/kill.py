"""Running a command in a process of its own and killing it, as a power cut would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code to its end in a fresh process."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def run_and_kill(code: str, when: Callable[[], bool], log: Path, limit: float = 600) -> None:
    """Start Python code in a process group of its own and kill -9 all of it as soon as `when` is true."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=output, stderr=output, start_new_session=True
        )
        end = time.monotonic() + limit
        try:
            while not when():
                assert process.poll() is None, f"it ended before it could be killed: {log.read_text()}"
                assert time.monotonic() < end, f"what should have been there did not come: {log.read_text()}"
                time.sleep(0.01)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
