"""How many CPU threads torch uses: sums depend on it in their last bits, so what must repeat fixes it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def cpu_threads(count: int | None) -> Generator[None]:
    """Let torch use so many CPU threads inside the block; None leaves the number as it is.

    >>> import torch
    >>> before = torch.get_num_threads()
    >>> with cpu_threads(1):
    ...     torch.get_num_threads()
    1
    >>> torch.get_num_threads() == before
    True
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
