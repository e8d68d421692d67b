"""Items that two policies answer differently: from pass to fail and back, with the exact test of McNemar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from takeback.measure.answers import likeliest
from takeback.measure.measure import Bools, Floats, Measure, MeasureContext
from takeback.measure.measures import typed
from takeback.measure.shift import check_same_situations
from takeback.measure.standard import utility
from takeback.policies.answers import AnswerReadouts

if TYPE_CHECKING:
    import pandas as pd

GAINED: Final = "gained"
"""From fail to pass."""

LOST: Final = "lost"
"""From pass to fail."""

COLUMNS: Final[Mapping[str, str]] = {
    "goal": "what answers are worth",
    "rule": "when an item passes",
    "passed_before": "items that pass before",
    "passed_after": "items that pass after",
    "gained": "items that failed and pass",
    "lost": "items that passed and fail",
    "p": "the exact test of McNemar: how likely a split as uneven of the flips is if both ways are as "
    "likely; items count as independent",
    "n": "items to which the goal applies",
}
"""What the columns of `flips` mean."""

ITEMS: Final[Mapping[str, str]] = {
    "item": "the situation's place",
    "before, after": "what the item's answer is worth",
    "change": "after − before; items are in the order of its size",
    "flip": "gained: from fail to pass; lost: from pass to fail; empty: neither",
}
"""What the columns of `flipped_items` mean."""


def flips(
    before: AnswerReadouts,
    after: AnswerReadouts,
    context: MeasureContext,
    bars: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Count by goal which items of listed answers went from pass to fail and from fail to pass.

    An item passes where what it is worth lies above a bar: of choices, what the likeliest one is worth; of a
    pool, the expected reward. The test is exact: of g + l flips, g are binomial with an even chance if
    both ways are as likely (McNemar 1947, Psychometrika 12(2)).

    Args:
        before: one policy.
        after: another one, in the same situations.
        context: what measures need of the arena.
        bars: the bar of each goal; by default midway between the least and the most that answers are worth.

    Returns:
        The columns of `COLUMNS`; no row for a goal that applies nowhere.

    Raises:
        TakebackError: the readouts are of different situations.
    """
    import pandas as pd
    from scipy.stats import binomtest

    rows: list[dict[str, Any]] = []
    for goal, (measure, bar) in _rules(before, context, bars or {}).items():
        old, new, kept = _sides(measure, before, after, context)
        if not kept.any():
            continue
        first, then = old[kept] > bar, new[kept] > bar
        gained, lost = int((then & ~first).sum()), int((first & ~then).sum())
        rows.append(
            {
                "goal": goal,
                "rule": f"{measure.name} above {bar:g}",
                "passed_before": int(first.sum()),
                "passed_after": int(then.sum()),
                "gained": gained,
                "lost": lost,
                "p": float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0,
                "n": int(kept.sum()),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def flipped_items(
    before: AnswerReadouts,
    after: AnswerReadouts,
    context: MeasureContext,
    bars: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Return a row for each goal and item, those that changed most first: see `flips` and `ITEMS`.

    Raises:
        TakebackError: the readouts are of different situations.
    """
    import pandas as pd

    tables: list[pd.DataFrame] = []
    for goal, (measure, bar) in _rules(before, context, bars or {}).items():
        old, new, kept = _sides(measure, before, after, context)
        order = np.argsort(-np.abs(new - old)[kept], kind="stable")
        places = np.flatnonzero(kept)[order]
        first, then = old[places] > bar, new[places] > bar
        tables.append(
            pd.DataFrame(
                {
                    "goal": goal,
                    "item": places,
                    "situation": np.array(before.situations, object)[places],
                    "cluster": np.array(before.clusters, object)[places],
                    "before": old[places],
                    "after": new[places],
                    "change": (new - old)[places],
                    "flip": np.select([then & ~first, first & ~then], [GAINED, LOST], ""),
                }
            )
        )
    names = ("goal", "item", "situation", "cluster", "before", "after", "change", "flip")
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(names))
    return typed(table, ("before", "after", "change"))


def _rules(
    readouts: AnswerReadouts, context: MeasureContext, bars: Mapping[str, float]
) -> dict[str, tuple[Measure, float]]:
    """Return by goal what an item's answer is worth, and the bar."""
    made = utility if readouts.drawn.any() else likeliest
    found: dict[str, tuple[Measure, float]] = {}
    for goal, worth in context.utilities.items():
        told = worth[context.applies[goal][context.owner]]
        middle = (float(told.min()) + float(told.max())) / 2 if len(told) else 0.0
        found[goal] = made(goal), bars.get(goal, middle)
    return found


def _sides(
    measure: Measure, before: AnswerReadouts, after: AnswerReadouts, context: MeasureContext
) -> tuple[Floats, Floats, Bools]:
    check_same_situations(before, after)
    old, new = (measure.of(one, context) for one in (before, after))
    return old.numbers, new.numbers, old.applies & new.applies
