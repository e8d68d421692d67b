"""Work cut into items that stand alone: run here, by processes or actors, or a shard in each job of an array.

Which items make a part depends on the items alone, and a part's rows on its items alone: the merged table is
the same, whatever ran it and however often it was killed. Workers hand tables over and the process that
started them writes the parts, since the nodes of a cluster need not share a disk.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import pandas as pd

from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file, missing_folders, remove_empty
from takeback.run.jobs import Count, Job, Workers, run_jobs
from takeback.run.progress import PATIENCE, Display, Report
from takeback.run.reading import read_text
from takeback.run.tables import read_table, write_table
from takeback.run.threads import cpu_threads

Item = TypeVar("Item")

MOST_PARTS = 64
"""Parts that work is cut into at most: enough to share out, few enough to merge at once."""


class Itemised(Protocol):
    """Work that is cut into items; it can be sent to another process."""

    @property
    def name(self) -> str:
        """The name of its parts and its progress bar, such as `spectra`."""
        ...

    @property
    def identity(self) -> str:
        """What its rows depend on, by `identity`: parts under another one are not merged."""
        ...

    def items(self) -> Sequence[str]:
        """Return its items in the order of the table."""
        ...


class Work(Itemised, Protocol):
    """Work that gives one table, item by item."""

    def rows(self, item: str) -> pd.DataFrame:
        """Return the rows of one item; nothing but the identity and the item may change them."""
        ...


class WorkOnTables(Itemised, Protocol):
    """Work that gives several tables at once, item by item."""

    @property
    def table_names(self) -> tuple[str, ...]:
        """The names of its tables."""
        ...

    def tables(self, item: str) -> Mapping[str, pd.DataFrame]:
        """Return an item's rows in each table; nothing but the identity and the item may change them."""
        ...


@dataclass(frozen=True)
class _OnOneTable:
    """Work on one table as work on several."""

    work: Work
    table_names: tuple[str, ...] = ("rows",)

    @property
    def name(self) -> str:
        return self.work.name

    @property
    def identity(self) -> str:
        return self.work.identity

    def items(self) -> Sequence[str]:
        return self.work.items()

    def tables(self, item: str) -> Mapping[str, pd.DataFrame]:
        return {"rows": self.work.rows(item)}


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
    work: Work, out: str | Path | None = None, workers: Workers = 1, threads: int | None = None
) -> pd.DataFrame:
    """Do all the work and return its table, the rows in the order of the items.

    With `out`, finished parts are kept in that folder until `discard_parts`, and those found there are not
    done again; `workers` share the rest, with so many CPU `threads` each.

    Raises:
        TakebackError: several workers without `out`, parts of other work in `out`, or a part fails.
    """
    if out is None:
        if workers != 1:
            raise TakebackError("several workers need a folder that keeps their parts; name one (--out)")
        with cpu_threads(threads):
            return _joined([work.rows(item) for item in watched(work.name, work.items())])
    return collect_tables(_OnOneTable(work), out, workers, threads)["rows"]


def collect_tables(
    work: WorkOnTables,
    out: str | Path,
    workers: Workers = 1,
    threads: int | None = None,
    count: Count | None = None,
) -> dict[str, pd.DataFrame]:
    """Do all the work and return its tables by name; otherwise like `collect`, with parts kept in `out`.

    With `count`, that is told how many parts are done of how many, in place of a progress bar.

    Raises:
        TakebackError: parts of other work in `out`, or a part fails.
    """
    parts = _Parts.open(work, Path(out))
    numbers = range(len(parts.groups))
    parts.do(numbers, workers, threads, count)
    files = [parts.files(number) for number in numbers]
    return {name: _joined([read_table(file[name]) for file in files]) for name in work.table_names}


def collect_shard(
    work: Work, out: str | Path, shard: Shard, workers: Workers = 1, threads: int | None = None
) -> None:
    """Do one shard's share of the parts; `collect` with the same `out` then merges them.

    Raises:
        TakebackError: there are parts of other work in `out`, or a part fails.
    """
    collect_shard_of_tables(_OnOneTable(work), out, shard, workers, threads)


def collect_shard_of_tables(
    work: WorkOnTables,
    out: str | Path,
    shard: Shard,
    workers: Workers = 1,
    threads: int | None = None,
    count: Count | None = None,
) -> None:
    """Do one shard's share of the parts; `collect_tables` with the same `out` then merges them.

    Raises:
        TakebackError: there are parts of other work in `out`, or a part fails.
    """
    parts = _Parts.open(work, Path(out))
    parts.do(shard.mine(range(len(parts.groups))), workers, threads, count)


def unfinished(work: Itemised, out: str | Path | None = None, shard: Shard | None = None) -> list[str]:
    """Return the items of work on one table that are in no finished part in `out`; nothing is written there.

    With a shard, those of its share.
    """
    items = tuple(work.items())
    groups = _groups(items)
    folder = None if out is None else Path(out) / ".parts" / work.name
    if folder is not None and not (folder / "work.json").is_file():
        folder = None
    numbers = range(len(groups)) if shard is None else shard.mine(range(len(groups)))
    return [
        item
        for number in numbers
        if folder is None or not (folder / f"{number:04}.rows.parquet").is_file()
        for item in groups[number]
    ]


def _groups(items: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Cut items into parts."""
    size = -(-len(items) // MOST_PARTS) or 1
    return tuple(items[start : start + size] for start in range(0, len(items), size))


def discard_parts(out: str | Path) -> None:
    """Remove the parts in a folder, once the tables made of them are written."""
    shutil.rmtree(Path(out) / ".parts", ignore_errors=True)


@dataclass(frozen=True)
class _Parts:
    work: WorkOnTables
    folder: Path
    groups: tuple[tuple[str, ...], ...]
    made: tuple[Path, ...]

    @classmethod
    def open(cls, work: WorkOnTables, out: Path) -> _Parts:
        folder = out / ".parts" / work.name
        made = missing_folders(folder)
        items = tuple(work.items())
        claim = json.dumps({"identity": work.identity, "items": len(items)}, indent=1)
        path = folder / "work.json"
        if not path.exists():
            with atomic_file(path) as draft:
                draft.write_text(claim, encoding="utf-8")
        elif read_text(path) != claim:
            raise TakebackError(
                f"{folder} holds parts of another comparison, or of other settings, rewards or versions; "
                "remove it or choose another --out"
            )
        return cls(work, folder, _groups(items), tuple(made))

    def files(self, number: int) -> dict[str, Path]:
        """Return the files of one part by table; the part is done when all are there."""
        return {name: self.folder / f"{number:04}.{name}.parquet" for name in self.work.table_names}

    def do(
        self, numbers: Sequence[int], workers: Workers, threads: int | None, count: Count | None = None
    ) -> None:
        missing = [n for n in numbers if not all(file.exists() for file in self.files(n).values())]
        call = _tables if workers == 1 else _tables_in_worker
        jobs = [Job(str(number), call, (self.work, self.groups[number]), threads) for number in missing]
        found = len(numbers) - len(missing)
        told = (lambda done, _: count(found + done, len(numbers))) if count else None
        try:
            if jobs:
                run_jobs(jobs, workers, self.work.name, told, self._keep)
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        """Remove the folder, if it was made here and no part was finished."""
        with suppress(OSError):
            if self.folder in self.made and not any(self.folder.glob("*.parquet")):
                (self.folder / "work.json").unlink()
                remove_empty(self.made)

    def _keep(self, job: Job, tables: Mapping[str, pd.DataFrame]) -> None:
        """Write one part; another shard may be at the same one."""
        for name, file in self.files(int(job.name)).items():
            write_table(tables[name], file)


def watched(name: str, items: Sequence[Item], shown: bool = True) -> Iterator[Item]:
    """Yield the items of work that is done here, and show how far it is when that lasts, unless told not."""
    began = time.monotonic()
    with Display([name]) if shown else nullcontext() as display:
        for done, item in enumerate(items):
            if display is not None and done and time.monotonic() - began > PATIENCE:
                display.count("items done", done, len(items))
            yield item


def _tables(work: WorkOnTables, items: tuple[str, ...], _: Report) -> dict[str, pd.DataFrame]:
    """Return the tables of one part."""
    done = [work.tables(item) for item in items]
    return {name: _joined([tables[name] for tables in done]) for name in work.table_names}


_HELD: dict[tuple[str, str], WorkOnTables] = {}
"""The work that this process did a part of last, with what it loaded to do it."""


def _tables_in_worker(work: WorkOnTables, items: tuple[str, ...], report: Report) -> dict[str, pd.DataFrame]:
    """Return the tables of one part in a process that does several: each of them sends the work anew."""
    key = (work.name, work.identity)
    if key not in _HELD:
        _HELD.clear()
        _HELD[key] = work
    return _tables(_HELD[key], items, report)


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join tables of the same columns; those without rows would spoil the types of the others."""
    full = [table for table in tables if len(table)] or list(tables[:1])
    return pd.concat(full, ignore_index=True) if full else pd.DataFrame()
