"""The front matter of a Markdown file that people edit by hand: YAML between two lines of three dashes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import yaml

from takeback.run.errors import TakebackError, unknown_name
from takeback.run.reading import Unreadable
from takeback.run.yaml_text import parse_yaml, yaml_nodes

FENCE: Final = "---"


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What stands before a text.

    Attributes:
        fields: as YAML reads them.
        lines: of each field, the line of the file, from 1.
        end: how many lines it takes, both fences included.
    """

    fields: Mapping[str, Any]
    lines: Mapping[str, int]
    end: int


def at(path: str | Path, line: int, told: str) -> TakebackError:
    """Build the error for a line of a file, from 1.

    >>> print(at("project.md", 3, "no such question"))
    project.md:3: no such question
    """
    return TakebackError(f"{path}:{line}: {told}")


def read_front(lines: list[str], path: str | Path, known: Iterable[str]) -> FrontMatter:
    """Read the front matter of a file, whose fields must be `known` ones.

    Raises:
        TakebackError: names the file and the line: there is none, it is no YAML, or a field is unknown.

    >>> read_front(["---", "name: a", "---", "words"], "a.md", ["name"]).fields
    {'name': 'a'}
    """
    bare = [line.rstrip() for line in lines]
    if not bare or bare[0] != FENCE:
        raise at(path, 1, f"a file like this begins with {FENCE}, then fields such as name, then {FENCE}")
    if FENCE not in bare[1:]:
        raise at(path, 1, f"the fields that begin here have no end; close them with a line of {FENCE}")
    end = bare.index(FENCE, 1) + 1
    try:
        text = "\n".join(bare[1 : end - 1])
        node, fields = yaml_nodes(text, path), parse_yaml(text, path)
    except Unreadable as error:
        raise at(path, error.line + 1, f"can't be read as YAML: {error.why}") from None
    if not isinstance(fields, dict) or not isinstance(node, yaml.MappingNode):
        raise at(path, 2, "no fields are here; write one a line, such as name: my-project")
    places = {str(key.value): key.start_mark.line + 2 for key, _ in node.value}
    names = list(known)
    for name in fields:
        if name not in names:
            raise at(path, places.get(str(name), 2), str(unknown_name("field", str(name), names)))
    return FrontMatter(fields, places, end)


def as_date(value: Any, path: str | Path, line: int, what: str) -> date:
    """Return a date that YAML read as one.

    Raises:
        TakebackError: it is something else.
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise at(path, line, f"{what} is a date such as 2026-01-31, not {value!r}")


def as_text(value: Any, path: str | Path, line: int, what: str) -> str:
    """Return words that YAML read as such.

    Raises:
        TakebackError: it is something else, or nothing.
    """
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise at(path, line, f"{what} is some words, not {value!r}")
