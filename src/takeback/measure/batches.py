"""Which hybrids are read together, and reading them, here or by workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from takeback.hybrid.walk import path_of
from takeback.measure.read import Ask, HybridBatch, Reader, read_in_worker
from takeback.measure.setup import Setup
from takeback.measure.store import Key, Store
from takeback.run.job import Job
from takeback.run.jobs import run_jobs
from takeback.run.parts import watched
from takeback.run.progress import piece_of
from takeback.run.threads import cpu_threads

NAME: Final = "hybrids"
"""What reading them is called where it is shown."""

Places = NDArray[np.int64]


def cut(asks: Iterable[Ask], key: Callable[[Ask], Key], size: int) -> list[list[Ask]]:
    """Cut hybrids into batches: those of one source and side, with neighbouring paths, go together.

    The batches depend on the hybrids alone and not on the order in which they are asked for.
    """
    lanes: dict[tuple[str, str], list[tuple[list[str], Ask]]] = {}
    for ask in {key(ask): ask for ask in asks}.values():
        side, components = ask.built
        path = [str(part) for part in path_of(components)]
        lanes.setdefault((ask.key[1], side), []).append((path, ask))
    found: list[list[Ask]] = []
    for lane in sorted(lanes):
        members = [ask for _, ask in sorted(lanes[lane], key=lambda one: one[0])]
        found += [members[start : start + size] for start in range(0, len(members), size)]
    return found


def lacking(
    batch: Sequence[Ask], key: Callable[[Ask], Key], store: Store, places: Places, tolerance: float
) -> list[HybridBatch]:
    """Return what of a batch was not read: together what lacks the same situations."""
    found: dict[tuple[int, ...], list[Ask]] = {}
    for ask in batch:
        left = store.missing(key(ask), places, tolerance)
        if len(left):
            found.setdefault(tuple(left.tolist()), []).append(ask)
    return [
        HybridBatch(tuple(asks), tuple(map(key, asks)), places, tolerance) for places, asks in found.items()
    ]


def read_all(
    work: Sequence[tuple[HybridBatch, list[Places]]],
    reader: Reader,
    store: Store,
    setup: Setup,
    found: int = 0,
    count: Callable[[int, int], None] | None = None,
) -> None:
    """Read batches and keep each, here or by workers.

    Args:
        work: the batches, each with what is expanded.
        reader: what reads them.
        store: where they are kept.
        setup: who works.
        found: hybrids beside these that were there already.
        count: told how many hybrids of how many are done, in place of a display.
    """
    done = list(accumulate((len(batch.asks) for batch, _ in work), initial=found))
    whole = done[-1]
    if count is not None:
        count(found, whole)
    if setup.workers == 1:
        with cpu_threads(setup.threads):
            for place, one in enumerate(watched(NAME, work, count is None)):
                with piece_of(done[place], done[place + 1] - done[place], whole, "reading"):
                    store.keep(reader.read(*one))
                if count is not None:
                    count(done[place + 1], whole)
        return
    jobs = [
        Job(str(place), read_in_worker, (reader.token, reader, *one), setup.threads)
        for place, one in enumerate(work)
    ]
    told = None if count is None else lambda jobs_done, _: count(done[jobs_done], whole)
    run_jobs(jobs, setup.workers, NAME, told, lambda _, part: store.keep(part))
