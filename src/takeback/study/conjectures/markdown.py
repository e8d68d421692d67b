"""What became of conjectures, in Markdown for a page of findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pandas as pd

from takeback.draw.markdown import table
from takeback.draw.numbers import number

OF_CONJECTURES: Final = ("conjecture", "probability", "came out", "numbers")


def of_conjectures(decided: pd.DataFrame) -> str:
    """Write what was expected and what came out as a table."""
    return table(OF_CONJECTURES, map(_row, decided.itertuples()))


def of_scores(decided: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Give how many conjectures came true, of how many, how many were expected to, and their Brier score.

    There is no score where none was locked in time.
    """
    known = decided[decided["outcome"].notna()]
    yield "came true", str(int(known["outcome"].sum()))
    yield "decided", str(len(known))
    yield "expected", number(float(known["probability"].sum()), 1)
    scored = known["brier"].dropna()
    yield "brier", number(float(scored.mean()) if len(scored) else None, 2)


def _row(one: Any) -> Sequence[str]:
    came = "undecided" if pd.isna(one.outcome) else "true" if one.outcome else "**false**"
    return one.sentence, f"{one.probability:g}", came, one.why
