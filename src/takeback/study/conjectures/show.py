"""Conjectures for people: what came out, scores, and how forecasts compare with what happened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.numbers import ABSENT, count, number, percent
from takeback.draw.page import Figure, Section, Table
from takeback.draw.terminal import print_tables
from takeback.run.tables import records
from takeback.study.conjectures.lock import AS_LOCKED
from takeback.study.conjectures.scores import calibration, settled

if TYPE_CHECKING:
    from takeback.study.conjectures.resolve import Resolution

TITLE: Final = "Conjectures written before the run"

NOTES: Final = (
    "Brier score: squared distance of the probability from what came out; always saying 50% scores 0.25. "
    "Log score in bits: always saying 50% scores 1. Lower is better in both. What is unresolved, or was "
    "added or locked after the run began, is in no score; what was changed or removed later is scored as it "
    "was locked.",
    "Conjectures on one run share its data and stand or fall together more than chance would have it: the "
    "band, which takes them as independent, is too narrow for them.",
)


def as_section(found: Resolution) -> Section:
    """Draw each author's forecasts beside what happened, then the tables."""
    edited, tables = _edits(found), (_outcomes(found), score_table(found.scores))
    return Section(
        TITLE,
        _words(found),
        tuple(figures(found.conjectures[found.conjectures["brier"].notna()])),
        tables,
        tuple((f"{name}: the text locked, and now", table) for name, table in edited),
        NOTES,
    )


def print_resolution(found: Resolution) -> None:
    """Print what came out, why, the scores, and each text that was changed after the lock."""
    outcomes = _outcomes(found)
    names = tuple((row["name"], *cells[1:4], *cells[5:]) for row, cells in _cells(found, outcomes))
    short = Table((*outcomes.head[:4], *outcomes.head[5:]), names, outcomes.words)
    why = [f"{row['name']}: {row['why']}" for row in records(found.conjectures)]
    edited = [table for _, table in _edits(found)]
    print_tables(TITLE, _words(found), [short])
    print_tables("", why, [score_table(found.scores), *edited])


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


def _words(found: Resolution) -> tuple[str, ...]:
    table = found.conjectures
    true, false = int((table["outcome"] == True).sum()), int((table["outcome"] == False).sum())  # noqa: E712
    left = len(table) - true - false
    told = f"{count(len(table), 'conjecture')}: {true} true, {false} false, {left} undecided."
    edited = table[table["edit"] != AS_LOCKED]
    if edited.empty:
        return (told,)
    names = ", ".join(f"{name} ({edit})" for name, edit in zip(edited["name"], edited["edit"], strict=True))
    return told, f"Not as locked: {names}."


def _outcomes(found: Resolution) -> Table:
    words = ("conjecture", "author", "outcome", "why", "since the lock")
    rows = tuple(
        (
            f"{row['name']}: {row['sentence']}",
            row["author"],
            percent(row["probability"]),
            _came(row["outcome"]) if row["outcome"] is not None else row["state"],
            row["why"],
            number(row["brier"]),
            number(row["log_score"], 2),
            row["edit"],
        )
        for row in records(found.conjectures)
    )
    head = ("conjecture", "author", "probability", "outcome", "why", "Brier", "bits", "since the lock")
    return Table(head, rows, words)


def _cells(found: Resolution, table: Table) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    return zip(records(found.conjectures), table.rows, strict=True)


def score_table(scores: pd.DataFrame) -> Table:
    """Return a table of each author's scores."""
    head = (
        "author",
        "scored",
        "came true",
        "foretold",
        "Brier",
        "if right",
        "50% always",
        "bits",
        "50% always ",
    )
    rows = tuple(
        (
            row["author"],
            str(row["n"]),
            str(row["true"]),
            number(row["expected_true"], 1),
            number(row["brier"]),
            number(row["expected_brier"]),
            number(row["brier_half"]),
            number(row["log_score"], 2),
            number(row["log_score_half"], 2),
        )
        for row in records(scores)
    )
    return Table(head, rows, ("author",))


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


def _came(outcome: bool) -> str:
    return "true" if outcome else "false"
