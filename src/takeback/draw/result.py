"""Results: what a measure found, as a value that knows its tables; how one is drawn is registered elsewhere.

A module that draws results registers each with `section_of`, and the package of a result imports both, so
that a result never imports its own picture:

    @section_of.register
    def _(found: Shares) -> Section: ...
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import singledispatch
from pathlib import Path
from typing import Any, ClassVar, Final

import pandas as pd

from takeback.draw.page import Section, fragment, page
from takeback.draw.terminal import print_section
from takeback.run.files import atomic_file
from takeback.run.json_text import read_json
from takeback.run.parts import discard_parts
from takeback.run.tables import SCHEMA, records, write_tables

_FILE, _MEANINGS = "file", "meanings"
NO_MEANINGS: Final[Mapping[str, str]] = {}


@singledispatch
def section_of(found: Any) -> Section:
    """Draw a result as a section of a page, of a notebook and of the terminal.

    Raises:
        TypeError: no module that draws such a result was imported.
    """
    raise TypeError(f"nothing draws a {type(found).__name__}; register a function with section_of")


def as_table(file: str, meanings: Mapping[str, str] = NO_MEANINGS) -> dict[str, Any]:
    """Return the metadata of a field that is a table: the name of its file, what its columns mean."""
    return {_FILE: file, _MEANINGS: meanings}


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What one measure found of a subject: tables by the name of their file, and what their columns mean.

    Fields declared with `as_table` are its tables. A notebook and `print` show its section; see `section_of`.

    Attributes:
        title: what it was found of, such as the two models.
        name: of the page and manifest of this result alone.

    >>> from dataclasses import field
    >>> @dataclass(frozen=True, eq=False, repr=False)
    ... class Norms(Result):
    ...     name = "norms"
    ...     table: pd.DataFrame = field(metadata=as_table("norms", {"norm": "of a tensor"}))
    >>> found = Norms("base → tuned", pd.DataFrame({"norm": [0.5, 1.0]}))
    >>> found, dict(found.columns)
    (Norms of 'base → tuned': norms 2 rows, {'norm': 'of a tensor'})
    """

    title: str
    name: ClassVar[str]

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """The tables by the name of their file."""
        return {one.metadata[_FILE]: getattr(self, one.name) for one in fields(self) if _FILE in one.metadata}

    @property
    def columns(self) -> Mapping[str, str]:
        """What each column that is no key means."""
        every = [one.metadata.get(_MEANINGS, NO_MEANINGS) for one in fields(self)]
        return {column: meaning for meanings in every for column, meaning in meanings.items()}

    def write(self, folder: str | Path) -> None:
        """Write tables, page and manifest into a folder; see `Results.write`."""
        Results.of(self).write(folder)

    def to_json(self) -> str:
        """Return the tables as strict JSON; see `Results.to_json`."""
        return Results.of(self).to_json()

    def print(self) -> None:
        """Print its section on the terminal."""
        print_section(section_of(self))

    def __repr__(self) -> str:
        told = ", ".join(f"{name} {len(table):,} rows" for name, table in self.tables.items())
        return f"{type(self).__name__} of {self.title!r}: {told}"

    def _repr_html_(self) -> str:
        return fragment(section_of(self))


@dataclass(frozen=True, repr=False)
class Results:
    """Holds the results of one command by the name of their measure; in a notebook it draws itself.

    `name` is that of its page and of the manifest, which says what a folder holds: `diff.html`, `diff.json`.
    """

    title: str
    words: tuple[str, ...]
    parts: Mapping[str, Result]
    name: str = "diff"

    @classmethod
    def of(cls, found: Result) -> Results:
        """Take one result, under its own title and name."""
        return cls(found.title, (), {found.name: found}, found.name)

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by the name of their file."""
        return {name: table for part in self.parts.values() for name, table in part.tables.items()}

    @property
    def sections(self) -> list[Section]:
        """The section of each result."""
        return [section_of(part) for part in self.parts.values()]

    def write(self, folder: str | Path) -> None:
        """Write each table as `NAME.parquet` and all pictures as one page into a folder.

        The manifest beside them holds the sections of the page once more, for reports to show.

        Each file is replaced whole, and what the same command left there before is removed. Parts that
        made the tables are removed.

        Raises:
            TakebackError: the disk refuses; files that were there stay as they were.
        """
        folder = Path(folder)
        drawn, manifest = f"{self.name}.html", f"{self.name}.json"
        before = _written(folder / manifest)
        write_tables(self.tables, folder)
        files = [*(f"{name}.parquet" for name in self.tables), drawn]
        sections = self.sections
        plain = [one.plain() for one in sections]
        about = {"takeback_schema": SCHEMA, "title": self.title, "files": files, "sections": plain}
        texts = {
            drawn: page(self.title, self.words, sections),
            manifest: json.dumps(about, indent=1, ensure_ascii=False),
        }
        for name, text in texts.items():
            with atomic_file(folder / name) as draft:
                draft.write_text(text, encoding="utf-8")
        for name in before - set(files):
            (folder / name).unlink(missing_ok=True)
        discard_parts(folder)

    def to_json(self) -> str:
        """Return all tables as strict JSON with the meaning of their columns; a missing measure is null."""
        found = {
            "takeback_schema": SCHEMA,
            "title": self.title,
            "notes": list(self.words),
            **{
                name: {
                    "columns": dict(part.columns),
                    **{table: records(rows) for table, rows in part.tables.items()},
                }
                for name, part in self.parts.items()
            },
        }
        return json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False)

    def print(self) -> None:
        """Print each result on the terminal."""
        for part in self.parts.values():
            part.print()

    def page(self) -> str:
        """Write all results as one HTML file that needs no network."""
        return page(self.title, self.words, self.sections)

    def __repr__(self) -> str:
        return f"Results of {self.title!r}: {', '.join(self.parts)}"

    def _repr_html_(self) -> str:
        return "".join(map(fragment, self.sections))


def _written(manifest: Path) -> set[str]:
    """Return the files that the same command wrote before; a manifest may only ever name its own."""
    try:
        names = read_json(manifest)["files"]
    except (ValueError, KeyError, TypeError):
        return set()
    own = (name for name in names if isinstance(name, str) and Path(name).name == name)
    return {name for name in own if name == f"{manifest.stem}.html" or name.endswith(".parquet")}
