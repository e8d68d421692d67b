"""Predictions for people: what came out, scores, and how forecasts compare with what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from takeback.draw.numbers import count, number, percent
from takeback.draw.page import Section, Table
from takeback.draw.terminal import print_tables
from takeback.run.tables import records
from takeback.study.conjectures.show import figures, score_table

if TYPE_CHECKING:
    from takeback.planning.predictions.predictions import Predictions

TITLE: Final = "Predictions"

NOTES: Final = (
    "Brier score: squared distance of the probability from what came out; always saying 50% scores 0.25. "
    "Log score in bits: always saying 50% scores 1. Lower is better in both. What is open, was changed after "
    "it was written down, or was written by hand, is in no score.",
    "Predictions about one person are not independent of each other: the band, which takes them as "
    "independent, is too narrow for them.",
)

_ON_TERMINAL: Final = ("prediction", "about", "author", "probability", "outcome", "Brier", "bits")


def as_section(found: Predictions) -> Section:
    """Draw each author's forecasts beside what happened, then the tables."""
    from takeback.planning.predictions.predictions import COUNTED

    scored = found.predictions[found.predictions["edit"].isin(COUNTED)]
    tables = (_outcomes(found), score_table(found.scores))
    return Section(TITLE, _words(found), tuple(figures(scored, "prediction")), tables, (), NOTES)


def print_predictions(found: Predictions) -> None:
    """Print what was predicted, what came out, and the scores."""
    outcomes = _outcomes(found)
    shown = [outcomes.head.index(name) for name in _ON_TERMINAL]
    short = Table(_ON_TERMINAL, tuple(tuple(row[k] for k in shown) for row in outcomes.rows), outcomes.words)
    print_tables(TITLE, _words(found), [short])
    print_tables("", [f"{row['name']}: {row['statement']}" for row in records(found.predictions)], [])
    if len(found.scores):
        print_tables("", [], [score_table(found.scores)])


def _words(found: Predictions) -> tuple[str, ...]:
    from takeback.planning.predictions.predictions import AS_MADE

    table = found.predictions
    true, false = (int((table["outcome"] == one).sum()) for one in (True, False))
    left = len(table) - true - false
    told = f"{count(len(table), 'prediction')}: {true} true, {false} false, {left} open."
    edited = table[table["edit"] != AS_MADE]
    if edited.empty:
        return (told,)
    names = ", ".join(f"{name} ({edit})" for name, edit in zip(edited["name"], edited["edit"], strict=True))
    return told, f"Not as made: {names}."


def _outcomes(found: Predictions) -> Table:
    words = ("prediction", "kind", "about", "author", "made", "outcome", "since it was made", "statement")
    rows = tuple(
        (
            row["name"],
            row["kind"],
            row["about"],
            row["author"],
            row["predicted"],
            percent(row["probability"]),
            "open" if row["outcome"] is None else "true" if row["outcome"] else "false",
            number(row["brier"]),
            number(row["log_score"], 2),
            row["edit"],
            " ".join(part for part in (row["statement"], row["because"]) if part),
        )
        for row in records(found.predictions)
    )
    head = ("prediction", "kind", "about", "author", "made", "probability", "outcome", "Brier", "bits")
    return Table((*head, "since it was made", "statement"), rows, words)
