"""A project's file: plain Markdown, a heading for each question, dated answers with links under it.

---
name: my-project
started: 2026-01-05
every: 2 weeks
---
## Is it neglected?
### 2026-01-05 Ada
Partly. Two groups look at it, see [their plan](https://example.org/plan).
## Notes
### 2026-01-07 Ada, with the hat of Bob
- **What if it is chance?** Three seeds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from takeback.planning.checkin.front import FrontMatter, as_date, as_text, at, read_front
from takeback.planning.checkin.heuristics import Heuristics, load_heuristics
from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file
from takeback.run.reading import read_text

NOTES: Final = "Notes"
VERDICTS: Final = ("yes", "partly", "no")

_FIELDS: Final = ("name", "started", "every", "checked", "runs", "heuristics")
_ENTRY: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)(?:\s+(?P<by>(?!with the hat of )[^,]+))?(?:,?\s*with the hat of (?P<hat>.+))?"
)
_LINK: Final = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|<(https?://[^>\s]+)>")
_EVERY: Final = re.compile(r"(\d+) *(day|week)s?")
_VERDICT: Final = re.compile(rf"({'|'.join(VERDICTS)})\b(?=[.,;:!]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DatedEntry:
    """A dated answer or note.

    Attributes:
        day: its date.
        by: who wrote it, empty where that is not said.
        hat: the hat it was written with, empty where none was on.
        text: its words as they stand.
        line: of its heading, from 1.
    """

    day: date
    by: str
    hat: str
    text: str
    line: int

    @property
    def links(self) -> tuple[str, ...]:
        """What it links to, each once."""
        return tuple(dict.fromkeys(a or b for a, b in _LINK.findall(self.text)))

    @property
    def verdict(self) -> str:
        """The yes, partly or no that it begins with, empty where it begins otherwise."""
        found = _VERDICT.match(self.text)
        return found[1].lower() if found else ""


@dataclass(frozen=True)
class Project:
    """A project's file, read.

    Attributes:
        path: the file.
        name: what the project is called.
        started: when.
        every: how long from one check-in to the next.
        checked: days on which the answers were gone through and stood.
        runs: folders of its runs, as written: from the file's folder.
        heuristics: its questions.
        answers: by question's id, from the first answer to the last; only questions that have any.
        notes: in the file's order.
        text: the file as it is.
    """

    path: Path
    name: str
    started: date
    every: timedelta
    checked: tuple[date, ...]
    runs: tuple[str, ...]
    heuristics: Heuristics
    answers: Mapping[str, tuple[DatedEntry, ...]]
    notes: tuple[DatedEntry, ...]
    text: str = field(repr=False)

    def line_of(self, entry: DatedEntry, link: str) -> int:
        """Return the line, from 1, on which an answer has a link."""
        lines = self.text.splitlines()
        return next(
            (k for k, line in enumerate(lines[entry.line :], entry.line + 1) if link in line), entry.line
        )

    def place(self, link: str) -> Path | None:
        """Return the file that a link names, None where it leads elsewhere."""
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", link):
            return None
        name = link.partition("#")[0]
        return self.path.parent / name if name else self.path

    def write(self, path: str | Path | None = None) -> Path:
        """Write the text as it is."""
        path = self.path if path is None else Path(path)
        with atomic_file(path) as draft:
            draft.write_bytes(self.text.encode("utf-8"))
        return path


def read_project(path: str | Path, heuristics: str | Path | None = None) -> Project:
    """Read a project's file.

    `heuristics` is a file with other questions than those the project names, or those that ship.

    Raises:
        TakebackError: the file is not there, or something in it is wrong; names the line.
    """
    return parse_project(read_text(path, f"no project at {path}", as_it_is=True), path, heuristics)


def parse_project(text: str, path: str | Path, heuristics: str | Path | None = None) -> Project:
    r"""Read a project from its text; `path` is what errors name and links start from.

    Raises:
        TakebackError: something in it is wrong; names the line.

    >>> front = "---\nname: a\nstarted: 2026-01-05\nevery: 2 weeks\n---\n"
    >>> parse_project(front + "## neglected\n### 2026-01-06\nNo.\n", "a.md").answers["neglected"][0].verdict
    'no'
    """
    path = Path(path)
    lines = text.splitlines()
    front = read_front(lines, path, _FIELDS)
    for name in ("name", "started", "every"):
        if name not in front.fields:
            raise at(path, 1, f"the field {name} is missing; a project has name, started and every")
    own = front.fields.get("heuristics")
    if heuristics is None and own is not None:
        heuristics = path.parent / as_text(own, path, front.lines["heuristics"], "heuristics")
    asked = load_heuristics(heuristics)
    answers, notes = _body(lines, front.end, path, asked)
    checked = front.fields.get("checked") or []
    line = front.lines.get("checked", 1)
    return Project(
        path=path,
        name=as_text(front.fields["name"], path, front.lines["name"], "name"),
        started=as_date(front.fields["started"], path, front.lines["started"], "started"),
        every=_every(front, path),
        checked=tuple(
            as_date(one, path, line, "checked")
            for one in (checked if isinstance(checked, list) else [checked])
        ),
        runs=_runs(front, path),
        heuristics=asked,
        answers=answers,
        notes=notes,
        text=text,
    )


def new_project(path: str | Path, name: str, started: date, heuristics: str | Path | None = None) -> Project:
    """Return a project with no answers, to be written and filled in by hand.

    Raises:
        TakebackError: the file is there already, or the questions can't be read.
    """
    path = Path(path)
    if path.exists():
        raise TakebackError(f"{path} is there already; edit it, or give another file")
    own = [] if heuristics is None else [f"heuristics: {Path(heuristics).resolve()}"]
    front = [
        "---",
        f"name: {json.dumps(name, ensure_ascii=False)}",
        f"started: {started}",
        "every: 2 weeks",
        *own,
        "---",
        "",
    ]
    each = [line for one in load_heuristics(heuristics) for line in (f"## {one.question}", "")]
    return parse_project("\n".join([*front, *each, f"## {NOTES}", ""]), path)


def add_note(project: Project, text: str, day: date, by: str = "", hat: str = "") -> Project:
    """Return the project with one note more at the end of its notes; nothing else in it changes.

    Raises:
        TakebackError: the note has no words, or a name would not read back.
    """
    newline = "\r\n" if "\r\n" in project.text else "\n"
    who = f" {by}" if by else ""
    with_hat = f"{',' if by else ''} with the hat of {hat}" if hat else ""
    heading = f"### {day}{who}{with_hat}"
    lines = project.text.splitlines(keepends=True)
    if lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += newline
    item = [heading, *text.strip().splitlines(), ""]
    place = _end_of_notes([line.rstrip("\r\n") for line in lines])
    before = lines[: place if place is not None else len(lines)]
    if place is None:
        item = ["", f"## {NOTES}", *item]
    elif before and before[-1].strip():
        item = ["", *item]
    after = lines[len(before) :]
    if not after:
        item = item[:-1]
    whole = "".join([*before, *(f"{line}{newline}" for line in item), *after])
    grown = parse_project(whole, project.path)
    added = grown.notes[-1:] if len(grown.notes) == len(project.notes) + 1 else ()
    if [(one.day, one.by, one.hat) for one in added] != [(day, by, hat)] or not text.strip():
        raise TakebackError(f"{project.path}: a note has words, and no headings or odd names: {heading!r}")
    return grown


def _body(
    lines: Sequence[str], start: int, path: Path, asked: Heuristics
) -> tuple[Mapping[str, tuple[DatedEntry, ...]], tuple[DatedEntry, ...]]:
    """Read what follows the front matter."""
    found: dict[str, list[DatedEntry]] = {}
    seen: dict[str, int] = {}
    name: str | None = None
    heads = _headings(lines, start)
    for k, (number, level, words) in enumerate(heads):
        if level == 2:
            name = NOTES if words == NOTES else _named(asked, words, path, number)
            if name in seen:
                raise at(path, number, f"{words!r} has a heading at line {seen[name]} already; join the two")
            seen[name] = number
        elif level == 3:
            if name is None:
                raise at(path, number, "a dated answer needs the heading of its question (##) before it")
            end = heads[k + 1][0] - 1 if k + 1 < len(heads) else len(lines)
            text = "\n".join(line.rstrip() for line in lines[number:end]).strip()
            found.setdefault(name, []).append(_entry(words, text, path, number))
        elif level == 1 and name is not None:
            raise at(path, number, "a heading with one # comes before the questions (##)")
    for name, entries in found.items():
        if name != NOTES:
            _check_twice(entries, path)
    answers = {
        one.id: tuple(sorted((e for e in found.get(one.id, ()) if e.text), key=lambda entry: entry.day))
        for one in asked
    }
    return {name: each for name, each in answers.items() if each}, tuple(found.get(NOTES, ()))


def _headings(lines: Sequence[str], start: int) -> list[tuple[int, int, str]]:
    """Return line (from 1), level and words of headings outside fenced code."""
    heads: list[tuple[int, int, str]] = []
    fence = ""
    for number, line in enumerate(lines[start:], start + 1):
        mark = re.match(r" {0,3}(```+|~~~+)", line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence and (head := re.match(r"(#{1,3})\s+(.*?)[\s#]*$", line)):
            heads.append((number, len(head[1]), head[2]))
    return heads


def _named(asked: Heuristics, words: str, path: Path, line: int) -> str:
    try:
        return asked.find(words).id
    except TakebackError as error:
        raise at(path, line, f"{error}; other text goes under ## {NOTES}") from None


def _entry(words: str, text: str, path: Path, line: int) -> DatedEntry:
    found = _ENTRY.fullmatch(words)
    try:
        day = date.fromisoformat(found["date"]) if found else None
    except ValueError:
        day = None
    if found is None or day is None:
        raise at(path, line, f"{words!r} is not a date such as 2026-01-31, or a date and a name")
    return DatedEntry(day, (found["by"] or "").strip(), (found["hat"] or "").strip(), text, line)


def _check_twice(entries: Sequence[DatedEntry], path: Path) -> None:
    seen: dict[tuple[date, str, str], int] = {}
    for one in entries:
        key = (one.day, one.by, one.hat)
        if key in seen:
            told = f"an answer of {one.day} is at line {seen[key]} already; join them, or say who wrote each"
            raise at(path, one.line, told)
        seen[key] = one.line


def _every(front: FrontMatter, path: Path) -> timedelta:
    value: Any = front.fields["every"]
    found = _EVERY.fullmatch(f"{value} days" if isinstance(value, int) else str(value).strip())
    if found is None or not 0 < int(found[1]) < 10_000:
        raise at(path, front.lines["every"], f"every is a time such as 10 days or 2 weeks, not {value!r}")
    return timedelta(days=int(found[1]) * (7 if found[2] == "week" else 1))


def _runs(front: FrontMatter, path: Path) -> tuple[str, ...]:
    value: Any = front.fields.get("runs") or []
    line = front.lines.get("runs", 1)
    return tuple(as_text(one, path, line, "runs") for one in (value if isinstance(value, list) else [value]))


def _end_of_notes(lines: Sequence[str]) -> int | None:
    """Return after how many lines the notes end, None where there are none."""
    start = lines.index("---", 1) + 1 if "---" in lines[1:] else 0
    heads = [head for head in _headings(lines, start) if head[1] == 2]
    for k, (_, _, words) in enumerate(heads):
        if words == NOTES:
            return heads[k + 1][0] - 1 if k + 1 < len(heads) else len(lines)
    return None
