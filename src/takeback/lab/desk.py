"""The desk: one thread works for all pages by turns, and drops what a page no longer waits for."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from takeback.lab.lab import ENDING, Lab, Seat
from takeback.lab.stage import Message
from takeback.run.errors import TakebackError

REST: Final = 0.5
"""Seconds without work after which there is time to think: the next click may be near."""

LEAVING: Final = 5.0
"""Seconds that closing waits for the thread, at most; what it does at once takes less."""

QUEUED: Final = 32
"""Messages of a page that wait, at most."""


@dataclass(eq=False)
class Reply:
    """What answers one message."""

    asked: Mapping[str, Any]
    answers: Generator[Message]


@dataclass(eq=False)
class Tab:
    """A page that is open: what it asked and has not been told, and how it is told.

    Attributes:
        send: gives the page a message; called by the desk's thread.
        seat: what the lab knows of it.
        waiting: messages that nobody looked at.
        work: what is being answered.
    """

    send: Callable[[Message], None]
    seat: Seat
    waiting: deque[Mapping[str, Any]] = field(default_factory=deque[Mapping[str, Any]])
    work: Reply | None = None

    @property
    def busy(self) -> bool:
        """Whether it waits for something."""
        return self.work is not None or bool(self.waiting)


class Desk:
    """Answers pages in a thread of its own."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._tabs: deque[Tab] = deque()
        self._news = threading.Condition()
        self._closed, self._busy_until = False, 0.0
        self._thread = threading.Thread(target=self._run, name="lab", daemon=True)
        self._thread.start()

    def crowded(self, most: int) -> bool:
        """Tell whether so many pages are open."""
        with self._news:
            return len(self._tabs) >= most

    def enter(self, send: Callable[[Message], None]) -> Tab:
        """Let a page in."""
        tab = Tab(send, self.lab.seat())
        with self._news:
            self._tabs.append(tab)
        return tab

    def leave(self, tab: Tab) -> None:
        """Forget a page; what runs for it stops before its next message."""
        with self._news:
            self._tabs = deque(one for one in self._tabs if one is not tab)

    def ask(self, tab: Tab, message: Mapping[str, Any]) -> None:
        """Take a message of a page; one that ends others leaves nothing of them."""
        with self._news:
            if message.get("type") in ENDING:
                stopped = tab.work
                tab.work = None
                tab.waiting = deque(one for one in tab.waiting if one.get("type") not in ENDING)
                if stopped is not None and message.get("type") == "stop":
                    tab.send({"type": "done", "id": stopped.asked.get("id"), "stopped": True})
            if len(tab.waiting) >= QUEUED:
                tab.waiting.popleft()
            tab.waiting.append(message)
            self._news.notify()

    def close(self) -> None:
        """Let the thread end after what it does now, and wait for it: nobody else may read meanwhile."""
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join(LEAVING)

    def _run(self) -> None:
        while (turn := self._turn()) is not None:
            tab, work = turn
            if work is None:
                self._think()
            else:
                self._go_on(tab, work)
                self._busy_until = time.monotonic()

    def _turn(self) -> tuple[Tab, Reply | None] | None:
        """Wait for something to do, and return whose turn it is; without work there is time to think."""
        with self._news:
            while not self._closed:
                busy = next((tab for tab in self._tabs if tab.busy), None)
                if busy is not None:
                    self._tabs.remove(busy)
                    self._tabs.append(busy)
                    if busy.work is None:
                        asked = busy.waiting.popleft()
                        busy.work = Reply(asked, self.lab.answers(busy.seat, asked))
                    return busy, busy.work
                rest = None
                if self._tabs and not self.lab.idle([tab.seat for tab in self._tabs]):
                    rest = self._busy_until + REST - time.monotonic()
                    if rest <= 0:
                        return self._tabs[0], None
                self._news.wait(rest)
        return None

    def _go_on(self, tab: Tab, work: Reply) -> None:
        """Do some of a page's work and tell what came of it, unless the page asks for something else now."""
        told: Message
        done = False
        try:
            told = next(work.answers)
        except StopIteration:
            told, done = {"type": "done", "stopped": False}, True
        except TakebackError as error:
            told, done = {"type": "refused", "message": " ".join(str(error).splitlines())}, True
        except Exception as error:  # whatever a model or a user's function does, the lab goes on
            traceback.print_exc()
            told, done = {"type": "refused", "message": f"{type(error).__name__}: {error}"[:500]}, True
        with self._news:
            if tab.work is not work or tab not in self._tabs:
                work.answers.close()
                return
            if done:
                tab.work = None
            tab.send({**told, "id": work.asked.get("id")})

    def _waited(self) -> bool:
        """Tell whether a page waits, or the desk is to end."""
        with self._news:
            return self._closed or any(tab.busy for tab in self._tabs)

    def _think(self) -> None:
        try:
            with self._news:
                tabs = list(self._tabs)
            by_seat = {id(tab.seat): tab for tab in tabs}
            for seat, told in self.lab.think([tab.seat for tab in tabs], self._waited):
                by_seat[id(seat)].send(told)
        except Exception:
            traceback.print_exc()
