"""Environment variables for a while."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager


@contextmanager
def environment(more: Mapping[str, str]) -> Generator[None]:
    """Set variables inside the block, for processes that are started there too; then what was is again.

    >>> with environment({"TAKEBACK_EXAMPLE": "1"}):
    ...     os.environ["TAKEBACK_EXAMPLE"]
    '1'
    >>> "TAKEBACK_EXAMPLE" in os.environ
    False
    """
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
