"""A user's own blocks of families: files that the command line or the environment names, or packages."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, TypeAlias

from takeback.run.environment import environment
from takeback.run.errors import TakebackError
from takeback.run.own import load_own
from takeback.run.reading import read_text

VARIABLE: Final = "TAKEBACK_FAMILIES"
"""The variable of the environment that names TOML files with a user's own families."""

GROUP: Final = "takeback.families"
"""The entry point group in which packages register such files: each entry is an object that is its path."""

Stamp: TypeAlias = tuple[tuple[str, int, int], ...]
"""The files that there are, with what tells each from what it was before."""


def own_files() -> Stamp:
    """Return the files with a user's own families as they are now.

    Raises:
        TakebackError: one can't be read.
    """
    named = filter(None, os.environ.get(VARIABLE, "").split(os.pathsep))
    found: list[tuple[str, int, int]] = []
    for path in dict.fromkeys((*named, *_registered())):
        try:
            state = Path(path).stat()
        except (OSError, ValueError) as error:
            raise TakebackError(f"{path}, a file of families, can't be read: {error}") from error
        found.append((path, state.st_mtime_ns, state.st_size))
    return tuple(found)


@contextmanager
def own_families(paths: Iterable[str | Path]) -> Generator[None]:
    """Let some files of families count inside the block, here and in processes that are started there."""
    before = os.environ.get(VARIABLE)
    named = [str(Path(path).absolute()) for path in paths]
    with environment({VARIABLE: os.pathsep.join([*named, *([before] if before else [])])}):
        yield


@cache
def own_blocks(stamp: Stamp) -> Mapping[str, Mapping[str, Any]]:
    """Return the blocks in some files by name.

    Raises:
        TakebackError: a file can't be read or holds what is no block, or two have one of the same name.
    """
    blocks: dict[str, Mapping[str, Any]] = {}
    for path, *_ in stamp:
        try:
            held = tomllib.loads(read_text(path))
        except (TakebackError, OSError, ValueError, RecursionError) as error:
            raise TakebackError(f"{path}, a file of families, can't be read: {error}") from error
        for name, block in held.items():
            if not isinstance(block, dict):
                raise TakebackError(f"{path}: {name!r} stands outside a block; a family begins with [NAME]")
            if name in blocks:
                raise TakebackError(f"{path} has the family {name} again; call it otherwise")
            blocks[name] = block
    return blocks


@cache
def _registered() -> tuple[str, ...]:
    return tuple(str(load_own(entry.value, "file of families")) for entry in entry_points(group=GROUP))
