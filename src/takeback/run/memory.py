"""How much memory a process may use: that of the machine, or what its control group leaves it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_GROUPS = Path("/sys/fs/cgroup")
"""Where Linux tells the limits of control groups."""


def usable_memory() -> int | None:
    """Return how many bytes of memory this process may use, None where the system does not tell.

    It is a property of the machine and the limits set on the process (as in a container or a job of a
    cluster), not of what is free at the moment, so that it is the same each time.

    >>> usable_memory() is None or usable_memory() > 2**20
    True
    """
    limits = [*_machine(), *_groups(Path("/proc/self/cgroup"), _GROUPS)]
    return min(limits, default=None)


def _machine() -> Iterator[int]:
    names = os.sysconf_names if hasattr(os, "sysconf_names") else {}
    if "SC_PHYS_PAGES" in names:
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _groups(told: Path, root: Path) -> Iterator[int]:
    """Yield the limits of the control groups that a process is in, of both versions.

    A line is `number:controllers:path`; version 2 has the number 0 and all controllers.
    """
    try:
        lines = told.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for number, controllers, path in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if number == "0":
            folder, file = root, "memory.max"
        elif "memory" in controllers.split(","):
            folder, file = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        inside = PurePosixPath(path.lstrip("/"))
        for group in (inside, *inside.parents):
            try:
                yield int((folder / group / file).read_text(encoding="utf-8"))
            except (OSError, ValueError):  # a machine's root has no such file; `max` is no limit
                continue
