"""A row of a user's data: what it asks, its choices, and what the data says that these are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.listed import Messages, Shown
from takeback.arenas.rows.spec import FAMILY, RowsSpec
from takeback.arenas.rows.table import Columns, read_rows
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.identity import told

Floats = NDArray[np.float64]

_PROMPTS: Final = ("prompt", "messages", "question")
_SHOWN: Final = 60


@dataclass(frozen=True, eq=False)
class Row:
    """A situation of a user's data.

    Attributes:
        number: its place in the data, from 0.
        shown: its prompt, a text or chat messages.
        columns: all that the data says of it.
        choices: the answers to choose from, if there are such.
        reference: a reference answer, if there is one.
        cluster: what it counts as one by.
    """

    number: int
    shown: Shown
    columns: Columns = field(repr=False)
    choices: tuple[str, ...] = ()
    reference: str | None = None
    cluster: str = ""

    def __str__(self) -> str:
        text = self.shown if isinstance(self.shown, str) else str(self.shown[-1].get("content", ""))
        line = " ".join(text.split())
        return f"#{self.number} {line[:_SHOWN]}{'…' if len(line) > _SHOWN else ''}"


@told.register(Row)
def _(row: Row) -> Any:
    return [row.number, row.shown, row.columns, row.choices, row.reference, row.cluster]


def rows_of(spec: RowsSpec) -> tuple[Row, ...]:
    """Read the data and make rows of it."""
    if spec.choices is None and (spec.answer or spec.worth):
        raise TakebackError(f"{FAMILY}: answer and worth are of choices; name choices: too, or a reward")
    read = read_rows(spec.data, spec.limit, spec.seed)
    columns = read[0]
    prompt = spec.prompt or next((name for name in _PROMPTS if name in columns), _PROMPTS[0])
    return tuple(_row(spec, prompt, number, told) for number, told in enumerate(read))


def _row(spec: RowsSpec, prompt: str, number: int, told: Columns) -> Row:
    where = f"row {number} of {spec.name}"
    choices = _choices(spec, told, where)
    if len({choice.strip() for choice in choices}) < len(choices):
        raise TakebackError(
            f"{where} has the same choice twice: {', '.join(map(repr, choices))}; make them differ"
        )
    if spec.choices is not None and len(choices) < 2:
        raise TakebackError(f"{where} has {len(choices)} choices; at least two are needed to choose")
    if any(not choice.strip() for choice in choices):
        raise TakebackError(f"{where} has an empty choice; leave it out")
    given = None if spec.reference is None else _value(spec.reference, told, where)
    reference = None if given is None else str(given)
    cluster = "" if spec.cluster is None else str(_column(spec.cluster, told, where))
    return Row(number, _shown(spec, prompt, told, where), told, choices, reference, cluster)


def _shown(spec: RowsSpec, prompt: str, told: Columns, where: str) -> Shown:
    found = _value(prompt, told, where)
    chat = not isinstance(found, str) if spec.chat is None else spec.chat
    if isinstance(found, str) and not chat and spec.system is None:
        if not found.strip():
            raise TakebackError(f"the prompt of {where} is empty; leave the row out")
        return found
    messages: Messages = (
        ({"role": "user", "content": found},) if isinstance(found, str) else _messages(found, where)
    )
    system = () if spec.system is None else ({"role": "system", "content": spec.system},)
    if not any(str(message.get("content", "")).strip() for message in messages):
        raise TakebackError(f"the prompt of {where} is empty; leave the row out")
    return (*system, *messages)


def _messages(found: Any, where: str) -> Messages:
    fits = isinstance(found, Sequence) and all(isinstance(one, Mapping) and "role" in one for one in found)
    if not fits or not found:
        raise TakebackError(
            f"the prompt of {where} is neither a text nor a list of messages with role and content"
        )
    return tuple(dict(one) for one in found)


def _choices(spec: RowsSpec, told: Columns, where: str) -> tuple[str, ...]:
    if spec.choices is None:
        return ()
    if isinstance(spec.choices, str):
        found = _value(spec.choices, told, where)
        if isinstance(found, Mapping) and "text" in found:
            found = found["text"]
        if isinstance(found, str) or not isinstance(found, Sequence):
            raise TakebackError(
                f"column {spec.choices!r} of {where} must hold a list of choices, not {found!r:.60}"
            )
        for one in found:
            if not isinstance(one, str | int | float):
                raise TakebackError(f"{where} has the choice {one!r:.60}, which is no text")
        return tuple(map(str, found))
    return tuple(str(_rendered(one, told, where)) for one in spec.choices)


def right_choice(row: Row, column: str, name: str) -> Floats:
    """Return 1 for the right choice: told by its number, by its letter, or by its text."""
    told = _column(column, row.columns, f"row {row.number} of {name}")
    texts = [choice.strip() for choice in row.choices]
    if isinstance(told, str) and told.strip() in texts:
        place = texts.index(told.strip())
    elif isinstance(told, int | np.integer) or (isinstance(told, str) and told.strip().isdecimal()):
        place = int(told)
    elif (
        isinstance(told, str) and len(told.strip()) == 1 and told.strip().isascii() and told.strip().isalpha()
    ):
        place = ord(told.strip().upper()) - ord("A")
    else:
        place = -1
    if not 0 <= place < len(texts):
        raise TakebackError(
            f"row {row.number} of {name}: {column} is {told!r}, which is none of its {len(texts)} choices "
            "(a number from 0, a letter or the text)"
        )
    return (np.arange(len(texts)) == place).astype(np.float64)


def told_worth(row: Row, column: str, name: str) -> Floats:
    """Return what a column says that each choice is worth."""
    where = f"row {row.number} of {name}"
    told = _column(column, row.columns, where)
    try:
        numbers = np.array(told, np.float64)
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.shape != (len(row.choices),) or not np.isfinite(numbers).all():
        raise TakebackError(
            f"{where}: {column} must hold a finite number for each of {len(row.choices)} choices"
        )
    return numbers


def _value(source: str, told: Columns, where: str) -> Any:
    """Return a column of a row, or what a template makes of it."""
    return (
        _rendered(source, told, where) if "{{" in source or "{%" in source else _column(source, told, where)
    )


def _column(name: str, told: Columns, where: str) -> Any:
    if name not in told:
        raise unknown_name(f"column of {where}", name, told)
    return told[name]


def _rendered(template: str, told: Columns, where: str) -> str:
    try:
        return str(_environment().from_string(template).render(told))
    except Exception as error:  # a template is a program: it may divide by zero
        line = " ".join(str(error).split())[:200]
        raise TakebackError(f"the template {template[:60]!r} fails on {where}: {line}") from None


def _environment() -> Any:
    import jinja2
    from jinja2.sandbox import SandboxedEnvironment

    return SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)


def held_out_rows(spec: RowsSpec, rows: Sequence[Row]) -> list[bool]:
    """Say of each row whether it is held out; a share splits clusters, not rows."""
    given = spec.held_out
    if given is None:
        return [True] * len(rows)
    if isinstance(given, str):
        told = [_column(given, row.columns, f"row {row.number} of {spec.name}") for row in rows]
        return [str(one).strip().lower() not in ("false", "0", "train", "") for one in told]
    if not 0 < given < 1:
        raise TakebackError(f"held_out: {given} is no share; give a column, or a number between 0 and 1")
    groups = sorted({row.cluster or f"#{row.number}" for row in rows})
    order = np.random.default_rng([spec.seed, len(groups)]).permutation(len(groups))
    chosen = {groups[place] for place in order[: max(1, round(given * len(groups)))]}
    return [(row.cluster or f"#{row.number}") in chosen for row in rows]
