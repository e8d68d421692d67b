"""Predictions about people and projects: a file to which events are added and never changed.

Each event carries a seal: the end of the seal before it, and a hash of that and of its own fields. So what
was changed, removed or moved later shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from takeback.planning.checkin.front import at
from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file, one_writer
from takeback.run.reading import Unreadable, read_text
from takeback.run.yaml_text import as_yaml, parse_yaml, yaml_nodes
from takeback.study.conjectures.conjecture import slug

Words = Annotated[str, Field(min_length=1)]

KINDS: Final = ("feedback", "project")
"""What a prediction is of: what a person will say, or what will become of a project."""

FIRST: Final = "0" * 16
"""What the first seal comes after."""

_LENGTH: Final = len(FIRST)


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, str_strip_whitespace=True)

    name: Words
    seal: str = ""
    """Empty where somebody wrote the event by hand."""

    def sealed(self, after: str) -> str:
        """Return the seal that the event has after another's."""
        before = after.rpartition("-")[2][:_LENGTH] or FIRST
        return f"{before}-{self._digest(before)}"

    @property
    def holds(self) -> bool:
        """Whether its fields are those that were sealed."""
        before, _, digest = self.seal.partition("-")
        return digest == self._digest(before)

    def follows(self, after: str) -> bool:
        """Whether it was sealed after the event with this seal."""
        return self.seal.partition("-")[0] == (after.rpartition("-")[2][:_LENGTH] or FIRST)

    def _digest(self, before: str) -> str:
        fields = self.model_dump(mode="json", exclude={"seal"})
        text = json.dumps([before, fields], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


class Predicted(_Event):
    """Somebody predicted something about somebody, or about a project.

    >>> told = {"statement": "He asks for controls.", "about": "Bob", "by": "Ada", "probability": 0.7}
    >>> Predicted.model_validate({**told, "predicted": "2026-01-05"}).name
    'he-asks-for-controls'
    """

    predicted: date
    """The day."""
    kind: Literal["feedback", "project"] = "feedback"
    statement: Words
    about: Words
    by: Words
    probability: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="before")
    @classmethod
    def _named(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and not fields.get("name") and isinstance(fields.get("statement"), str):
            return {**fields, "name": slug(fields["statement"])}
        return fields


class Resolved(_Event):
    """What was predicted came out true or false."""

    resolved: date
    """The day."""
    outcome: Annotated[bool, Field(strict=True)]
    because: str = ""
    """What happened, with a link where there is one."""


Event = Predicted | Resolved


def read_events(path: str | Path) -> list[tuple[Event, int]]:
    """Read a file's events, each with its line from 1.

    Raises:
        TakebackError: the file is not there or can't be read, or an event is wrong; names the line.
    """
    return parse_events(read_text(path, f"no predictions at {path}", as_it_is=True), path)


def parse_events(text: str, path: str | Path) -> list[tuple[Event, int]]:
    """Read events from a text.

    Raises:
        TakebackError: an event is wrong; names the line.
    """
    try:
        node, fields = yaml_nodes(text, path), parse_yaml(text, path)
    except Unreadable as error:
        raise at(path, error.line, f"can't be read as YAML: {error.why}") from None
    if node is None:
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise at(path, 1, "predictions are a list, each item beginning with -")
    found: list[tuple[Event, int]] = []
    for one, place in zip(fields, node.value, strict=True):
        found.append((_event(one, path, place.start_mark.line + 1), place.start_mark.line + 1))
    _check_order(found, path)
    return found


def append(path: str | Path, event: Event) -> Event:
    """Add an event, sealed, to the end of a file, which may be new; what is there stays as it is.

    Raises:
        TakebackError: the file can't be read or added to, or the event does not fit what is there.
    """
    path = Path(path)
    with one_writer(path):
        text = read_text(path, as_it_is=True) if path.exists() else ""
        whole, sealed = _with(event, text, path)
        with atomic_file(path) as draft:
            draft.write_bytes(whole.encode("utf-8"))
    return sealed


def _with(event: Event, text: str, path: Path) -> tuple[str, Event]:
    """Return a file's text with an event more, and that event, sealed."""
    before = parse_events(text, path)
    last = next((one.seal for one, _ in reversed(before) if one.seal), "")
    event = event.model_copy(update={"seal": event.sealed(last)})
    fields = {name: value for name, value in event.model_dump(mode="python").items() if value != ""}
    first = "predicted" if isinstance(event, Predicted) else "resolved"
    ordered = {
        name: fields[name] for name in (first, *(n for n in fields if n not in (first, "seal")), "seal")
    }
    item = as_yaml([ordered])
    whole = (text if text.endswith("\n") or not text else f"{text}\n") + item
    if [one for one, _ in parse_events(whole, path)] != [*(one for one, _ in before), event]:
        raise TakebackError(f"{path} is laid out so that nothing can be added; write items beginning with -")
    return whole, event


def _event(fields: Any, path: str | Path, line: int) -> Event:
    if not isinstance(fields, dict) or ("predicted" in fields) == ("resolved" in fields):
        raise at(path, line, "an item has either predicted: DATE or resolved: DATE, and its fields")
    kind = Predicted if "predicted" in fields else Resolved
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'item'}: {e['msg']}" for e in error.errors())
        raise at(path, line, told) from None


def _check_order(events: Sequence[tuple[Event, int]], path: str | Path) -> None:
    """Raise for what is predicted twice, settled twice, or settled and never predicted."""
    predicted: dict[str, Predicted] = {}
    settled: dict[str, int] = {}
    for one, line in events:
        if isinstance(one, Predicted):
            if one.name in predicted:
                raise at(path, line, f"a prediction named {one.name!r} is there already; give another name")
            predicted[one.name] = one
            continue
        if one.name not in predicted:
            raise at(path, line, f"{one.name!r} was not predicted before it is settled")
        if one.name in settled:
            raise at(path, line, f"{one.name!r} was settled at line {settled[one.name]}; that is done once")
        if one.resolved < predicted[one.name].predicted:
            raise at(path, line, f"{one.name!r} is settled before the day on which it was predicted")
        settled[one.name] = line
