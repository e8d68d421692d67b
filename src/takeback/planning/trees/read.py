"""Reading a tree from an indented Markdown list; every error names the file and the line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final, NoReturn

from takeback.planning.trees.tree import MERGED, STAGES, Front, Link, Mention, Node, Own, Source, Tree
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.reading import Unreadable, read_text
from takeback.run.yaml_text import parse_yaml

FIELDS: Final = ("see", "conjecture", "against", "study", "hat", "was", "said")
"""What may stand under a problem, as `field: value`."""

FRONT: Final = ("author", "date", "stage", "extends", "of")
TAB: Final = 4
_ITEM = re.compile(r"^(\s*)(?:[-*+]|\d{1,9}[.)])(?:\s+(.*))?$")
_FIELD = re.compile(r"^([A-Za-z][\w-]*):(?:\s+(.*))?$")
_ID = re.compile(r"^(.*?)\s*\{#([^\s{}#()]+)\}$")
_REFERENCE = re.compile(r"^\[(.*)\]\(#([^\s{}#()]+)\)$")
_SAID = re.compile(
    rf"^(.+?), ({'|'.join(re.escape(one) for one in STAGES if one != MERGED)}), (.+?):(\d+): (.+)$"
)
_LINKED = re.compile(r"^(\S+) in (\S.*)$")


def read_tree(path: str | Path) -> Tree:
    """Read a tree of problems from a file.

    Raises:
        TakebackError: the file can't be read, or a line of it is wrong: the message begins with FILE:LINE.
    """
    path = Path(path)
    missing = f"no tree at {path}; give a Markdown file with a list of problems"
    return parse_tree(read_text(path, missing, as_it_is=True), str(path))


def parse_tree(text: str, origin: str = "tree.md") -> Tree:
    r"""Read a tree of problems from the text of a file.

    Raises:
        TakebackError: a line is wrong: the message begins with ORIGIN:LINE.

    >>> front = "---\nauthor: Ada\ndate: 2026-11-20\nstage: before-reading\n---\n"
    >>> problems = "- too many weights\n  - no names for them {#names}\n    see: arXiv 2412.04758\n"
    >>> tree = parse_tree(front + problems)
    >>> [(node.words, node.id, node.own.see, node.line) for node in tree.walk()]
    [('too many weights', '', (), 6), ('no names for them', 'names', ('arXiv 2412.04758',), 7)]
    >>> parse_tree(front + "- too many weights\n  sea: arXiv 2412.04758\n", "a.md")
    Traceback (most recent call last):
    takeback.run.errors.TakebackError: a.md:7: unknown field 'sea': did you mean 'see' or 'said'? ...
    """
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    front, start = _front(lines, origin)
    body = next((k for k in range(start, len(lines)) if _ITEM.match(_bare(lines[k]))), len(lines))
    nodes = _List(origin).read(lines, body)
    if not nodes:
        raise _wrong(origin, len(lines) or 1, "there is no problem; write each as '- words'")
    head = ("".join(lines[:start]), "".join(lines[start:body]), front)
    newline = "\r\n" if lines[0].endswith("\r\n") else "\n"
    tree = Tree(front, nodes, re.split(r"[\\/]", origin)[-1], head, newline)
    _check_ids(tree, origin)
    return tree


@dataclass
class _Draft:
    """A problem while its lines are read."""

    line: int
    indent: int
    words: list[str]
    raw: list[str]
    notes: list[list[str]] = field(default_factory=list[list[str]])
    open_note: bool = False
    see: list[str] = field(default_factory=list[str])
    links: list[Link] = field(default_factory=list[Link])
    hats: list[str] = field(default_factory=list[str])
    was: list[str] = field(default_factory=list[str])
    said: list[Mention] = field(default_factory=list[Mention])
    children: list[_Draft] = field(default_factory=list["_Draft"])

    @property
    def has_more(self) -> bool:
        return bool(self.notes or self.see or self.links or self.hats or self.was or self.said)


@dataclass
class _List:
    origin: str

    def read(self, lines: list[str], start: int) -> tuple[Node, ...]:
        tops: list[_Draft] = []
        path: list[_Draft] = []
        for number, raw in enumerate(lines[start:], start + 1):
            bare = _bare(raw)
            if item := _ITEM.match(bare):
                indent = len(item[1].expandtabs(TAB))
                draft = _Draft(number, indent, (item[2] or "").split(), [raw])
                while path and path[-1].indent > indent:
                    path.pop()
                if path and path[-1].indent == indent:
                    path.pop()
                siblings = path[-1].children if path else tops
                if siblings and siblings[-1].indent != indent:
                    near = f"those beside it are indented by {siblings[-1].indent}, this by {indent}"
                    self.fail(number, f"the indentation fits no problem above; {near}")
                siblings.append(draft)
                path.append(draft)
            else:
                path[-1].raw.append(raw)
                self._below(path[-1], bare, number)
        return _built(tops, self)

    def fail(self, line: int, told: str) -> NoReturn:
        raise _wrong(self.origin, line, told)

    def _below(self, draft: _Draft, bare: str, number: int) -> None:
        """Read a line that is no problem: more words, a note or a field of the one above it."""
        words = bare.strip()
        if not words or (words.startswith("<!--") and words.endswith("-->")):
            draft.open_note = False
            return
        if len(bare[: len(bare) - len(bare.lstrip())].expandtabs(TAB)) <= draft.indent:
            self.fail(number, "this line belongs to no problem; indent it below one, or begin it with '- '")
        if words.startswith(">"):
            self._note(draft, words[1:].strip())
            return
        draft.open_note = False
        if found := _FIELD.match(words):
            self._field(draft, found[1], (found[2] or "").strip(), number)
        elif draft.has_more:
            self.fail(number, "after a note or a field come only notes ('> words') and fields ('see: link')")
        else:
            draft.words += words.split()

    def _note(self, draft: _Draft, words: str) -> None:
        if not words:
            draft.open_note = False
        elif draft.open_note:
            draft.notes[-1].append(words)
        else:
            draft.notes.append([words])
            draft.open_note = True

    def _field(self, draft: _Draft, name: str, value: str, number: int) -> None:
        if name not in FIELDS:
            self.fail(number, str(unknown_name("field", name, FIELDS)))
        if not value:
            self.fail(number, f"{name!r} is empty")
        if name in ("conjecture", "against"):
            if not (found := _LINKED.match(value)):
                self.fail(number, f"write '{name}: NAME in RUN', such as '{name}: rl-learns in runs/demo'")
            draft.links.append(Link(name, found[1], found[2]))
        elif name == "study":
            draft.links.append(Link(name, "", value))
        elif name == "said":
            if not (found := _SAID.match(value)):
                self.fail(number, "write 'said: AUTHOR, STAGE, FILE:LINE: words'")
            draft.said.append(Mention(found[1], found[2], found[3], int(found[4]), found[5]))
        else:
            {"see": draft.see, "hat": draft.hats, "was": draft.was}[name].append(value)


def _built(drafts: list[_Draft], reading: _List) -> tuple[Node, ...]:
    """Build nodes from drafts, the deepest first, so that any depth will do."""
    order, stack = list[_Draft](), list(drafts)
    while stack:
        order.append(one := stack.pop())
        stack += one.children
    made: dict[int, Node] = {}
    for one in reversed(order):
        own = _own(one, reading)
        if own.refers and (one.children or one.has_more):
            reading.fail(
                one.line, "what makes a problem hard, and what is said of it, stands where it has {#id}"
            )
        children = tuple(made.pop(id(child)) for child in one.children)
        made[id(one)] = Node(own, children, one.line, Source("".join(one.raw), one.indent, own))
    return tuple(made[id(one)] for one in drafts)


def _own(draft: _Draft, reading: _List) -> Own:
    words = " ".join(draft.words)
    name, refers = "", False
    if found := _REFERENCE.match(words):
        words, name, refers = found[1].strip(), found[2], True
    elif found := _ID.match(words):
        words, name = found[1], found[2]
    if not words:
        reading.fail(draft.line, "a problem without words")
    if "{#" in words:
        reading.fail(draft.line, "an id is one word without brackets at the end of a problem: {#word}")
    notes = tuple("\n".join(lines) for lines in draft.notes)
    own = Own(words, name, refers, notes, tuple(draft.see), tuple(draft.links), tuple(draft.hats))
    return own._replace(was=tuple(draft.was), said=tuple(draft.said))


def _front(lines: list[str], origin: str) -> tuple[Front, int]:
    """Read the front matter; return it and the number of lines that it takes."""
    if not lines or _bare(lines[0]).lstrip("\ufeff").strip() != "---":
        raise _wrong(origin, 1, "a tree begins with '---', author, date and stage, and '---' again")
    end = next((k for k in range(1, len(lines)) if _bare(lines[k]).strip() == "---"), None)
    if end is None:
        raise _wrong(origin, 1, "the front matter has no end; close it with '---'")
    try:
        fields = parse_yaml("".join(lines[1:end]), origin)
    except Unreadable as error:
        raise _wrong(origin, 1 + error.line, f"no YAML: {error.why}") from None
    if not isinstance(fields, dict):
        raise _wrong(origin, 2, "the front matter has no fields; it needs author, date and stage")

    lines_of = {line.split(":")[0].strip(): number for number, line in enumerate(lines[:end], 1)}
    return _checked(fields, lines_of, origin), end + 1


def _checked(fields: dict[Any, Any], lines_of: dict[str, int], origin: str) -> Front:
    """Check the fields of the front matter, given the line of each."""

    def line_of(name: object) -> int:
        return lines_of.get(str(name), 1)

    for name in fields:
        if name not in FRONT:
            raise _wrong(origin, line_of(name), str(unknown_name("field", str(name), FRONT)))
    for name in ("author", "date", "stage"):
        if fields.get(name) in (None, ""):
            raise _wrong(origin, line_of(name), f"the front matter needs {name}")
    stage = str(fields["stage"])
    if stage not in STAGES:
        raise _wrong(origin, line_of("stage"), str(unknown_name("stage", stage, STAGES)))
    return Front(
        " ".join(str(fields["author"]).split()),
        _date(fields["date"], origin, line_of("date")),
        stage,
        str(fields.get("extends") or ""),
        tuple(_names(fields.get("of"), origin, line_of("of"))),
    )


def _date(value: Any, origin: str, line: int) -> str:
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise _wrong(origin, line, f"{str(value)[:60]!r} is no date; write it as 2026-11-20") from None


def _names(value: Any, origin: str, line: int) -> Iterator[str]:
    if value is not None and not isinstance(value, list):
        raise _wrong(origin, line, "'of' is a list of file names")
    yield from map(str, value or ())


def _check_ids(tree: Tree, origin: str) -> None:
    """Raise for an id that two problems have, and for a reference to none."""
    lines: dict[str, int] = {}
    for node in tree.walk():
        if node.id and not node.own.refers:
            if node.id in lines:
                told = f"the id {node.id!r} is taken by line {lines[node.id]}; give this problem another"
                raise _wrong(origin, node.line, told)
            lines[node.id] = node.line
    for node in tree.walk():
        if node.own.refers and node.id not in lines:
            raise _wrong(origin, node.line, str(unknown_name("id", node.id, lines)))


def _bare(line: str) -> str:
    return line.rstrip("\r\n")


def _wrong(origin: str, line: int, told: str) -> TakebackError:
    return TakebackError(f"{origin}:{line}: {told}")
