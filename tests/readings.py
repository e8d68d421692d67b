"""Counting what is read of hybrids: law 13 for tests, and for `make tree`."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from takeback.measure.read import Ask, Reader

Reads = Counter[tuple[Any, ...]]

TINY = {
    "name": "tiny",
    "base": "endgame-base",
    "arms": {"a": {"method": "sft", "goal": "win", "steps": 2, "learning_rate": 1e-3, "batch": 16}},
    "situations": 8,
    "games": 0,
    "sets": ["each mlp", "each layer"],
    "controls": 1,
    "localise": {"a": ["shares", "strength"]},
    "localise_situations": 6,
    "contrasts": {"one": {"a": 1}},
}
"""A plan of one arm that takes all steps that read hybrids."""


@contextmanager
def counted() -> Generator[Reads]:
    """Count how often each hybrid of a pair is read in each situation, whoever asks."""
    reads: Reads = Counter()
    read, ends = Reader.read, Reader.ends

    def one(reader: Reader, batch: Any, marks: Any) -> Any:
        reads.update((str(reader.pair), key, place) for key in batch.keys for place in batch.places)
        return read(reader, batch, marks)

    def both(reader: Reader, places: Any, tolerance: float) -> Any:
        universe = reader.pair.anatomy().universe
        keys = [Ask(one).key for one in (universe, universe - universe)]
        reads.update((str(reader.pair), key, place) for key in keys for place in places)
        return ends(reader, places, tolerance)

    Reader.read, Reader.ends = one, both
    try:
        yield reads
    finally:
        Reader.read, Reader.ends = read, ends


def read_twice() -> tuple[int, int]:
    """Run a small study; return how many hybrids were read in it, and how many of them twice."""
    from takeback.study.plan import check_plan
    from takeback.study.run import run_plan

    with tempfile.TemporaryDirectory() as folder, counted() as reads:
        run_plan(check_plan(TINY), Path(folder) / "run")
    hybrids = {hybrid[:2] for hybrid in reads}
    return len(hybrids), len({hybrid[:2] for hybrid, times in reads.items() if times > 1})
