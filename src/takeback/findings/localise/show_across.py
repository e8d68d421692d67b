"""Means over runs for people: those that sum the findings up, all others folded."""

from __future__ import annotations

import pandas as pd

from takeback.draw.columns import Column, table_of
from takeback.draw.numbers import ABSENT, interval, number, span
from takeback.draw.page import Section, Table
from takeback.draw.result import section_of
from takeback.findings.localise.across import Across

SHOWN = ("carriers", "groups")
"""Tables whose means are shown on a page; all are in the Parquet table."""


@section_of.register
def _(found: Across) -> Section:
    """Show the means that sum the findings up, and fold all others."""
    shown = found.table["table"].isin(SHOWN)
    return Section(
        f"Over {len(found.runs)} runs",
        (
            f"The runs are {', '.join(found.runs)}. Intervals are by the spread of runs: they say what "
            "another run would give, where those of each run say what other situations would.",
        ),
        tables=(_means(found.table[shown]),),
        folded=(("All other means over runs", _means(found.table[~shown])),),
    )


def _means(rows: pd.DataFrame) -> Table:
    return table_of(
        rows,
        Column("table"),
        Column("row"),
        Column("column"),
        Column("mean", number),
        Column("95% over runs", _ends, "low", "high"),
        Column("least to most", span, "least", "most", write=number),
        Column("runs", str),
    )


def _ends(low: float | None, high: float | None) -> str:
    return ABSENT if low is None else interval(low, high)
