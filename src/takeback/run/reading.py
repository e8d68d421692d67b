"""Reading what others wrote: regular files of a bounded size, each failure told in one line."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import BinaryIO

from takeback.run.errors import TakebackError, near_by

MOST_BYTES = 1 << 26
"""Text from outside is this long at most, unless a reader expects more."""

MOST_DIGITS = 100
"""A whole number has this many digits at most, so that it is also a floating-point number."""

MOST_LEVELS = 100
"""Lists and mappings lie this deep in each other at most."""


class Unreadable(TakebackError):
    """A file or text that can't be read; `why` leaves out what it is, `line` counts from 1."""

    def __init__(self, told: str, why: str = "", line: int = 1) -> None:
        super().__init__(told)
        self.why, self.line = why or told, line


class Missing(Unreadable):
    """A file that is not there."""


def unreadable(source: object, why: object, form: str = "", line: int = 1) -> Unreadable:
    """Build the error for a source that is not of a form.

    >>> print(unreadable("plan.yaml", "it is empty", "YAML"))
    plan.yaml can't be read as YAML: it is empty
    """
    named, words = " ".join(str(source).splitlines()), " ".join(str(why).split())
    short = words if len(words) <= 300 else f"{words[:300]}…"
    return Unreadable(f"{named} can't be read{form and f' as {form}'}: {short}", short, line)


@contextmanager
def fields_of(source: object, form: str, todo: str = "restore it from a copy") -> Generator[None]:
    """Let what can't be read, and fields missing or of another kind, make their source unreadable as a form.

    >>> with fields_of("manifest.json", "a manifest"):
    ...     {}["seeds"]
    Traceback (most recent call last):
    takeback.run.reading.Unreadable: manifest.json can't be read as a manifest: it lacks 'seeds'; restore \
it from a copy
    """
    try:
        yield
    except Missing:
        raise
    except Unreadable as error:
        raise unreadable(source, f"{error.why}; {todo}", form, error.line) from None
    except TakebackError:
        raise
    except KeyError as error:
        raise unreadable(source, f"it lacks {error}; {todo}", form) from None
    except (IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise unreadable(source, f"{error}; {todo}", form) from None


@contextmanager
def open_regular(path: str | Path) -> Generator[BinaryIO]:
    """Open a file for reading, without waiting for what is no file: pipes, devices, sockets, folders.

    Raises:
        Missing: it is not there.
        Unreadable: it is no regular file, or may not be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        raise Missing(f"there is no file {path}{near_by(path)}") from None
    except (OSError, ValueError) as error:
        raise unreadable(path, getattr(error, "strerror", None) or error) from None
    with os.fdopen(handle, "rb") if _is_regular(handle) else _refused(path, handle) as file:
        yield file


def read_bytes(path: str | Path | Traversable, missing: str = "", most: int = MOST_BYTES) -> bytes:
    """Return what a regular file holds.

    Raises:
        Missing: it is not there, which `missing` may say.
        Unreadable: it is no regular file, has more than `most` bytes, or may not be read.
    """
    if not isinstance(path, str | os.PathLike):
        return path.read_bytes()  # a file of an installed package that is no folder
    try:
        with open_regular(Path(path)) as file:
            data = file.read(most + 1)
    except Missing as error:
        raise Missing(missing or str(error)) from None
    except OSError as error:
        raise unreadable(path, error.strerror or error) from None
    if len(data) > most:
        raise unreadable(path, f"it has more than {most:,} bytes")
    return data


def read_text(
    path: str | Path | Traversable, missing: str = "", most: int = MOST_BYTES, *, as_it_is: bool = False
) -> str:
    """Return the text of a regular file, line ends made one kind unless it is wanted as it is.

    Raises:
        Missing: it is not there, which `missing` may say.
        Unreadable: it is no regular file, has more than `most` bytes, is no UTF-8, or may not be read.
    """
    data = read_bytes(path, missing, most)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise unreadable(
            path, f"it is no UTF-8 (byte {error.start + 1:,}, line {line:,})", line=line
        ) from None
    return text if as_it_is else io.IncrementalNewlineDecoder(None, translate=True).decode(text, final=True)


def own_path(text: str) -> Path:
    """Return the path that a user writes, `~` expanded.

    Raises:
        TakebackError: there is no such user, or no file can have that name.

    >>> own_path("runs/demo").name
    'demo'
    """
    short = text if len(text) < 300 else f"{text[:60]}…"
    try:
        path = Path(text).expanduser()
        path.stat()
    except RuntimeError:
        raise TakebackError(
            f"there is no user {short.partition('/')[0][1:]!r} here, whose folder {short!r} would be in"
        ) from None
    except (FileNotFoundError, NotADirectoryError):
        return Path(text).expanduser()
    except (OSError, ValueError) as error:
        raise unreadable(short, getattr(error, "strerror", None) or error) from None
    return path


def _is_regular(handle: int) -> bool:
    return stat.S_ISREG(os.fstat(handle).st_mode)


@contextmanager
def _refused(path: str | Path, handle: int) -> Generator[BinaryIO]:
    """Refuse what is no regular file."""
    mode = os.fstat(handle).st_mode
    os.close(handle)
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFCHR: "a device"}
    raise unreadable(path, f"it is {kinds.get(stat.S_IFMT(mode), 'a special file')}, no regular file")
    yield io.BytesIO()
