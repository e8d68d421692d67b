"""Runs tries one after another, each with a bound on its time, and counts what became of them."""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired
from types import FrameType

from fuzz.common import prepare, prepare_forms, prepare_stream
from fuzz.kinds import KINDS
from fuzz.process import LONGEST, process
from takeback.checkpoint.forms.form import PICKLE
from takeback.run.errors import TakebackError

SECONDS = 20
MEMORY = 4 << 30
RARE = {process.__name__: process}
OUTCOMES = ("accepted", "refused", "wrong", "traceback", "hang", "lost")


@dataclass(frozen=True)
class Try:
    """What became of one try: its kind, its number, and what was said."""

    kind: str
    number: int
    outcome: str
    said: str = ""


class _TooLong(BaseException):
    pass


def fuzz(tries: int, seed: int = 0, kinds: Sequence[str] = tuple(KINDS), rarely: int = 200) -> list[Try]:
    """Try so many bent inputs, each kind as often; a number and a seed give the same input again.

    One of so many is tried by a process of its own instead, none where that is 0.
    """
    found = list[Try]()
    there = dict(os.environ)
    os.environ |= {"HF_HUB_OFFLINE": "1", PICKLE: "1"}
    before = signal.signal(signal.SIGALRM, _stop)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    try:
        with tempfile.TemporaryDirectory() as folder:
            common = Path(folder) / "common"
            common.mkdir()
            prepare(common)
            prepare_stream(common)
            prepare_forms(common)
            kept = _state(common)
            for number in range(tries):
                with tempfile.TemporaryDirectory(dir=folder) as place:
                    kind = (
                        "process" if rarely and number % rarely == rarely - 1 else kinds[number % len(kinds)]
                    )
                    one = _one(kind, number, seed, (Path(place), common))
                lost = one.outcome if _state(common) == kept else "lost"
                found.append(Try(one.kind, number, lost, one.said))
                if found[-1].outcome not in ("accepted", "refused"):
                    print(found[-1], file=sys.stderr, flush=True)
    finally:
        os.environ.clear()
        os.environ |= there
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)
    return found


def table(found: Sequence[Try]) -> str:
    """Return the counts as a Markdown table."""
    counts = Counter((one.kind, one.outcome) for one in found)
    lines = [f"| kind | {' | '.join(OUTCOMES)} |", "| --- |" + " ---: |" * len(OUTCOMES)]
    for kind in [*KINDS, *RARE, ""]:
        each = [
            sum(n for (k, o), n in counts.items() if o == outcome and kind in ("", k)) for outcome in OUTCOMES
        ]
        lines.append(f"| {kind or 'all'} | {' | '.join(f'{n:,}' for n in each)} |")
    return "\n".join(lines)


def _one(kind: str, number: int, seed: int, places: tuple[Path, Path]) -> Try:
    signal.alarm(LONGEST if kind in RARE else SECONDS)
    try:
        right = (KINDS | RARE)[kind](*places, random.Random(f"{seed} {number}"))
        return Try(kind, number, "accepted" if right else "wrong")
    except TakebackError as error:
        told = str(error)
        return Try(kind, number, "refused" if "\n" not in told and len(told) < 4000 else "wrong", told[:200])
    except (_TooLong, TimeoutExpired):
        return Try(kind, number, "hang")
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Try(
            kind,
            number,
            "traceback",
            f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"[:300],
        )
    finally:
        signal.alarm(0)


def _stop(signum: int, frame: FrameType | None) -> None:
    raise _TooLong


def _state(folder: Path) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in folder.rglob("*") if one.is_file()}
