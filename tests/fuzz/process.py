"""Runs the command itself on bent input: exit code 0, or 2 with one line, within the time."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from pathlib import Path

from fuzz.forms import bent_distributed, bent_layout, bent_shards
from fuzz.gguf import bent_gguf
from fuzz.streams import bent_stream
from takeback.run.errors import TakebackError

SECONDS = 20
"""Of a processor; on a crowded machine the clock may show several times that."""

LONGEST = 120
WRITERS = (bent_stream, bent_gguf, bent_distributed, bent_shards, bent_layout)


def process(place: Path, common: Path, draw: random.Random) -> bool:
    """The command `takeback diff` in a process of its own, on any of the newer kinds."""
    ref = draw.choice(WRITERS)(place, common, draw)
    words = [sys.executable, "-m", "takeback", "diff", str(common / "base"), ref]
    limits = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        words,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **limits},
        timeout=LONGEST,
        preexec_fn=_bound,
    )
    told = [line for line in done.stderr.splitlines() if not line.startswith("takeback: warning: ")]
    if (place / "mark").exists():
        raise AssertionError("a planted call ran")
    if done.returncode == 2 and len(told) == 1 and told[0].startswith("takeback: ") and not done.stdout:
        raise TakebackError(told[0])
    if done.returncode != 0 or told:
        raise AssertionError(f"{done.returncode}: {done.stderr[-200:]}")
    return True


def _bound() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
