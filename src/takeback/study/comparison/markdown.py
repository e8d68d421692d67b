"""A comparison as Markdown: its tables, and each of its numbers by key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from takeback.draw.markdown import slug, table
from takeback.draw.numbers import ABSENT, interval, number, percent, signed
from takeback.run.tables import records

HEAD = ("run", "contrast", "measure", "difference", "p", "p, whole table", "no larger than", "would be seen")


def of_comparison(means: pd.DataFrame, contrasts: pd.DataFrame) -> dict[str, str]:
    """Return a table of each run by its name, `contrasts`, and every number by key.

    Keys of numbers are RUN-ARM-MEASURE and RUN-ONE-less-OTHER-MEASURE, as plain words; with `-value` or
    `-percent` behind them they have no interval, and with `-p` they are the p-value of a difference.

    Args:
        means: the table of a `Comparison`.
        contrasts: the table of a `Comparison`.
    """
    told = {str(run): table(*_arms(rows)) for run, rows in means.groupby("run", sort=False)}
    told["contrasts"] = table(HEAD, _contrasts(contrasts))
    for row in records(means):
        name = f"{row['run']} {row['arm']} {row['measure']}"
        told[name], told[f"{name} value"] = _mean(row), number(row["value"])
        told[f"{name} percent"] = percent(row["value"])
    for row in records(contrasts):
        name = f"{row['run']} {row['one']} less {row['other']} {row['measure']}"
        told[name], told[f"{name} value"] = _difference(row), signed(row["difference"])
        told[f"{name} p"] = number(row["p"], 4)
    return {slug(name): text for name, text in told.items()}


def _arms(rows: pd.DataFrame) -> tuple[tuple[str, ...], Iterator[tuple[str, ...]]]:
    """Return the head and the rows of one run's table: measures by arm."""
    arms = tuple(dict.fromkeys(rows["arm"]))
    cells = {(row["measure"], row["arm"]): _mean(row) for row in records(rows)}
    measures = dict.fromkeys(rows["measure"])
    body = ((name, *(cells.get((name, arm), ABSENT) for arm in arms)) for name in measures)
    return (str(rows["run"].iloc[0]), *(f"`{arm}`" for arm in arms)), body


def _contrasts(rows: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    for row in records(rows):
        about = row["run"], f"`{row['one']}` − `{row['other']}`", row["measure"], _difference(row)
        tests = (
            number(row["p"], 4),
            number(row["p_table"], 4),
            number(row["bound"]),
            number(row["detectable"]),
        )
        yield *about, *tests


def _mean(row: dict[str, Any]) -> str:
    if row["low"] is None:
        return number(row["value"])
    return f"{number(row['value'])} {interval(row['low'], row['high'])}"


def _difference(row: dict[str, Any]) -> str:
    if row["difference"] is None or row["low"] is None:
        return signed(row["difference"])
    return f"{signed(row['difference'])} {interval(row['low'], row['high'])}"
