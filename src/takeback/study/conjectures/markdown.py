"""What became of conjectures, in Markdown for a page of findings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pandas as pd

from takeback.draw.markdown import table
from takeback.draw.numbers import number

OF_CONJECTURES: Final = ("conjecture", "probability", "came out", "numbers")


def of_conjectures(decided: pd.DataFrame) -> str:
    """Write what was expected and what came out as a table."""
    outcomes = {True: "true", False: "**false**"}
    return table(
        OF_CONJECTURES,
        (
            (row.sentence, f"{row.probability:g}", outcomes.get(row.outcome, "undecided"), row.why)
            for row in decided.itertuples()
        ),
    )


def of_scores(decided: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Give how many conjectures came true, of how many, how many were expected to, and their Brier score."""
    known = decided[decided["outcome"].notna()]
    yield "came true", str(int(known["outcome"].sum()))
    yield "decided", str(len(known))
    yield "expected", number(float(known["probability"].sum()), 1)
    yield "brier", number(float(known["brier"].mean()), 2)
