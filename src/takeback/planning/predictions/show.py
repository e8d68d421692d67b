"""Predictions for people: what came out, scores, and how forecasts compare with what happened."""

from __future__ import annotations

from typing import Final

from takeback.draw.columns import Column, table_of
from takeback.draw.numbers import number, percent
from takeback.draw.page import Section
from takeback.draw.result import section_of
from takeback.planning.predictions.predictions import AS_MADE, COUNTED, Predictions
from takeback.run.tables import records
from takeback.study.conjectures.show import figures, score_table, told

NOTES: Final = (
    "Brier score: squared distance of the probability from what came out; always saying 50% scores 0.25. "
    "Log score in bits: always saying 50% scores 1. Lower is better in both. What is open, was changed after "
    "it was written down, or was written by hand, is in no score.",
    "Predictions about one person are not independent of each other: the band, which takes them as "
    "independent, is too narrow for them.",
)

_COLUMNS: Final = (
    Column("prediction", None, "name"),
    *map(Column, ("kind", "about", "author")),
    Column("made", None, "predicted"),
    Column("probability", percent),
    Column("outcome", lambda it: "open" if it is None else "true" if it else "false", words=True),
    Column("Brier", number, "brier"),
    Column("bits", number, "log_score", digits=2),
    Column("since it was made", None, "edit"),
    Column("statement", lambda *parts: " ".join(filter(None, parts)), "statement", "because", words=True),
)
_ON_TERMINAL: Final = ("prediction", "about", "author", "probability", "outcome", "Brier", "bits")


@section_of.register
def _(found: Predictions) -> Section:
    """Draw each author's forecasts beside what happened, then the tables."""
    scored = found.predictions[found.predictions["edit"].isin(COUNTED)]
    outcomes, scores = table_of(found.predictions, _COLUMNS), score_table(found.scores)
    words = told(found.predictions, "prediction", "open", AS_MADE)
    statements = [f"{row['name']}: {row['statement']}" for row in records(found.predictions)]
    return Section(
        "Predictions",
        words,
        tuple(figures(scored, "prediction")),
        (outcomes, scores),
        notes=NOTES,
        terminal=(
            *(*words, outcomes.only(*_ON_TERMINAL), "", *statements),
            *(("", scores) if len(found.scores) else ()),
        ),
    )
