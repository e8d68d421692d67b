"""The smallest set along each order that carries most of a change, tested on other situations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from takeback.draw.result import Result, as_table
from takeback.findings.localise.curves import Curves, Halves
from takeback.findings.localise.orders import RANDOM
from takeback.findings.localise.shares import GRAFT, Controls, Shares, at_least, carried, shares
from takeback.findings.sweep.sets import NamedSet
from takeback.run.errors import TakebackError
from takeback.run.tables import records

COLUMNS: Mapping[str, str] = {
    "measure": "what was measured",
    "direction": "take back: necessity; graft: sufficiency",
    "order": "what the order goes by",
    "wanted": "the share of the change that the set is to carry",
    "n_components": "how many components the smallest set has that carries so much where sets are selected",
    "of": "how many components there are",
    "parameters": "the share of all parameters that it is",
    "components": "which they are",
    "selected": "share of the change that the set carries in the situations to select on",
    "carried": "the same in the situations to evaluate on",
    "low": "lower end of its interval",
    "high": "upper end of its interval",
    "needed": "how many components the order needs for as much in the situations to evaluate on",
    "random_median": "how many random orders need there: the median",
    "random_low": "the fewest that one needs",
    "random_high": "the most that one needs",
    "p_size": "(1 + random orders that need no more than `needed`) / (1 + random orders)",
    "controls": "random sets of the same make-up",
    "controls_carried": "share of the change that these carry, mean",
    "p": "(1 + these that carry at least as much) / (1 + these), missing where there are none",
    "also": "share of the change that the set carries in the other direction, evaluated",
}
"""What each column of the table means."""

FAMILY = "carriers"


@dataclass(frozen=True, eq=False, repr=False)
class SmallestSets(Result):
    """Holds the smallest set for each order, measure and direction: a row of `COLUMNS`.

    Attributes:
        table: the sets, beside what random orders need.
        checked: the sets and random sets that match them, in the situations to evaluate on.
    """

    name = "carriers"
    table: pd.DataFrame = field(metadata=as_table("carriers", COLUMNS))
    checked: Shares

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """The tables by the name of their file."""
        return {"carriers": self.table, "carriers_checked": self.checked.table}

    @property
    def columns(self) -> Mapping[str, str]:
        """What each column means."""
        return {**self.checked.columns, **COLUMNS}


def smallest_sets(
    halves: Halves,
    found: Curves,
    controls: Controls,
    wanted: float = 0.9,
) -> SmallestSets:
    """Find the smallest set along each curve that carries `wanted` of the change, and test it.

    It is chosen in the situations to select on; what it carries is told in the others, beside random sets of
    the same make-up.

    Raises:
        TakebackError: `wanted` is not between 0 and 1, or what `shares` raises.
    """
    chosen = smallest(found.points, wanted)
    real = chosen[chosen["order"] != RANDOM]
    if real.empty:
        raise TakebackError("all orders are random; the smallest sets need another to compare with them")
    anatomy = halves.evaluation.anatomy
    sets = {text: NamedSet(FAMILY, text, anatomy.parse(text)) for text in real["components"]}
    checked = shares(halves.evaluation, list(sets.values()), controls)
    tested = smallest(found.points.assign(selected=found.points["share"]), wanted)
    rows = [_row(row, tested, checked.table, len(anatomy.universe)) for row in records(real)]
    return SmallestSets(checked.title, _typed(pd.DataFrame(rows).assign(wanted=wanted)), checked)


def smallest(points: pd.DataFrame, wanted: float = 0.9) -> pd.DataFrame:
    """Return the first row of each curve whose set carries `wanted` in the situations to select on.

    The full set carries all, so there is always one.

    Raises:
        TakebackError: `wanted` is not between 0 and 1.
    """
    if not 0 < wanted <= 1:
        raise TakebackError(f"the share to carry is between 0 and 1, such as 0.9, not {wanted}")
    values = [carried(share, way) for share, way in zip(points["selected"], points["direction"], strict=True)]
    enough = points.assign(selected=values)[[value >= wanted - 1e-9 for value in values]]
    return enough.sort_values("n_components", kind="stable").drop_duplicates(
        ["measure", "direction", "order", "draw"]
    )


def _row(row: Mapping[str, Any], tested: pd.DataFrame, checked: pd.DataFrame, of: int) -> dict[str, Any]:
    direction = row["direction"]
    lane = tested[(tested["measure"] == row["measure"]) & (tested["direction"] == direction)]
    random = lane.loc[lane["order"] == RANDOM, "n_components"].tolist()
    needed = int(lane.loc[lane["order"] == row["order"], "n_components"].iloc[0])
    same = checked[(checked["set"] == row["components"]) & (checked["measure"] == row["measure"])]
    own, other = (same[(same["direction"] == direction) == here].iloc[0] for here in (True, False))
    ends = [None if pd.isna(own[end]) else carried(own[end], direction) for end in ("low", "high")]
    low, high = ends if direction == GRAFT else reversed(ends)
    return {
        **{name: row[name] for name in COLUMNS if name in row},
        "of": of,
        **{name: own[name] for name in ("carried", "controls", "controls_carried", "p")},
        "low": low,
        "high": high,
        **(
            {"random_median": np.median(random), "random_low": min(random), "random_high": max(random)}
            if random
            else {}
        ),
        "needed": needed,
        "p_size": at_least([-count for count in random], -needed),
        "also": other["carried"],
    }


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    integers = ("n_components", "of", "needed", "random_low", "random_high", "controls")
    words = ("measure", "direction", "order", "components")
    kinds = {name: "Int64" if name in integers else "Float64" for name in COLUMNS if name not in words}
    return table.reindex(columns=list(COLUMNS)).astype(kinds)
