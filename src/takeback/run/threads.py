"""How many CPU threads torch uses: sums depend on it in their last bits, so what must repeat fixes it."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

from takeback.run.errors import TakebackError
from takeback.run.limits import MOST_THREADS


@contextmanager
def cpu_threads(count: int | None) -> Generator[None]:
    """Let torch use so many CPU threads inside the block; None leaves the number as it is.

    Raises:
        TakebackError: they are fewer than 1 or more than `MOST_THREADS`.

    >>> import torch
    >>> before = torch.get_num_threads()
    >>> with cpu_threads(1):
    ...     torch.get_num_threads()
    1
    >>> torch.get_num_threads() == before
    True
    """
    if count is None:
        yield
        return
    if not 1 <= count <= MOST_THREADS:
        raise TakebackError(f"{count} CPU threads cannot be used; choose 1 to {MOST_THREADS}")
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_in_use() -> int:
    """Return how many CPU threads torch uses; where it is not loaded, how many cores this process may use."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return torch.get_num_threads()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
