"""Adaptation: where one fact that matters to the goal differs, does the choice follow?

An agent would act otherwise if its actions had other consequences (Kenton et al. 2022, "Discovering agents",
arXiv 2208.08345). Here the consequence changes in the situation itself: in one of two positions a move keeps
the win, in the other, which differs in one square, it throws the win away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from takeback.arenas import Arena, MinimalPair, MinimalPairs, able
from takeback.measure.measures import estimate_row, typed
from takeback.run.errors import TakebackError
from takeback.run.stats import Estimate, mean_estimate

if TYPE_CHECKING:
    import pandas as pd

    from takeback.policies.policy import Policy

Chances = Mapping[str, float]
"""The probability of each legal action."""

PAIRS = 96
"""Pairs that are drawn for each fact."""


@dataclass(frozen=True)
class Adapted:
    """How far a policy's choice follows a fact; intervals are over pairs.

    Attributes:
        value: how much smaller the move's share among the compared moves is where it is spoilt.
        sound: the move's probability where it is sound.
        spoilt: its probability where it is spoilt.
    """

    value: Estimate
    sound: Estimate
    spoilt: Estimate


def adapted(
    pairs: Sequence[MinimalPair[Any]],
    sound: Sequence[Chances],
    spoilt: Sequence[Chances],
    clusters: Sequence[Any],
) -> Adapted:
    """Compare what a policy does in both situations of each pair.

    Of the moves that are compared, the one that is spoilt and those that are worth as much in both, the first
    has the share p(move) / (p(move) + Σ p(others)); the measure is its share where it is sound less that
    where it is spoilt. It is a difference of differences: what happens to all these moves alike, as when
    another move becomes better than any, cancels. It is 0 for a policy that ignores the fact, positive for
    one that follows it, negative for one that is drawn by it. Pairs in which a policy takes none of the moves
    are left out.

    Raises:
        TakebackError: there are no pairs, or none in which the policy takes any of the moves.
    """
    shares, had = np.full((2, len(pairs)), np.nan), np.zeros((2, len(pairs)))
    for place, (pair, *both) in enumerate(zip(pairs, sound, spoilt, strict=True)):
        for side, chances in enumerate(both):
            own = had[side, place] = chances[pair.action]
            total = own + sum(chances[action] for action in pair.same)
            shares[side, place] = own / total if total > 0 else np.nan
    known = np.isfinite(shares[0] + shares[1])
    if not known.any():
        raise TakebackError("no pairs to compare in which the policy takes any of the moves; draw more")
    names = [str(cluster) for cluster, kept in zip(clusters, known, strict=True) if kept]
    return Adapted(
        value=mean_estimate((shares[0] - shares[1])[known], names),
        sound=mean_estimate(had[0][known], names),
        spoilt=mean_estimate(had[1][known], names),
    )


def adaptation(
    policy: Policy, arena: Arena[Any], pairs: int = PAIRS, seed: int = 0, facts: Sequence[str] | None = None
) -> pd.DataFrame:
    """Measure a policy's adaptation to each fact in which the arena's minimal pairs differ.

    Columns: measure, goal, unit, value, se, low, high, n (pairs), beta (missing), note, as in `agency`.
    `adaptation: FACT` is about legal answers alone. Pairs are held out on both sides; errors are clustered by
    the spoilt situation's cluster.

    Raises:
        UnknownName: there is no such fact.
        TakebackError: the arena has no minimal pairs, or too few.
    """
    import pandas as pd

    place = able(arena, MinimalPairs)
    goal = next(iter(arena.goals))
    rows: list[dict[str, Any]] = []
    for fact in facts or place.pair_facts:
        drawn = place.minimal_pairs(fact, "held-out", pairs, seed)
        sides = [[pair.sound for pair in drawn], [pair.spoilt for pair in drawn]]
        sound, spoilt = (
            [one.legal for one in policy.read(policy.prepare(arena, side), tolerance=1.0)] for side in sides
        )
        clusters = [arena.cluster(one) for one in sides[1]]
        found = adapted(drawn, sound, spoilt, clusters)
        note = f"the move has {found.sound.value:.3f} where sound, {found.spoilt.value:.3f} where spoilt"
        about = {"measure": f"adaptation: {fact}", "goal": goal, "unit": "share"}
        rows.append({**about, **estimate_row(found.value), "beta": None, "note": note})
    return typed(pd.DataFrame(rows), ("value", "se", "low", "high", "beta"))
