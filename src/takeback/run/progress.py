"""Progress of long work, with an ETA; on standard error, so that results can be piped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

Report = Callable[[str, int, int], None]
"""Called by a job with the stage it is in, and how much of it is done of how much."""


SILENCE = 20.0
"""Seconds after which a line is printed where there are no bars."""

PATIENCE = 2.0
"""Seconds that work lasts before pieces of it show how far they are."""


@contextmanager
def no_library_bars() -> Generator[None]:
    """Switch off the bars that transformers draws for loading and saving, which tell a user nothing."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


_told: ContextVar[Report | None] = ContextVar("_told", default=None)


@contextmanager
def told_to(report: Report) -> Generator[None]:
    """Let every display inside the block report there and show nothing: one display for all of a run."""
    before = _told.set(report)
    try:
        yield
    finally:
        _told.reset(before)


_shown: ContextVar[Display | None] = ContextVar("_shown", default=None)


_piece: ContextVar[tuple[int, int, int, str] | None] = ContextVar("_piece", default=None)


def tell(stage: str, done: int, total: int) -> None:
    """Show how far a piece of work is that is done here, where one display shows that work and it lasts."""
    if (display := _shown.get()) is not None:
        if (piece := _piece.get()) is not None:
            before, size, whole, name = piece
            done, total, stage = before + size * done // total, whole, name or stage
        display.tell(stage, done, total)


@contextmanager
def piece_of(before: int, size: int, whole: int, stage: str = "") -> Generator[None]:
    """Let what is told inside the block be of `size` of the `whole`, after what was done `before`.

    With a stage it is told as that, whatever it calls itself.
    """
    outer = _piece.get()
    _piece.set((before, size, whole, stage))
    try:
        yield
    finally:
        _piece.set(outer)


class Display:
    """Shows what jobs do: bars with an ETA on a terminal, elsewhere a line when a job enters a stage."""

    def __init__(self, names: Sequence[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._names = tuple(names)
        self._pieces = False
        self._stages: dict[str, str] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._told = time.monotonic()
        self._start = time.monotonic()
        self._bars: Progress | None = None
        self._outer = _told.get()
        self._around: Display | None = None
        if self._outer is None and sys.stderr.isatty():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
            )
            clocks = (TimeElapsedColumn(), TimeRemainingColumn())
            self._bars = Progress(*columns, *clocks, console=Console(stderr=True))
            self._tasks = {name: self._bars.add_task(f"{name}: waiting", total=None) for name in names}

    def __enter__(self) -> Display:
        self._around = _shown.get()
        _shown.set(self)
        if self._bars and self._around is None:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        _shown.set(self._around)
        if self._bars:
            self._bars.stop()

    def reporter(self, name: str) -> Report:
        """Return a function that reports for one job."""
        return lambda stage, done, total: self.show(name, stage, done, total)

    def show(self, name: str, stage: str, done: int, total: int) -> None:
        """Show that a job is in a stage, and how far; inside the display of one job, in that."""
        if self._outer is not None:
            return self._outer(f"{name}, {stage}", done, total)
        if self._around is not None and len(self._around._names) == 1:
            return self._around.show(self._around._names[0], f"{name}, {stage}", done, total)
        fresh = self._stages.get(name) != stage
        self._stages[name] = stage
        if fresh:
            self._began[name] = (time.monotonic(), done)
        if self._bars:
            self._bars.start()
            task = self._tasks[name]
            if fresh:
                self._bars.reset(task, description=f"{name}: {stage}", total=total)
            self._bars.update(task, completed=done, total=total)
        elif fresh or (time.monotonic() - self._told > SILENCE and done):
            self._told = time.monotonic()
            self._line(f"{name}: {stage}{self._how_far(name, done, total)}")

    def tell(self, stage: str, done: int, total: int) -> None:
        """Show how far the one job is that this is of; see `tell`."""
        self._pieces = True
        if len(self._names) == 1 and time.monotonic() - self._start > PATIENCE:
            self.show(self._names[0], stage, done, total)

    def count(self, stage: str, done: int, total: int) -> None:
        """Show how many items of the one job are done, unless pieces of them tell more."""
        if not self._pieces:
            self.show(self._names[0], stage, done, total)

    def finish(self, name: str) -> None:
        """Show that a job is done."""
        if self._outer is not None or (self._around is not None and len(self._around._names) == 1):
            return
        if self._bars:
            self._bars.update(self._tasks[name], description=f"{name}: done")
            self._bars.stop_task(self._tasks[name])
        else:
            self._line(f"{name}: done")

    def _how_far(self, name: str, done: int, total: int) -> str:
        began, before = self._began[name]
        if total <= 1 or not done:
            return ""
        if done <= before:
            return f" {done}/{total}"
        left = (time.monotonic() - began) / (done - before) * (total - done)
        return f" {done}/{total}, about {left:.0f} s left"

    def _line(self, text: str) -> None:
        print(f"[{time.monotonic() - self._start:6.0f} s] {text}", file=sys.stderr, flush=True)
