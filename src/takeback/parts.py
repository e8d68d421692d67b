"""Work cut into items that stand alone: run here, by local processes, or one shard in each job of an array.

Which items make a part depends on the items alone, and a part's rows on its items alone: the merged table is
the same, whatever ran it and however often it was killed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from takeback.errors import TakebackError
from takeback.files import atomic_file
from takeback.jobs import Job, run_jobs
from takeback.progress import Report
from takeback.tables import read_table, write_table

MOST_PARTS = 64
"""Parts that work is cut into at most: enough to share out, few enough to merge at once."""


class Work(Protocol):
    """Work that gives a table, item by item; it can be sent to another process."""

    @property
    def name(self) -> str:
        """The name of its parts and its progress bar, such as `spectra`."""
        ...

    @property
    def identity(self) -> str:
        """What its rows depend on besides the code: parts under another identity are not merged."""
        ...

    def items(self) -> Sequence[str]:
        """Return its items in the order of the table."""
        ...

    def rows(self, item: str) -> pd.DataFrame:
        """Return the rows of one item; nothing but the identity and the item may change them."""
        ...


@dataclass(frozen=True, slots=True)
class Shard:
    """The share of the parts that one job of an array works on: number `index` (from 1) of `count`.

    >>> Shard.parse("2/3")
    Shard(index=2, count=3)
    >>> Shard.parse("2/3").mine(range(8))
    [1, 4, 7]
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `i/n`.

        Raises:
            TakebackError: it is not of this form, or i is not among 1 to n.
        """
        found = re.fullmatch(r"([0-9]+)/([0-9]+)", text.strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise TakebackError(f"a shard is i/n with i from 1 to n, such as 1/8, not {text!r}")
        return cls(int(found[1]), int(found[2]))

    def mine(self, parts: Sequence[int]) -> list[int]:
        """Return this job's share."""
        return list(parts[self.index - 1 :: self.count])


def collect(
    work: Work, out: str | Path | None = None, workers: int = 1, threads: int | None = None
) -> pd.DataFrame:
    """Do all the work and return its table, the rows in the order of the items.

    With `out`, finished parts are kept in that folder until `discard_parts`, and those found there are not
    done again; `workers` local processes share the rest, with so many CPU `threads` each.

    Raises:
        TakebackError: several workers without `out`, parts of other work in `out`, or a part fails.
    """
    if out is None:
        if workers > 1:
            raise TakebackError("several workers need a folder that keeps their parts; name one (--out)")
        return _joined([work.rows(item) for item in work.items()])
    parts = _Parts.open(work, Path(out))
    parts.do(range(len(parts.groups)), workers, threads)
    return _joined([read_table(parts.file(number)) for number in range(len(parts.groups))])


def collect_shard(
    work: Work, out: str | Path, shard: Shard, workers: int = 1, threads: int | None = None
) -> None:
    """Do one shard's share of the parts; `collect` with the same `out` then merges them.

    Raises:
        TakebackError: there are parts of other work in `out`, or a part fails.
    """
    parts = _Parts.open(work, Path(out))
    parts.do(shard.mine(range(len(parts.groups))), workers, threads)


def discard_parts(out: str | Path) -> None:
    """Remove the parts in a folder, once the tables made of them are written."""
    shutil.rmtree(Path(out) / ".parts", ignore_errors=True)


@dataclass(frozen=True)
class _Parts:
    work: Work
    folder: Path
    groups: tuple[tuple[str, ...], ...]

    @classmethod
    def open(cls, work: Work, out: Path) -> _Parts:
        folder = out / ".parts" / work.name
        items = tuple(work.items())
        claim = json.dumps({"identity": work.identity, "items": len(items)}, indent=1)
        path = folder / "work.json"
        if not path.exists():
            with atomic_file(path) as draft:
                draft.write_text(claim, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != claim:
            raise TakebackError(
                f"{folder} holds parts of another comparison; remove it or choose another --out"
            )
        size = -(-len(items) // MOST_PARTS) or 1
        return cls(work, folder, tuple(items[start : start + size] for start in range(0, len(items), size)))

    def file(self, number: int) -> Path:
        return self.folder / f"{number:04}.parquet"

    def do(self, numbers: Sequence[int], workers: int, threads: int | None) -> None:
        missing = [number for number in numbers if not self.file(number).exists()]
        jobs = [
            Job(str(number), _do_part, (self.work, self.groups[number], self.file(number)), threads)
            for number in missing
        ]
        if jobs:
            run_jobs(jobs, min(workers, len(jobs)), title=self.work.name)


def _do_part(work: Work, items: tuple[str, ...], file: Path, _: Report) -> None:
    """Write one part; under a name of its own first, as two jobs may be at the same part."""
    draft = file.with_name(f".{uuid.uuid4().hex}.parquet")
    try:
        write_table(_joined([work.rows(item) for item in items]), draft)
        os.replace(draft, file)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join tables of the same columns; those without rows would spoil the types of the others."""
    full = [table for table in tables if len(table)] or list(tables[:1])
    return pd.concat(full, ignore_index=True) if full else pd.DataFrame()
