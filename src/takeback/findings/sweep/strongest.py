"""The strongest sets of a sweep, each beside the random sets that are like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from takeback.findings.sweep.run import DIRECTIONS, MATCHES
from takeback.findings.sweep.sets import CONTROLS
from takeback.measure.measures import typed

COLUMNS: Final[Mapping[str, str]] = {
    "direction": "take back: tuned with the set from base; graft: base with the set from tuned",
    "family, set": "what was put back or in",
    "effect, low, high": "on the measure, with its 95% interval over situations",
    "random": "how many random sets are like it in make-up and size",
    "random_low, random_high": "the least and the largest of their effects; missing where there are none",
    "beyond": "whether its interval leaves out 0, and it is larger in size than every one of them",
}
"""What the columns mean."""


_NAMES: Final = tuple(name for names in COLUMNS for name in names.split(", "))


def moved_most(effects: pd.DataFrame, measures: Sequence[str]) -> str | None:
    """Return the one of some measures on which a set that is no random one has the largest effect, if any."""
    some = effects[effects["measure"].isin(measures) & ~effects["family"].isin(CONTROLS)]
    some = some[some["effect"].notna()]
    largest = some.sort_values("effect", key=abs, ascending=False, kind="stable").head(1)
    return next((str(name) for name in largest["measure"]), None)


def strongest(effects: pd.DataFrame, measure: str, n: int = 5) -> pd.DataFrame:
    """Return the n sets of each direction whose effect on a measure is largest in size, largest first.

    Args:
        effects: a sweep's table.
        measure: the name of a measure that is in it.
        n: how many of each direction.

    Returns:
        The columns of `COLUMNS`.
    """
    rows: list[dict[str, Any]] = []
    for direction in DIRECTIONS:
        some = effects[(effects["direction"] == direction) & (effects["measure"] == measure)]
        at_random = some["family"].isin(CONTROLS)
        drawn = some[at_random]
        like = drawn["matches"].str.split(MATCHES, regex=False).explode()
        asked = some[~at_random].drop_duplicates("components")
        for row in asked.iloc[(-asked["effect"].abs()).argsort(kind="stable")[:n]].to_dict("records"):
            beside = drawn.loc[like.index[like == row["set"]], "effect"]
            told = pd.notna(row["low"]) and row["low"] * row["high"] > 0
            rows.append(
                {
                    **{name: row[name] for name in ("direction", "family", "set", "effect", "low", "high")},
                    "random": len(beside),
                    "random_low": beside.min() if len(beside) else None,
                    "random_high": beside.max() if len(beside) else None,
                    "beyond": told and bool(len(beside)) and abs(row["effect"]) > beside.abs().max(),
                }
            )
    return typed(
        pd.DataFrame(rows, columns=list(_NAMES)), ("effect", "low", "high", "random_low", "random_high")
    )
