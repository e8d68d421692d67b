"""Whether the cache can be written and read, and what in it is damaged."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from takeback.run.files import cache_home
from takeback.run.json_text import parse_json
from takeback.run.sealed import unseal


@dataclass(frozen=True)
class CacheHealth:
    """The cache's folder, whether it can be written, its size, and why each damaged file is."""

    folder: Path
    writable: bool
    files: int
    bytes: int
    damaged: Mapping[Path, str]

    @property
    def sound(self) -> bool:
        """Whether it can be written and nothing in it is damaged."""
        return self.writable and not self.damaged


def cache_health() -> CacheHealth:
    """Read every file of the cache, and write nothing.

    What is damaged may be removed: everything in the cache is made again when it is asked for.
    """
    home = cache_home()
    files = sorted(_files(home))
    damaged = {path: why for path in files if (why := _damage(path))}
    size = sum(path.stat().st_size for path in files)
    return CacheHealth(home, _writable(home), len(files), size, damaged)


def _files(home: Path) -> Iterator[Path]:
    """Give what is kept; a name that begins with a dot is of a lock or of work that goes on."""
    for path in home.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            yield path


def _writable(folder: Path) -> bool:
    """Return whether a folder can be written to, or be made where it is not there."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _damage(path: Path) -> str:
    """Return what is wrong with a file of the cache, an empty text if nothing is."""
    try:
        return _CHECKS.get(path.suffix, _any)(path)
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
        return " ".join(str(error).split()) or type(error).__name__


def _any(path: Path) -> str:
    with path.open("rb") as file:
        return "" if file.read(1) else "it is empty"


def _arrays(path: Path) -> str:
    with zipfile.ZipFile(path) as file:
        bad = file.testzip()
    return f"{bad} has another checksum than it was written with" if bad else ""


def _tensors(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            return "it ends within its header"
        header = parse_json(file.read(length), path)
    if not isinstance(header, dict):
        return "its header is no table"
    ends = [one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"]
    whole = 8 + length + max(ends, default=0)
    return "" if size == whole else f"it has {size:,} bytes of {whole:,}"


def _code(path: Path) -> str:
    return "" if unseal(path.read_bytes()) is not None else "it has another checksum than it was written with"


_CHECKS: Final[Mapping[str, Callable[[Path], str]]] = {
    ".npz": _arrays,
    ".safetensors": _tensors,
    ".code": _code,
}
