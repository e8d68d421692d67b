"""A page that needs no network: words, figures and tables in sections, the same in a file and a notebook."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from markupsafe import Markup

from takeback.draw.colour import variables
from takeback.draw.foreign import picture_of

if TYPE_CHECKING:
    from jinja2 import Environment

_FALLBACK = re.compile(r"var\((--\w+),#[0-9a-f]{6}\)")
"""A colour with the fallback that a picture needs when it stands alone; a page declares every colour."""

FOOTER = "Made by takeback. No part of this page comes from a network."


@dataclass(frozen=True)
class Table:
    """A table: the columns whose heading is in `words` hold words, the others numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[str, ...] = ()

    def only(self, *heads: str) -> Table:
        """Return the table with these columns alone, in the order given.

        >>> Table(("a", "b", "c"), (("1", "2", "3"),), ("b",)).only("c", "b").rows
        (('3', '2'),)
        """
        places = [self.head.index(head) for head in heads]
        return Table(heads, tuple(tuple(row[place] for place in places) for row in self.rows), self.words)


@dataclass(frozen=True)
class Figure:
    """A picture with the heading over it, and a table and a note under it.

    `whole` is the text that the heading shortens.
    """

    title: str
    picture: Markup
    note: str = ""
    table: Table | None = None
    whole: str = ""

    @classmethod
    def of(cls, title: str, svg: str, note: str = "") -> Figure:
        """Take an SVG text, which is trusted since our own functions escape what they write."""
        return cls(title, Markup(svg), note)


@dataclass(frozen=True)
class Tinted:
    """A line of a terminal: plain words, then pieces of text, each with a step of the diverging scale."""

    lead: str
    pieces: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Section:
    """A heading, sentences in plain words, then figures and tables; what is `folded` opens by a click.

    Sections `inside` follow, with smaller headings; one that is `closed` opens by a click. The first section
    of a page may lack a title: it opens the page, its figures first. A page lists sections with a `name`,
    which is their anchor.

    A terminal shows the words and the tables, or what `terminal` holds: sentences, tables, tinted lines and
    pictures made of letters, which are texts of several lines.
    """

    title: str
    words: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: tuple[tuple[str, Table], ...] = ()
    notes: tuple[str, ...] = ()
    terminal: tuple[str | Table | Tinted, ...] | None = None
    inside: tuple[Section, ...] = ()
    name: str = ""
    closed: bool = False

    @property
    def on_terminal(self) -> tuple[str | Table | Tinted, ...]:
        """What a terminal shows under the heading."""
        return (*self.words, *self.tables) if self.terminal is None else self.terminal

    def plain(self) -> dict[str, Any]:
        """Return what a page shows as values that go into JSON; `of` reads them back.

        >>> section = Section("Spectra", figures=(Figure.of("Ranks", "<svg></svg>"),))
        >>> Section.of(section.plain()) == section
        True
        """
        plain = asdict(replace(self, terminal=None, inside=()))
        inside = [section.plain() for section in self.inside]
        added = {"inside": inside, "name": self.name, "closed": self.closed}
        whole = {name: value for name, value in plain.items() if name not in ("terminal", *added)}
        whole["figures"] = tuple(_without_empty(one, ("table", "whole")) for one in plain["figures"])
        return whole | {name: value for name, value in added.items() if value}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `plain` returned, before or after JSON.

        Raises:
            TakebackError: a picture has something that runs, loads or leads anywhere.
        """

        def table(fields: Mapping[str, Any]) -> Table:
            rows = tuple(tuple(row) for row in fields["rows"])
            return Table(tuple(fields["head"]), rows, tuple(fields["words"]))

        def figure(fields: Mapping[str, Any]) -> Figure:
            under = table(fields["table"]) if fields.get("table") else None
            picture = picture_of(fields["picture"])
            return Figure(fields["title"], picture, fields["note"], under, fields.get("whole", ""))

        return cls(
            plain["title"],
            tuple(plain["words"]),
            tuple(map(figure, plain["figures"])),
            tuple(map(table, plain["tables"])),
            tuple((name, table(fields)) for name, fields in plain["folded"]),
            tuple(plain["notes"]),
            inside=tuple(map(cls.of, plain.get("inside", ()))),
            name=plain.get("name", ""),
            closed=plain.get("closed", False),
        )


def _without_empty(fields: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value or name not in names}


def named(name: str, words: str) -> Markup:
    """Write a sentence about something, its name in bold.

    >>> named("rl-win", "1 < 2")
    Markup('<strong>rl-win</strong>: 1 &lt; 2')
    """
    return Markup("<strong>{}</strong>: {}").format(name, words)


def fragment(section: Section) -> str:
    """Write one section as HTML that a notebook shows.

    >>> "<h2" in fragment(Section("Spectra", ("Nothing moved.",)))
    True
    """
    return environment().get_template("fragment.html.j2").render(section=section)


def page(title: str, words: Sequence[str], sections: Sequence[Section]) -> str:
    """Write sections as one HTML file; the same sections give the same bytes."""
    opening = sections[0] if sections and not sections[0].title else None
    html = (
        environment()
        .get_template("page.html.j2")
        .render(
            title=title,
            words=words,
            opening=opening,
            sections=sections[1:] if opening else sections,
            footer=FOOTER,
            **colours(),
        )
    )
    return finished(html)


def environment(*folders: Path) -> Environment:
    """Return the templates of this folder and of others, which come first."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def colours() -> dict[str, Markup]:
    """Return what the style sheet needs: the colours by light and by dark."""
    return {"light": Markup(variables(dark=False)), "dark": Markup(variables(dark=True))}


def finished(html: str) -> str:
    """Take out of a page's pictures what they need only when they stand alone."""
    return _FALLBACK.sub(r"var(\1)", html)
