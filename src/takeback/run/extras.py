"""Libraries that come with an extra of this package, or one line that says which extra brings them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from takeback.run.errors import TakebackError


def needed(module: str, extra: str, more: str = "") -> Any:
    """Import a module of a library and return it; `more` ends the line that is told if it is missing.

    >>> needed("json", "train").dumps([])
    '[]'

    Raises:
        TakebackError: The library is not installed, or something in it can't be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        name, told = library.replace("_", "-"), " ".join(str(error).split())
        missing = isinstance(error, ModuleNotFoundError) and error.name == library
        why = "is not installed" if missing else f"can't be imported ({told})"
        raise TakebackError(f"{name} {why}: pip install 'takeback[{extra}]'{more}") from error
