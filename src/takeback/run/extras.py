"""Libraries that come with an extra of this package, or one line that says which extra brings them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from takeback.run.errors import TakebackError


def needed(library: str, extra: str) -> Any:
    """Import a library and return it.

    >>> needed("json", "train").dumps([])
    '[]'

    Raises:
        TakebackError: It is not installed.
    """
    try:
        return import_module(library)
    except ModuleNotFoundError as error:
        raise TakebackError(f"{library} is not installed: pip install 'takeback[{extra}]'") from error
