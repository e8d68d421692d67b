"""Conjectures for people: what came out, scores, and how forecasts compare with what happened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd

from takeback.draw.columns import Column, table_of
from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.numbers import ABSENT, count, number, percent
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.run.tables import records
from takeback.study.conjectures.lock import AS_LOCKED
from takeback.study.conjectures.resolve import Resolution
from takeback.study.conjectures.scores import calibration, settled

NOTES: Final = (
    "Brier score: squared distance of the probability from what came out; always saying 50% scores 0.25. "
    "Log score in bits: always saying 50% scores 1. Lower is better in both. What is unresolved, or was "
    "added or locked after the run began, is in no score; what was changed or removed later is scored as it "
    "was locked.",
    "Conjectures on one run share its data and stand or fall together more than chance would have it: the "
    "band, which takes them as independent, is too narrow for them.",
)


@section_of.register
def _(found: Resolution) -> Section:
    """Draw each author's forecasts beside what happened, then the tables."""
    edited, tables = _edits(found), (table_of(found.conjectures, *_IN_FULL), score_table(found.scores))
    short = table_of(found.conjectures, *_ON_TERMINAL)
    why = [f"{row['name']}: {row['why']}" for row in records(found.conjectures)]
    words = told(found.conjectures, "conjecture", "undecided", AS_LOCKED)
    return Section(
        "Conjectures written before the run",
        words,
        tuple(figures(found.conjectures[found.conjectures["brier"].notna()])),
        tables,
        tuple((f"{name}: the text locked, and now", table) for name, table in edited),
        NOTES,
        (*words, short, "", *why, tables[1], *(table for _, table in edited)),
    )


def figures(predictions: pd.DataFrame, noun: str = "conjecture") -> Iterator[Figure]:
    """Draw each author's calibration: how many of the least probable predictions came true.

    `predictions` has `author`, `probability` and `outcome`; those that nothing decided are left out. `noun`
    is what one is called.
    """
    for author in dict.fromkeys(predictions["author"]):
        p, o = settled(predictions[predictions["author"] == author])
        if not p:
            continue
        course = calibration(p, o)
        band = tuple(
            Point(k, mean, max(0.0, mean - 2 * spread), min(float(k), mean + 2 * spread))
            for k, (mean, spread) in enumerate(zip(course.foretold, course.spread, strict=True))
        )
        titles = ["none", *(f"{percent(a)}: {_came(b)}" for a, b in zip(p, o, strict=True))]
        came = tuple(Point(k, n, title=titles[k]) for k, n in enumerate(course.came))
        series = (
            Series(-1, band, mark_every=0, band=True, dashed=True, name="sum of the probabilities"),
            Series(0, came, name="came true"),
        )
        ticks = tuple(map(float, range(0, len(p) + 1, -(-len(p) // 6))))
        axes = Axes(f"{noun}s, the least probable first", (0.0,), (0.0,), x_ticks=ticks)
        label = f"how many {noun}s of {author} came true, beside the sum of their probabilities"
        note = (
            f"Of {count(len(p), noun)}, {sum(o)} came true; the probabilities add up to "
            f"{number(course.foretold[-1], 1)} ± {number(course.spread[-1], 1)}. The band is two standard "
            f"deviations, if the probabilities are right and the {noun}s independent."
        )
        yield Figure.of(author, line_plot(series, axes, label), note)


def told(predictions: pd.DataFrame, noun: str, undecided: str, unchanged: str) -> tuple[str, ...]:
    """Say how many predictions came true, and which were changed since: those whose `edit` is another."""
    outcomes = predictions["outcome"].astype("boolean")
    true, false = int(outcomes.sum()), int((~outcomes).sum())
    left = len(predictions) - true - false
    counts = f"{count(len(predictions), noun)}: {true} true, {false} false, {left} {undecided}."
    edited = predictions[predictions["edit"] != unchanged]
    if edited.empty:
        return (counts,)
    names = ", ".join(f"{name} ({edit})" for name, edit in zip(edited["name"], edited["edit"], strict=True))
    return counts, f"Not {unchanged}: {names}."


def _came(outcome: bool) -> str:
    return "true" if outcome else "false"


def _settled(outcome: bool | None, state: str) -> str:
    return state if outcome is None else _came(outcome)


_OUTCOME = (
    Column("author"),
    Column("probability", percent),
    Column("outcome", _settled, "outcome", "state", words=True),
)
_SCORES = (
    Column("Brier", number, "brier"),
    Column("bits", number, "log_score", digits=2),
    Column("since the lock", None, "edit"),
)
_SENTENCE = Column("conjecture", "{}: {}".format, "name", "sentence", words=True)
_IN_FULL = (_SENTENCE, *_OUTCOME, Column("why"), *_SCORES)
_ON_TERMINAL = (Column("conjecture", None, "name"), *_OUTCOME, *_SCORES)


def score_table(scores: pd.DataFrame) -> Table:
    """Return a table of each author's scores."""
    return table_of(
        scores,
        Column("author"),
        Column("scored", str, "n"),
        Column("came true", str, "true"),
        Column("foretold", number, "expected_true", digits=1),
        Column("Brier", number, "brier"),
        Column("if right", number, "expected_brier"),
        Column("50% always", number, "brier_half"),
        Column("bits", number, "log_score", digits=2),
        Column("50% always ", number, "log_score_half", digits=2),
    )


def _edits(found: Resolution) -> list[tuple[str, Table]]:
    """Return what was locked and what stands there now, of each conjecture that was changed or added."""
    tables: list[tuple[str, Table]] = []
    for row in records(found.conjectures):
        if row["now"]:
            locked = {} if row["edit"] == "added after" else row
            tables.append((row["name"], _both(locked, row["now"])))
    return tables


def _both(locked: dict[str, Any], now: str) -> Table:
    import json

    fields = json.loads(now)
    rows = tuple((name, str(locked.get(name, ABSENT)), str(value)) for name, value in fields.items())
    return Table((f"{fields['name']}", "locked", "now"), rows, (fields["name"], "locked", "now"))
