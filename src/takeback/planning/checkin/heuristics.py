"""The questions to ask of a project: data, with their source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from takeback.run.errors import TakebackError, unknown_name
from takeback.run.yaml_text import read_yaml

Words = Annotated[str, Field(min_length=1)]

KNOWS: Final = ("feedback", "smaller", "conjectures")
"""What the tool can answer itself: see `takeback.planning.checkin.known`."""


class Heuristic(BaseModel):
    """A question to ask of a project, why, and what the tool itself knows of the answer, if anything."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, str_strip_whitespace=True)

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    question: Words
    why: str = ""
    knows: Literal["feedback", "smaller", "conjectures"] | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, str_strip_whitespace=True)

    title: Words
    source: Words
    url: str = ""
    heuristics: Annotated[tuple[Heuristic, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Heuristics:
    """A list of questions with its source.

    Attributes:
        title: what the list is called.
        source: whose questions they are.
        url: where they are from, empty where nowhere.
        each: the questions in order.
    """

    title: str
    source: str
    url: str
    each: tuple[Heuristic, ...]

    def __iter__(self) -> Iterator[Heuristic]:
        return iter(self.each)

    def __len__(self) -> int:
        return len(self.each)

    def find(self, heading: str) -> Heuristic:
        """Return the question that a heading names: by its id, its words, or its id, a colon and any words.

        Raises:
            UnknownName: it names none.

        >>> load_heuristics().find("is it neglected?").id
        'neglected'
        >>> load_heuristics().find("success: what we would call one").id
        'success'
        """
        wanted = _plain(heading)
        first = _plain(heading.partition(":")[0])
        for one in self.each:
            if wanted in (one.id, _plain(one.question)) or first == one.id:
                return one
        known = [one.id for one in self.each] if "-" in heading or " " not in heading else None
        raise unknown_name("question", heading, known or [one.question for one in self.each])


def load_heuristics(path: str | Path | None = None) -> Heuristics:
    """Read a list of questions from a YAML file; without one, the list that ships.

    Raises:
        TakebackError: the file is not there or can't be read, a field is wrong, or two questions are alike.

    >>> [one.id for one in load_heuristics()][:3]
    ['hard-case', 'feedback-loop', 'eases-others']
    """
    source = files("takeback.planning.checkin") / "heuristics.yaml" if path is None else Path(path)
    fields = read_yaml(source, f"no questions at {path}; give a YAML file with title, source, heuristics")
    try:
        read = _File.model_validate(fields)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise TakebackError(f"{path}: {told}") from None
    names = [name for one in read.heuristics for name in {one.id, _plain(one.question)}]
    for name in names:
        if names.count(name) > 1:
            raise TakebackError(f"{path}: two questions are {name!r}; give each its own id and words")
    return Heuristics(read.title, read.source, read.url, read.heuristics)


def _plain(words: str) -> str:
    return " ".join(words.casefold().split()).rstrip(" ?.")
