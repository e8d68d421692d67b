"""What several measures found of one subject: on the terminal, as tables and JSON, as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from takeback.draw.page import Section, fragment, page
from takeback.run.files import atomic_file
from takeback.run.parts import discard_parts
from takeback.run.tables import SCHEMA, records, write_tables


class Finding(Protocol):
    """What one measure found: tables by name, what their columns mean, and ways to show them.

    A notebook shows its section.
    """

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """The tables by the name of their file."""
        ...

    @property
    def columns(self) -> Mapping[str, str]:
        """What each column that is no key means."""
        ...

    def section(self) -> Section:
        """Show it on a page."""
        ...

    def print(self) -> None:
        """Show it on the terminal."""
        ...

    def _repr_html_(self) -> str:
        return fragment(self.section())


@dataclass(frozen=True)
class Findings:
    """Holds the findings of one command by the name of their measure; in a notebook it draws itself.

    `name` is that of its page and of the manifest, which says what a folder holds: `diff.html`, `diff.json`.
    """

    title: str
    words: tuple[str, ...]
    parts: Mapping[str, Finding]
    name: str = "diff"

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by the name of their file."""
        return {name: table for part in self.parts.values() for name, table in part.tables.items()}

    def write(self, folder: str | Path) -> None:
        """Write each table as `NAME.parquet` and all pictures as one page into a folder.

        The manifest beside them holds the sections of the page once more, for reports to show.

        Each file is replaced whole, and what the same command left there before is removed. Parts that
        made the tables are removed.

        Raises:
            TakebackError: the disk refuses; files that were there stay as they were.
        """
        folder = Path(folder)
        page, manifest = f"{self.name}.html", f"{self.name}.json"
        before = _written(folder / manifest)
        write_tables(self.tables, folder)
        files = [*(f"{name}.parquet" for name in self.tables), page]
        sections = [part.section().plain() for part in self.parts.values()]
        about = {"takeback_schema": SCHEMA, "title": self.title, "files": files, "sections": sections}
        texts = {page: self.page(), manifest: json.dumps(about, indent=1, ensure_ascii=False)}
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
        """Print each finding on the terminal."""
        for part in self.parts.values():
            part.print()

    def page(self) -> str:
        """Write all findings as one HTML file that needs no network."""
        return page(self.title, self.words, [part.section() for part in self.parts.values()])

    def _repr_html_(self) -> str:
        return "".join(fragment(part.section()) for part in self.parts.values())


def _written(manifest: Path) -> set[str]:
    """Return the files that the same command wrote before; a manifest may only ever name its own."""
    try:
        names = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    own = (name for name in names if Path(name).name == name)
    return {name for name in own if name == f"{manifest.stem}.html" or name.endswith(".parquet")}
