"""Pictures of a tree: a page that folds and can be searched, and an SVG."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Final

from takeback.draw.page import colours, environment
from takeback.draw.svg import FAINT, INK, SOFT, coordinate, drawing, element, text
from takeback.planning.trees.evidence import STATES, TALK, Evidence
from takeback.planning.trees.tree import Tree
from takeback.planning.trees.view import COLOURS, TreeRow, people_colour, rows_of, summary, told
from takeback.run.errors import unknown_name
from takeback.run.files import atomic_file

NONE: Final[Mapping[str, tuple[Evidence, ...]]] = {}
OPEN_BELOW: Final = 80
"""A tree of at most so many problems is unfolded; of a larger one two levels are."""

_LETTERS: Final = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', Arial, sans-serif"
_STEP, _LINE, _ROOM, _TOP, _WRAP, _LETTER = 22.0, 15.0, 7.0, 42.0, 96, 6.6


def write_picture(tree: Tree, path: str | Path, evidence: Mapping[str, tuple[Evidence, ...]] = NONE) -> None:
    """Write a tree as one HTML file or as SVG, by the end of the file's name.

    Raises:
        UnknownName: the name ends in neither.
        TakebackError: problems make each other hard in a circle, or the disk refuses.
    """
    path = Path(path)
    draws = {".html": as_page, ".svg": as_svg}
    if path.suffix not in draws:
        raise unknown_name("kind of picture", path.suffix, draws)
    picture = draws[path.suffix](tree, evidence)
    with atomic_file(path) as draft:
        draft.write_bytes(picture.encode("utf-8"))


def as_page(tree: Tree, evidence: Mapping[str, tuple[Evidence, ...]] = NONE) -> str:
    """Return a tree as one HTML file that needs no network: it folds, and can be searched.

    Args:
        tree: of problems.
        evidence: what records say of them (`takeback.planning.trees.evidence_of`).

    >>> from takeback.planning.trees.tree import Front, Node, Own
    >>> tree = Tree(Front("Ada", "2026-11-20", "before-reading"), (Node(Own("a < b")),))
    >>> "a &lt; b" in as_page(tree)
    True
    """
    rows = list(rows_of(tree, evidence))
    most = rows[0].most
    few = sum(not row.own.refers for row in rows) <= OPEN_BELOW
    return (
        environment(Path(__file__).parent)
        .get_template("tree.html.j2")
        .render(
            title=rows[0].own.words if _is_single(rows) else tree.name,
            summary=summary(tree, rows),
            front=tree.front,
            rows=rows,
            opened=lambda row: few or row.depth < 2,
            told=told,
            states=[(state, COLOURS[state]) for state in STATES if any(row.state == state for row in rows)],
            people=[(k, people_colour(k, most)) for k in _legend(most)],
            colours=COLOURS,
            **colours(),
        )
    )


def _is_single(rows: list[TreeRow]) -> bool:
    return sum(row.depth == 0 for row in rows) == 1


def _legend(most: int) -> list[int]:
    """Return the numbers of people that the legend shows."""
    return list(range(1, most + 1)) if most <= 5 else sorted({1, 2, round(most / 2), most})


def as_svg(tree: Tree, evidence: Mapping[str, tuple[Evidence, ...]] = NONE) -> str:
    """Return a tree as SVG, a problem to a line: the number of people in a disc, the evidence beside it.

    >>> from takeback.planning.trees.tree import Front, Node, Own
    >>> tree = Tree(Front("Ada", "2026-11-20", "before-reading"), (Node(Own("a < b")),))
    >>> as_svg(tree).startswith("<svg"), ">a &lt; b<" in as_svg(tree)
    (True, True)
    """
    rows = list(rows_of(tree, evidence))
    parts, lines = _key(rows), list[str]()
    y, width = _TOP, 520.0
    last: dict[int, float] = {}
    for row in rows:
        wrapped = textwrap.wrap(row.own.words, _WRAP) or [row.own.words]
        x = 14 + _STEP * row.depth
        if row.depth:
            above = last[row.depth - 1]
            bend = f"M{coordinate(x - _STEP)} {coordinate(above + 9)}V{coordinate(y)}H{coordinate(x - 9)}"
            lines.append(element("path", d=bend, fill="none", stroke=FAINT))
        last[row.depth] = y
        parts += _row(row, x, y, wrapped)
        width = max(width, x + 34 + _LETTER * max(map(len, wrapped)))
        y += _LINE * len(wrapped) + _ROOM
    picture = drawing(width, y, [*lines, *parts], f"{rows[0].own.words}: {summary(tree, rows)}")
    return picture.replace('font-family="inherit"', f'font-family="{_LETTERS}"', 1)


def _row(row: TreeRow, x: float, y: float, wrapped: list[str]) -> list[str]:
    fill, ink = row.fill
    if row.own.refers:
        parts = [text(x - 4, y + 4, "↗", colour=SOFT)]
    else:
        disc = element("circle", cx=x, cy=y, r=8, fill=fill, stroke=SOFT, stroke_width=0.5, title=row.title)
        parts = [disc, text(x, y + 4, str(row.people), "middle", 10, ink)]
        parts.append(_mark(x + 18, y, row))
    colour = SOFT if row.own.refers else INK
    left = x + 12 if row.own.refers else x + 28
    for place, words in enumerate(wrapped):
        parts.append(text(left, y + 4 + _LINE * place, words, colour=colour))
    return parts


def _mark(x: float, y: float, row: TreeRow) -> str:
    """Draw the state of a problem: a filled square where a run decided, an open one where none did yet."""
    if row.state == TALK:
        return element("circle", cx=x, cy=y, r=1.5, fill=FAINT)
    title = "; ".join(map(told, row.evidence))
    return element("rect", x=x - 5, y=y - 5, width=10, height=10, rx=2, fill=COLOURS[row.state], title=title)


def _key(rows: list[TreeRow]) -> list[str]:
    parts, x = list[str](), 14.0
    for people in _legend(rows[0].most):
        fill, ink = people_colour(people, rows[0].most)
        parts.append(element("circle", cx=x, cy=14, r=8, fill=fill, stroke=SOFT, stroke_width=0.5))
        parts.append(
            element("text", escape(str(people)), x=x, y=18, text_anchor="middle", font_size=10, fill=ink)
        )
        x += 20
    words = "people" if rows[0].most > 1 else "person"
    parts.append(text(x - 6, 18, words))
    x += 44
    for state in STATES[:-1]:
        if any(row.state == state for row in rows):
            parts.append(element("rect", x=x, y=9, width=10, height=10, rx=2, fill=COLOURS[state]))
            parts.append(text(x + 15, 18, state))
            x += 30 + _LETTER * len(state)
    return parts
