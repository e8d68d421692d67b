"""Adaptation: where one fact that matters to the goal differs, does the choice follow?

An agent would act otherwise if its actions had other consequences (Kenton et al. 2022, "Discovering agents",
arXiv 2208.08345). Here the consequence changes in the situation itself: in one of two positions a move keeps
the win, in the other, which differs in one square, it throws the win away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from takeback.arenas import Arena, TwinArena, Twins
from takeback.behaviour.measures import estimate_row, typed
from takeback.behaviour.readout import Readouts
from takeback.errors import TakebackError
from takeback.stats import Estimate, mean_estimate

if TYPE_CHECKING:
    import pandas as pd

    from takeback.behaviour.policy import Policy

Floats = NDArray[np.float64]

PAIRS = 96
"""Pairs that are drawn for each fact."""


@dataclass(frozen=True)
class Adapted:
    """How far a policy's choice follows a fact; intervals are over pairs.

    Attributes:
        value: the probability that leaves the move that is spoilt, more than leaves an unspoilt move.
        sound: the move's probability where it is sound.
        spoilt: its probability where it is spoilt.
    """

    value: Estimate
    sound: Estimate
    spoilt: Estimate


def adapted(
    pairs: Sequence[Twins[Any]], sound: Readouts, spoilt: Readouts, clusters: Sequence[Any], if_legal: bool
) -> Adapted:
    """Compare a policy in both situations of each pair, as a difference of differences.

    For each pair it is p(move | sound) − p(move | spoilt), less the mean of the same over the moves that are
    worth as much in both: what merely comes of looking at another position is common to both. It is 0 for a
    policy that ignores the fact, and positive for one that follows it.

    Raises:
        TakebackError: there are no pairs.
    """
    if not pairs:
        raise TakebackError("no pairs to compare; draw some")
    moved, kept, before = (np.zeros(len(pairs)) for _ in range(3))
    for place, pair in enumerate(pairs):
        one, other = (_chances(side, place, if_legal) for side in (sound, spoilt))
        before[place] = one[pair.action]
        moved[place] = one[pair.action] - other[pair.action]
        kept[place] = np.mean([one[action] - other[action] for action in pair.same])
    names = [str(cluster) for cluster in clusters]
    value = mean_estimate(moved - kept, names)
    return Adapted(
        value=value,
        sound=mean_estimate(before, names),
        spoilt=mean_estimate(before - moved, names),
    )


def adaptation(
    policy: Policy, arena: Arena[Any], pairs: int = PAIRS, seed: int = 0, facts: Sequence[str] | None = None
) -> pd.DataFrame:
    """Measure a policy's adaptation to each fact in which the arena's twins differ.

    Columns: measure, goal, unit, value, se, low, high, n (pairs), beta (missing), note, as in `agency`.
    `adaptation: FACT` is a probability; it comes again, as `…, if legal`, given a legal answer. Pairs are
    held out on both sides; errors are clustered by the spoilt situation's cluster.

    Raises:
        UnknownName: there is no such fact.
        TakebackError: the arena has no twins, or too few.
    """
    import pandas as pd

    if not isinstance(arena, TwinArena):
        raise TakebackError(f"arena {arena.name} has no twins to compare; endgames has")
    goal = next(iter(arena.goals))
    rows: list[dict[str, Any]] = []
    for fact in facts or arena.twin_facts:
        drawn = arena.twins(fact, "held-out", pairs, seed)
        sides = [[pair.sound for pair in drawn], [pair.spoilt for pair in drawn]]
        sound, spoilt = (policy.read(policy.prepare(arena, side), tolerance=1.0) for side in sides)
        clusters = [arena.cluster(one) for one in sides[1]]
        for suffix in ("", ", if legal"):
            found = adapted(drawn, sound, spoilt, clusters, bool(suffix))
            note = f"the move has {found.sound.value:.3f} where sound, {found.spoilt.value:.3f} where spoilt"
            about = {"measure": f"adaptation: {fact}{suffix}", "goal": goal, "unit": "probability"}
            rows.append({**about, **estimate_row(found.value), "beta": None, "note": note})
    return typed(pd.DataFrame(rows), ("value", "se", "low", "high", "beta"))


def _chances(readouts: Readouts, place: int, if_legal: bool) -> dict[str, float]:
    chances = readouts.probabilities[readouts.span(place)]
    total = chances.sum() if if_legal else 1.0
    return dict(zip(readouts.actions[place], (chances / (total or 1.0)).tolist(), strict=True))
