"""The lab: from what a page says to what it is told."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from takeback.lab.drawing import draw, typed
from takeback.lab.selection import text_of
from takeback.lab.stage import Message, Stage
from takeback.lab.thoughts import Thought, Waited, nobody
from takeback.lab.views import View
from takeback.run.errors import TakebackError, unknown_name

OPEN: Final = 2
"""Stages that are held open: each has models in memory."""

ENDING: Final = frozenset({"select", "draw", "sweep", "stop", "open"})
"""Messages that end what runs for a page."""


@dataclass(eq=False)
class Seat:
    """What the lab knows of one page: the view it looks at, and what it selected last."""

    view: str
    selected: Mapping[str, Any] | None = None


class Lab:
    """Shows views to pages; all of it runs in one thread.

    Attributes:
        views: what there is to look at; pages begin with the first.
        course: how measures went over training, by arm and seed.
    """

    def __init__(self, views: Sequence[View], course: Sequence[Mapping[str, Any]] = ()) -> None:
        self.views, self.course = {one.key: one for one in views}, list(course)
        self._open: OrderedDict[str, Stage] = OrderedDict()
        self._answers: Mapping[str, Callable[[Seat, Mapping[str, Any]], Iterator[Message]]] = {
            "hello": self._hello,
            "open": self._show,
            "select": self._select,
            "type": self._type,
            "draw": self._draw,
            "sweep": self._sweep,
            "stop": lambda *_: iter(()),
        }

    def seat(self) -> Seat:
        """Return the seat of a new page."""
        return Seat(next(iter(self.views)))

    def stage(self, key: str) -> Stage:
        """Return the stage of a view, which stays open until others were looked at.

        Raises:
            UnknownName: there is no such view.
            TakebackError: it can't be opened.
        """
        if key not in self.views:
            raise unknown_name("view", key, self.views)
        if key not in self._open:
            while len(self._open) >= OPEN:
                self._open.popitem(last=False)
            self._open[key] = self.views[key].open()
        self._open.move_to_end(key)
        return self._open[key]

    def answers(self, seat: Seat, message: Mapping[str, Any]) -> Generator[Message]:
        """Answer a message of a page, in as many messages as it takes; each is some work of a moment.

        Raises:
            TakebackError: nothing can be answered.
        """
        kind = text_of(message, "type")
        if kind not in self._answers:
            raise unknown_name("message", kind, self._answers)
        yield from self._answers[kind](seat, message)

    def think(self, seats: Sequence[Seat], waited: Waited = nobody) -> Iterator[tuple[Seat, Message]]:
        """Estimate some more until a page waits; once all is estimated pages are told."""
        for key in dict.fromkeys(seat.view for seat in seats):
            stage = self._open.get(key)
            thought = next((one for one in stage.thoughts if not one.finished), None) if stage else None
            if stage is None or thought is None:
                continue
            thought.go_on(waited)
            if thought.finished:
                for seat in (one for one in seats if one.view == key):
                    yield from ((seat, told) for told in _thought(stage, thought, seat))
            return

    def idle(self, seats: Sequence[Seat]) -> bool:
        """Tell whether there is nothing to think about."""
        stages = [self._open[one.view] for one in seats if one.view in self._open]
        return all(thought.finished for one in stages for thought in one.thoughts)

    def scene(self, key: str) -> Message:
        """Return the scene of a view."""
        view, views = self.views.get(key), [one.told for one in self.views.values()]
        course = [one for one in self.course if view and (one["arm"], one["seed"]) == (view.arm, view.seed)]
        about = {"views": views, "view": key, "course": course}
        return {**self.stage(key).scene(), **self.views[key].names, **about}

    def _hello(self, seat: Seat, _: Mapping[str, Any]) -> Generator[Message]:
        yield {"type": "scene", "scene": self.scene(seat.view)}

    def _show(self, seat: Seat, message: Mapping[str, Any]) -> Generator[Message]:
        key = text_of(message, "view")
        scene = self.scene(key)
        seat.view, seat.selected = key, None
        yield {"type": "scene", "scene": scene}

    def _select(self, seat: Seat, message: Mapping[str, Any]) -> Generator[Message]:
        stage = self.stage(seat.view)
        stage.selection(message)
        seat.selected = message
        yield from stage.select(message)

    def _type(self, seat: Seat, message: Mapping[str, Any]) -> Generator[Message]:
        yield from typed(self._live(seat), text_of(message, "text"), message.get("situation"))

    def _draw(self, seat: Seat, message: Mapping[str, Any]) -> Generator[Message]:
        yield from draw(self._live(seat), message)

    def _sweep(self, seat: Seat, _: Mapping[str, Any]) -> Generator[Message]:
        yield from self._live(seat).sweep()

    def _live(self, seat: Seat) -> Stage:
        stage = self.stage(seat.view)
        if not stage.live:
            raise TakebackError("a record reads nothing new; takeback lab RUN --live does")
        return stage


def _thought(stage: Stage, thought: Thought, seat: Seat) -> Iterator[Message]:
    """Tell a page what was worked out, and what that says of what it selected."""
    for one in thought.colourings():
        yield {"type": "colouring", "colouring": one.told(stage.bench.anatomy)}
    if thought is stage.estimates and seat.selected is not None:
        told = stage.estimated(stage.selection(seat.selected))
        if told is not None:
            yield {**told, "id": seat.selected.get("id")}
