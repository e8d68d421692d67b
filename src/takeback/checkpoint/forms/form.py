"""What a form is: how a folder of it is told, and which tensors are in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from takeback.checkpoint.made import Stored
from takeback.run.errors import TakebackError

PICKLE = "TAKEBACK_ALLOW_PICKLE"
"""The environment variable that allows pickled tensors; workers inherit it. The command line sets it."""


@dataclass(frozen=True, slots=True)
class Form:
    """Says how weights lie in a folder: `holds` tells one, `entries` gives its tensors by stored name.

    `told` says more than the name, and `settings` what config.json would hold where there is none.
    """

    name: str
    holds: Callable[[Path], bool]
    entries: Callable[[Path], Mapping[str, Stored]]
    told: Callable[[Path], str] | None = None
    settings: Callable[[Path], Mapping[str, Any]] | None = None


def allow_pickled(what: str, convert: str) -> None:
    """Raise unless the user allows pickled tensors to be opened (with `weights_only=True`, of tensors alone).

    Args:
        what: the file, and what it is.
        convert: the command that writes safetensors from it.

    Raises:
        TakebackError: `--allow-pickle` was not given.
    """
    if os.environ.get(PICKLE) != "1":
        raise TakebackError(
            f"{what} is pickled, which can run code when opened; say --allow-pickle to read its tensors "
            f"alone (weights_only), or convert it: {convert}"
        )
