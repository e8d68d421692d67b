"""What the tables of all findings share: Markdown, keys, and what became of conjectures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import pandas as pd

from takeback.draw.numbers import number

OF_CONJECTURES: Final = ("conjecture", "probability", "came out", "numbers")


def table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Write a table in Markdown.

    >>> print(table(("arm", "gain"), [("rl | win", "0.1")]))
    | arm | gain |
    | --- | --- |
    | rl \| win | 0.1 |
    """
    names = list(head)
    lines = [names, ["---"] * len(names), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def slug(key: str) -> str:
    """Write a key as it stands in a page.

    >>> slug("mean in tuned rl-win  takeback")
    'mean-in-tuned-rl-win-takeback'
    """
    return re.sub(r"[^a-z0-9]+", "-", key.lower())


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
