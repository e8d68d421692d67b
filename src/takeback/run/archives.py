"""Zip archives that others wrote: named members of a bounded size, with errors in one line."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

from takeback.run.reading import open_regular, unreadable

MOST_UNPACKED = 1 << 28
"""An archive unpacks to this many bytes at most, or to as many as it has itself, if they are more."""

_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, EOFError),
    *(NotImplementedError, RuntimeError, OverflowError, UnicodeDecodeError),
)


def read_members(source: str | Path | bytes, wanted: Collection[str], name: object = "") -> dict[str, bytes]:
    """Return the members of a zip file, or of one in memory, that are wanted and there.

    Nothing is written. `name` is what errors call an archive in memory.

    Raises:
        Missing: there is no such file.
        Unreadable: it is no regular file or no whole zip, or unpacks to more than it may.
    """
    if isinstance(source, bytes):
        return _members(io.BytesIO(source), len(source), wanted, name)
    with open_regular(source) as file:
        size = file.seek(0, io.SEEK_END)
        return _members(file, size, wanted, name or source)


def _members(file: object, size: int, wanted: Collection[str], name: object) -> dict[str, bytes]:
    most = max(MOST_UNPACKED, size)
    try:
        with zipfile.ZipFile(file) as archive:  # pyright: ignore[reportArgumentType, reportCallIssue] any stream
            rows = archive.infolist()
            if min((row.header_offset for row in rows), default=0) > 0:
                raise EOFError("it ends within an inner zip")
            if sum(row.file_size for row in rows) > most:
                raise unreadable(name, f"it unpacks to more than {most:,} bytes", "a zip")
            found: dict[str, bytes] = {}
            for row in rows:
                if row.filename in wanted:
                    with archive.open(row) as member:
                        found[row.filename] = member.read(most + 1)
                if sum(map(len, found.values())) > most:
                    raise unreadable(name, f"it unpacks to more than {most:,} bytes", "a zip")
            return found
    except _BROKEN as error:
        raise unreadable(name, f"it is truncated or no zip ({error})", "a zip") from None
    except OSError as error:
        raise unreadable(name, error.strerror or error) from None
