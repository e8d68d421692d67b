"""A job, what it may run on, and which of several may begin."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from takeback.run.progress import Report
from takeback.run.threads import cpu_threads


@dataclass(frozen=True, slots=True)
class OnRay:
    """So many actors on the Ray cluster at an address; without one, of `$RAY_ADDRESS` or started here."""

    actors: int
    address: str | None = None


Workers: TypeAlias = int | OnRay
"""What jobs run on: one worker is this process, several are local processes."""


@dataclass(frozen=True)
class Job:
    """A call that takes a `Report` as its last argument; function and arguments can be sent to a process."""

    name: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    threads: int | None = None
    """CPU threads that torch uses for it."""
    after: tuple[str, ...] = ()
    """Names of jobs that must have ended before, which come earlier in the list."""

    def run(self, report: Report) -> Any:
        """Run it here and return what it returns."""
        with cpu_threads(self.threads):
            return self.call(*self.arguments, report)


class Waiting:
    """Jobs that have not begun, and which of them may: the first that waits for none that has not ended.

    >>> jobs = Waiting([Job("a", print, ()), Job("b", print, (), after=("a",)), Job("c", print, ())])
    >>> [jobs.next().name for _ in range(2)], jobs.next() is None
    (['a', 'c'], True)
    >>> jobs.end("a")
    >>> jobs.next().name
    'b'
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._left, self._open = list(jobs), {job.name for job in jobs}

    def next(self) -> Job | None:
        """Give out a job that may begin, None where there is none now."""
        free = (place for place, job in enumerate(self._left) if self._open.isdisjoint(job.after))
        place = next(free, None)
        return None if place is None else self._left.pop(place)

    def end(self, name: str) -> None:
        """Note that a job has ended."""
        self._open.discard(name)


Finished: TypeAlias = Generator[tuple[Job, Any]]
"""Jobs as they end, each with what it returned; closing it stops those that run."""


def silent(stage: str, done: int, total: int) -> None:
    """Report to nobody."""
