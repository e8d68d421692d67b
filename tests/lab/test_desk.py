"""The desk alone, with a lab that does nothing quickly: whose turn it is, and what is dropped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from takeback.lab.desk import Desk
from takeback.lab.lab import Seat
from takeback.run.errors import TakebackError


class Slow:
    """A lab whose work goes on when it is let."""

    def __init__(self) -> None:
        self.go, self.seats, self.closed = threading.Semaphore(0), 0, list[Any]()
        self.thoughts = 0

    def seat(self) -> Seat:
        self.seats += 1
        return Seat(f"seat {self.seats}")

    def answers(self, seat: Seat, message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        if message["type"] == "fail":
            raise TakebackError("it\nfails")
        if message["type"] == "break":
            raise ZeroDivisionError("by zero")
        try:
            for step in range(message.get("steps", 1)):
                self.go.acquire()
                yield {"type": "step", "step": step}
        finally:
            self.closed.append(message.get("id"))

    def idle(self, seats: Any) -> bool:
        return self.thoughts == 0

    def think(self, seats: Any, waited: Any) -> Iterator[tuple[Seat, dict[str, Any]]]:
        self.thoughts -= 1
        yield from ((seat, {"type": "thought"}) for seat in seats)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def open_desk() -> tuple[Slow, Desk]:
    lab = Slow()
    return lab, Desk(lab)  # type: ignore[arg-type]


def test_a_newer_selection_ends_an_older_one_between_two_steps() -> None:
    lab, desk = open_desk()
    told: list[dict[str, Any]] = []
    tab = desk.enter(told.append)
    desk.ask(tab, {"type": "select", "id": 1, "steps": 9})
    lab.go.release()
    until(lambda: len(told) == 1)
    desk.ask(tab, {"type": "select", "id": 2, "steps": 1})
    desk.ask(tab, {"type": "select", "id": 3, "steps": 1})
    for _ in range(3):
        lab.go.release()
    until(lambda: told[-1].get("type") == "done")
    assert [one["id"] for one in told] == [1, 3, 3]
    assert lab.closed == [1, 3]  # the second one never began
    desk.close()


def test_pages_take_turns() -> None:
    lab, desk = open_desk()
    order: list[str] = []
    one, other = (desk.enter(lambda _, name=name: order.append(name)) for name in ("one", "other"))
    desk.ask(one, {"type": "select", "id": 1, "steps": 3})
    desk.ask(other, {"type": "select", "id": 1, "steps": 3})
    for _ in range(6):
        lab.go.release()
    until(lambda: len(order) == 8)
    assert order[1:5] in (["other", "one", "other", "one"], ["one", "other", "one", "other"])
    desk.close()


def test_a_page_that_left_costs_no_more_than_a_step() -> None:
    lab, desk = open_desk()
    told: list[Any] = []
    tab = desk.enter(told.append)
    desk.ask(tab, {"type": "select", "id": 1, "steps": 1000})
    desk.leave(tab)
    lab.go.release()
    until(lambda: lab.closed == [1] or not told)
    assert told == []
    desk.close()


def test_failures_are_told_and_the_desk_goes_on(capsys) -> None:
    lab, desk = open_desk()
    told: list[dict[str, Any]] = []
    tab = desk.enter(told.append)
    desk.ask(tab, {"type": "fail", "id": 1})
    desk.ask(tab, {"type": "break", "id": 2})
    desk.ask(tab, {"type": "type", "id": 3})
    lab.go.release()
    until(lambda: len(told) == 4)
    assert [one["type"] for one in told] == ["refused", "refused", "step", "done"]
    assert told[0]["message"] == "it fails"
    assert "ZeroDivisionError" in capsys.readouterr().err
    desk.close()


def test_thinking_waits_for_a_quiet_moment() -> None:
    lab, desk = open_desk()
    lab.thoughts = 1
    told: list[dict[str, Any]] = []
    tab = desk.enter(told.append)
    desk.ask(tab, {"type": "select", "id": 1, "steps": 1})
    lab.go.release()
    until(lambda: len(told) == 3)
    assert [one["type"] for one in told] == ["step", "done", "thought"]
    desk.close()


def test_a_thought_ends_when_a_page_asks() -> None:
    lab, desk = open_desk()
    thinking, heard = threading.Event(), list[bool]()

    def think(seats: Any, waited: Callable[[], bool]) -> Iterator[Any]:
        lab.thoughts = 0
        thinking.set()
        heard.append(waited())
        until(waited)
        heard.append(waited())
        yield from ()

    lab.thoughts, lab.think = 1, think  # type: ignore[method-assign]
    told: list[dict[str, Any]] = []
    tab = desk.enter(told.append)
    for number in (1, 2):
        desk.ask(tab, {"type": "select", "id": number, "steps": 1})
        lab.go.release()
        until(lambda number=number: len(told) == 2 * number)
        assert thinking.wait(30)
    assert heard == [False, True]
    desk.close()


def test_a_desk_that_is_closed_reads_no_more() -> None:
    lab, desk = open_desk()
    told: list[dict[str, Any]] = []
    tab = desk.enter(told.append)
    desk.ask(tab, {"type": "select", "id": 1, "steps": 2})
    closing = threading.Thread(target=desk.close)
    until(lambda: tab.work is not None)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive(), "a step is being made"
    lab.go.release()
    closing.join(30)
    assert not closing.is_alive()
    assert len(told) == 1
