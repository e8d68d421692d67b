"""What several runs of an arm agree on: the same findings, their means over runs and how far runs differ.

An interval over situations says what other situations would give. That over runs says what another training
run would: it is the one that a claim about a way of training needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from takeback.draw.result import Result, as_table
from takeback.findings.localise.orders import RANDOM
from takeback.findings.sweep.sets import CONTROLS
from takeback.run.errors import TakebackError
from takeback.run.stats import mean_estimate
from takeback.run.tables import records

SAID: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "shares": (("measure", "direction", "family", "set"), ("carried", "controls_carried")),
    "areas": (("measure", "direction", "order", "draw", "against"), ("area",)),
    "carriers": (
        ("measure", "direction", "order"),
        ("n_components", "carried", "also", "needed", "random_median", "controls_carried"),
    ),
    "groups": (("measure", "direction", "family", "group"), ("joint", "singles", "excess")),
    "shapley": (("measure", "player"), ("value",)),
    "strength": (("measure", "family", "set", "degree"), ("value", "excess")),
    "directions": (("measure", "what", "directions", "k", "scaled", "seed"), ("value",)),
    "sources": (("measure", "family", "set", "source"), ("effect", "beside")),
}
"""By table, the columns that tell a row from another in every run, and the columns that are compared."""

COLUMNS: Mapping[str, str] = {
    "table": "the table that the number is from",
    "row": "which row of it, by the columns that name it",
    "column": "which column",
    "mean": "mean over runs",
    "low": "lower end of its 95% interval by the spread of runs (Student's t); missing with one run",
    "high": "upper end",
    "runs": "runs that have the row",
    "least": "the least of them",
    "most": "the most of them",
}
"""What each column of the table means."""


@dataclass(frozen=True, eq=False, repr=False)
class Across(Result):
    """Holds means over runs: a row of `COLUMNS` for each number that the runs have in common."""

    name = "across"
    runs: tuple[str, ...]
    table: pd.DataFrame = field(metadata=as_table("across", COLUMNS))


def across(found: Mapping[str, Mapping[str, pd.DataFrame]]) -> Across:
    """Compare the same tables of several runs, by the name of the run and of the table.

    Random sets are left out as rows; what they carry beside real sets is in columns of theirs.

    Raises:
        TakebackError: the runs have no table in common that can be compared.
    """
    common = [name for name in SAID if all(name in tables for tables in found.values())]
    if not common:
        raise TakebackError(f"the runs have none of the tables {', '.join(SAID)} in common")
    compared = [_compared(name, [tables[name] for tables in found.values()]) for name in common]
    return Across(f"{len(found)} runs", tuple(found), pd.concat(compared, ignore_index=True))


def _compared(name: str, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    keys, columns = SAID[name]
    rows = pd.concat(tables, ignore_index=True)
    if "family" in keys:
        rows = rows[~rows["family"].isin(CONTROLS)]
    if "draw" in keys:
        rows = rows[rows["order"] != RANDOM]
    found: list[dict[str, object]] = []
    for _, group in rows.groupby(list(keys), sort=False, dropna=False):
        named = records(group[list(keys)].head(1))[0]
        row = " · ".join(str(part) for part in named.values() if part is not None)
        for column in columns:
            values = group[column].dropna().astype(float)
            if len(values):
                estimate = mean_estimate(values)
                found.append(
                    {
                        "table": name,
                        "row": row,
                        "column": column,
                        **{"mean": estimate.value, "low": estimate.low, "high": estimate.high},
                        "runs": len(values),
                        **{"least": values.min(), "most": values.max()},
                    }
                )
    kinds = dict.fromkeys(("mean", "low", "high", "least", "most"), "Float64") | {"runs": "Int64"}
    return pd.DataFrame(found, columns=list(COLUMNS)).astype(kinds)
