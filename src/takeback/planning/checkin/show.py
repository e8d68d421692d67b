"""A check-in for people: what is open first, then what the tool knows, then what changed."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator
from typing import Final

from takeback.draw.numbers import ABSENT, count
from takeback.draw.page import Section, Table
from takeback.draw.result import section_of
from takeback.planning.checkin.check import ANSWERED, BARE, UNANSWERED, AnswerChange, Check

_SHORT: Final = 72


@section_of.register
def _(found: Check) -> Section:
    """Draw how a project stands: what is open first, then what the record says, then what changed."""
    lists = {
        "Unanswered": [one.heuristic.question for one in found.in_state(UNANSWERED)],
        "Answered with no evidence": [one.heuristic.question for one in found.in_state(BARE)],
        "Links that lead nowhere": list(_missing(found)),
        "What the record says": list(_known(found)),
        "How answers changed": [_change(one) for one in found.changes],
        "Notes": [f"{one.day} {_author(one.by, one.hat)}{_first(one.text)}" for one in found.project.notes],
    }
    words, standings = tuple(_words(found)), _standings(found)
    told = {title: lines for title, lines in lists.items() if lines}
    return Section(
        found.project.name,
        words,
        tables=(
            standings,
            *(Table((title,), tuple((one,) for one in lines), (title,)) for title, lines in told.items()),
        ),
        terminal=(
            *(*words, standings, ""),
            *("\n".join([title, *map(_wrapped, lines)]) for title, lines in told.items()),
        ),
    )


def _words(found: Check) -> Iterator[str]:
    answered, bare, none = (len(found.in_state(state)) for state in (ANSWERED, BARE, UNANSWERED))
    number = count(len(found.standings), "question")
    yield f"{number}: {answered} answered with evidence, {bare} with none, {none} unanswered."
    days = abs(found.left.days)
    when = (
        "today"
        if not days
        else f"in {count(days, 'day')}"
        if not found.is_due
        else f"{count(days, 'day')} ago"
    )
    state = f"was due {when}" if found.is_due and days else f"is due {when}"
    last = (
        f"Last check-in {found.last}"
        if found.last
        else f"No check-in since the start on {found.project.started}"
    )
    yield f"{last}; the next {state} ({found.due})."
    if found.away:
        yield f"Runs that are named and not here: {', '.join(found.away)}."


def _standings(found: Check) -> Table:
    head = ("question", "state", "since", "answers", "evidence", "last answer")
    rows: list[tuple[str, ...]] = []
    for one in found.standings:
        last = one.answers[-1] if one.answers else None
        since, links, text = (
            (str(last.day), str(len(last.links) - len(one.missing)), _first(last.text, 40))
            if last
            else (ABSENT, ABSENT, ABSENT)
        )
        rows.append((one.heuristic.id, one.state, since, str(len(one.answers)), links, text))
    return Table(head, tuple(rows), ("question", "state", "since", "last answer"))


def _missing(found: Check) -> Iterator[str]:
    for one in found.standings:
        for link in one.missing:
            line = found.project.line_of(one.answers[-1], link)
            yield f"{found.project.path}:{line}: {link} ({one.heuristic.id})"


def _known(found: Check) -> Iterator[str]:
    for one in found.standings:
        if one.known:
            yield one.heuristic.question
            yield from (f"  {sentence}" for sentence in one.known)


def _wrapped(line: str) -> str:
    own = line[: len(line) - len(line.lstrip())]
    width = max(40, shutil.get_terminal_size().columns)
    return textwrap.fill(
        line.strip(),
        width,
        initial_indent=f"  {own}",
        subsequent_indent=f"    {own}",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _change(one: AnswerChange) -> str:
    before, after = one.before.verdict, one.after.verdict
    verdict = f" {before or 'open'} → {after or 'open'}" if before != after else f" {after or ''}".rstrip()
    told = [
        *([f"+{count(len(one.gained), 'link')}"] if one.gained else []),
        *([f"−{count(len(one.lost), 'link')}"] if one.lost else []),
        *(["reworded"] if one.reworded else ["as before"]),
    ]
    return f"{one.question}: {one.before.day} → {one.after.day}{verdict} ({', '.join(told)})"


def _author(by: str, hat: str) -> str:
    worn = f"with the hat of {hat}" if hat else ""
    who = ", ".join(part for part in (by, worn) if part)
    return f"{who}: " if who else ""


def _first(text: str, most: int = _SHORT) -> str:
    """Return how a text begins, its links as their words."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(text.replace("**", "").split()))
    return plain if len(plain) <= most else f"{plain[: most - 1].rstrip()}…"
