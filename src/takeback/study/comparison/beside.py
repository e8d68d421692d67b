"""Within runs: RL beside its control, and the contrasts that plans name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from takeback.measure.measures import typed
from takeback.run.power import LEVEL, noncentrality
from takeback.run.stats import dealt, permutation_test, smallest_p
from takeback.run.tables import read_table
from takeback.study.comparison.measures import MEASURES, PER_SEED, Runs
from takeback.study.definitions import TABLE, WHOLE_MODELS, check_same, definitions_in

_HEAD: Final = ("run", "goal", "measure", "one", "other", "difference")
_NUMBERS: Final = ("difference", "low", "high", "p", "smallest_p", "p_table", "bound", "detectable")
_PLANNED: Final = ("run", "base", "contrast", "definition", "measure", "estimate", "low", "high", "p_table")

Pair = tuple[Runs, Runs, Mapping[str, PER_SEED], Mapping[str, PER_SEED]]
"""An arm of RL and its control, and by measure the numbers of the training runs of each."""


def contrasted(one: Runs, other: Runs) -> bool:
    """Tell whether two arms differ in whether they are reinforced, and in nothing else that matters."""
    same = one.run == other.run and one.goal == other.goal
    same = same and one.plan.parent(one.arm) == other.plan.parent(other.arm)
    return same and one.by == "reward" and other.by == "imitation"


def beside(pairs: Iterable[Pair]) -> pd.DataFrame:
    """Set arms of RL beside their controls, with p over training runs: of a row, and over all rows.

    All measures of a pair are of the same runs, and are dealt out together (step-down maxT); pairs, and
    measures that other runs have, are put together by Bonferroni's inequality.
    """
    rows: list[dict[str, Any]] = []
    groups: dict[tuple[object, ...], list[_Two]] = {}
    for one, other, *measured in pairs:
        for name in MEASURES:
            left, right = (dict(side.get(name, {})) for side in measured)
            if len(left) < 2 or len(right) < 2:
                continue
            about = {"run": one.run, "goal": one.goal, "measure": name, "one": one.arm, "other": other.arm}
            rows.append(about)
            two = _Two(about, np.array(list(left.values())), np.array(list(right.values())))
            groups.setdefault((one.run, one.arm, other.arm, *left, None, *right), []).append(two)
    for group in groups.values():
        _fill(group, len(groups))
    return typed(pd.DataFrame(rows, columns=[*_HEAD, *_NUMBERS[1:], "seeds"]), _NUMBERS)


@dataclass(frozen=True, eq=False)
class _Two:
    """The runs of two arms, and the row that tells of them."""

    row: dict[str, Any]
    left: NDArray[np.float64]
    right: NDArray[np.float64]


def _fill(group: Sequence[_Two], groups: int) -> None:
    """Write the numbers of rows whose runs are dealt out together."""
    left = np.stack([two.left for two in group], axis=1)
    relabelled = dealt(left, np.stack([two.right for two in group], axis=1))
    critical = relabelled.critical(LEVEL / groups)
    effect = None if critical is None else noncentrality(relabelled.freedom, critical)
    for two, p in zip(group, relabelled.step_down(), strict=True):
        n, m = len(two.left), len(two.right)
        difference, reach = float(two.left.mean() - two.right.mean()), welch(two.left, two.right)
        pooled = ((n - 1) * two.left.var(ddof=1) + (m - 1) * two.right.var(ddof=1)) / (n + m - 2)
        two.row.update(
            {
                "difference": difference,
                "low": difference - reach,
                "high": difference + reach,
                "p": permutation_test(two.left, two.right),
                "smallest_p": smallest_p(n, m),
                "p_table": min(groups * float(p), 1.0),
                "bound": abs(difference) + reach,
                "detectable": None if effect is None else effect * math.sqrt(float(pooled) * (1 / n + 1 / m)),
                "seeds": min(n, m),
            }
        )


def planned(runs: Iterable[Runs]) -> pd.DataFrame:
    """Set contrasts of whole models that plans name side by side, as runs have estimated them.

    Raises:
        TakebackError: contrasts of one name mean different things in two runs.
    """
    tables: list[pd.DataFrame] = []
    told: list[tuple[str, Mapping[str, str]]] = []
    for one in runs:
        path = one.folder / TABLE
        table = read_table(path) if path.exists() else None
        told.append((one.run, definitions_in(one.folder, table)))
        if table is not None and "definition" in table:
            whole = table[table["table"] == WHOLE_MODELS]
            tables.append(whole.assign(run=one.run))
    check_same(told)
    head = [*_PLANNED, "bound", "detectable", "n"]
    found = pd.concat([table[head] for table in tables]) if tables else pd.DataFrame(columns=head)
    order = found["contrast"].drop_duplicates().tolist()
    found = found.sort_values("contrast", key=lambda c: c.map(order.index), kind="stable", ignore_index=True)
    return typed(found, ("estimate", "low", "high", "p_table", "bound", "detectable"))


def welch(one: ArrayLike, other: ArrayLike) -> float:
    """Return half the width of the 95% interval of a difference of means (Welch 1947)."""
    from scipy.special import stdtrit

    sides = np.asarray(one, np.float64), np.asarray(other, np.float64)
    parts = [float(np.var(side, ddof=1)) / len(side) for side in sides]
    if not sum(parts):
        return 0.0
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(side) - 1) for part, side in zip(parts, sides, strict=True)
    )
    return float(stdtrit(freedom, 0.975)) * math.sqrt(sum(parts))
