"""Checking in on a project: what is unanswered, what rests on nothing, what is due, what changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from takeback.draw.result import section_of
from takeback.draw.terminal import print_section
from takeback.planning.checkin.front import at
from takeback.planning.checkin.heuristics import Heuristic
from takeback.planning.checkin.known import RunFacts, facts_of, told
from takeback.planning.checkin.project import DatedEntry, Project
from takeback.run.errors import TakebackError

ANSWERED, BARE, UNANSWERED = "answered", "no evidence", "unanswered"
STATES: Final[Mapping[str, str]] = {
    ANSWERED: "the last answer links to something that is there",
    BARE: "the last answer links to nothing, or only to files that are not there",
    UNANSWERED: "it has no dated answer",
}


@dataclass(frozen=True, slots=True)
class AnswerChange:
    """How an answer differs from the one before it.

    Attributes:
        question: its id.
        before, after: the two answers.
    """

    question: str
    before: DatedEntry
    after: DatedEntry

    @property
    def reworded(self) -> bool:
        """Whether the words differ."""
        return self.before.text.split() != self.after.text.split()

    @property
    def gained(self) -> tuple[str, ...]:
        """Links that only the later answer has."""
        return tuple(link for link in self.after.links if link not in self.before.links)

    @property
    def lost(self) -> tuple[str, ...]:
        """Links that only the earlier answer has."""
        return tuple(link for link in self.before.links if link not in self.after.links)


@dataclass(frozen=True, slots=True)
class QuestionState:
    """A question and how it stands.

    Attributes:
        heuristic: the question.
        state: one of `STATES`.
        answers: from the first to the last.
        missing: links of the last answer that lead to no file.
        known: what the tool itself says, in sentences.
    """

    heuristic: Heuristic
    state: str
    answers: tuple[DatedEntry, ...]
    missing: tuple[str, ...]
    known: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """How a project stands on a day.

    Attributes:
        project: what was checked.
        day: the day.
        standings: of every question, in order.
        runs: what the record of its runs says.
        away: runs that the project names and that are not here.
        last: the last check-in, None where there was none.
        due: when the next one is.
    """

    project: Project
    day: date
    standings: tuple[QuestionState, ...]
    runs: tuple[RunFacts, ...] = field(repr=False)
    away: tuple[str, ...]
    last: date | None
    due: date

    @property
    def is_due(self) -> bool:
        """Whether the next check-in is due."""
        return self.day >= self.due

    @property
    def left(self) -> timedelta:
        """How long until the next check-in; negative where it is overdue."""
        return self.due - self.day

    @property
    def changes(self) -> list[AnswerChange]:
        """Every later answer beside the one before it, by question."""
        return [
            AnswerChange(one.heuristic.id, *both) for one in self.standings for both in pairwise(one.answers)
        ]

    def in_state(self, state: str) -> list[QuestionState]:
        """Return the questions in a state."""
        return [one for one in self.standings if one.state == state]

    def plain(self) -> dict[str, Any]:
        """Return it as values that go into JSON."""
        return {
            "project": self.project.name,
            "file": str(self.project.path),
            "date": str(self.day),
            "started": str(self.project.started),
            "last_check_in": str(self.last) if self.last else None,
            "next_check_in": str(self.due),
            "due": self.is_due,
            "source": self.project.heuristics.source,
            "questions": [_plain(one) for one in self.standings],
            "changes": [_plain_change(one) for one in self.changes],
            "notes": [_plain_entry(one) for one in self.project.notes],
            "runs": [one.plain() for one in self.runs],
            "runs_not_here": list(self.away),
        }

    def print(self) -> None:
        """Print what a person needs to see first."""
        print_section(section_of(self))


def check(project: Project, day: date, runs: Iterable[str | Path] = ()) -> Check:
    r"""Check in on a project on a day.

    Runs that the project names may be elsewhere; those given here besides must be there.

    Raises:
        TakebackError: an answer is dated after the day, which names its line, or a run can't be read.

    >>> from takeback.planning.checkin.project import parse_project
    >>> front = "---\nname: a\nstarted: 2026-01-05\nevery: 2 weeks\n---\n"
    >>> project = parse_project(front + "## neglected\n### 2026-01-06\nNo.\n", "a.md")
    >>> found = check(project, date(2026, 1, 20))
    >>> found.is_due, str(found.due), [one.heuristic.id for one in found.in_state("no evidence")]
    (True, '2026-01-20', ['neglected'])
    """
    _not_after(project, day)
    named = {one: project.path.parent / one for one in project.runs}
    away = tuple(one for one, folder in named.items() if not (folder / "plan.yaml").exists())
    folders = [folder for one, folder in named.items() if one not in away]
    given = [Path(one) for one in runs]
    seen = {folder.resolve() for folder in folders}
    facts = tuple(map(facts_of, [*folders, *(one for one in given if one.resolve() not in seen)]))
    last = max(
        (*(one.day for each in project.answers.values() for one in each), *project.checked), default=None
    )
    return Check(
        project=project,
        day=day,
        standings=tuple(_standing(project, one, facts) for one in project.heuristics),
        runs=facts,
        away=away,
        last=last,
        due=(last or project.started) + project.every,
    )


def _standing(project: Project, heuristic: Heuristic, facts: Sequence[RunFacts]) -> QuestionState:
    answers = project.answers.get(heuristic.id, ())
    known = told(heuristic.knows, facts) if heuristic.knows else ()
    if not answers:
        return QuestionState(heuristic, UNANSWERED, (), (), known)
    links = answers[-1].links
    missing = tuple(link for link in links if (file := project.place(link)) is not None and not file.exists())
    state = ANSWERED if len(missing) < len(links) else BARE
    return QuestionState(heuristic, state, answers, missing, known)


def _not_after(project: Project, day: date) -> None:
    every = [one for each in project.answers.values() for one in each]
    for one in sorted([*every, *project.notes], key=lambda entry: entry.line):
        if one.day > day:
            raise at(project.path, one.line, f"{one.day} is after the day of the check-in, {day}")
    for one in (project.started, *project.checked):
        if one > day:
            raise TakebackError(f"{project.path}: {one} is after the day of the check-in, {day}")


def _plain(one: QuestionState) -> dict[str, Any]:
    return {
        "id": one.heuristic.id,
        "question": one.heuristic.question,
        "state": one.state,
        "answers": [_plain_entry(entry) for entry in one.answers],
        "missing": list(one.missing),
        "tool_says": list(one.known),
    }


def _plain_entry(one: DatedEntry) -> dict[str, Any]:
    told = {"date": str(one.day), "by": one.by, "hat": one.hat, "verdict": one.verdict}
    return {**told, "text": one.text, "evidence": list(one.links), "line": one.line}


def _plain_change(one: AnswerChange) -> dict[str, Any]:
    return {
        "question": one.question,
        "from": str(one.before.day),
        "to": str(one.after.day),
        "verdict_before": one.before.verdict,
        "verdict_after": one.after.verdict,
        "reworded": one.reworded,
        "evidence_gained": list(one.gained),
        "evidence_lost": list(one.lost),
    }
