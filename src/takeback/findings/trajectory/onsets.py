"""Onsets: from which snapshot on something stays told, in the policy and in each set, and by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from takeback.findings.trajectory.components import ALPHA, ROUNDING
from takeback.findings.trajectory.policies import typed
from takeback.run.tables import records

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Places = NDArray[np.int64]

PURSUIT, GAIN, SET = "pursuit share", "utility gain", "set"

ONSET_COLUMNS: Mapping[str, str] = {
    "what": "pursuit share or utility gain of the policy, or a set",
    "outcomes": "all, or if legal: over legal actions given a legal answer",
    "family": "the family of the set",
    "set": "its name",
    "components": "what is in it",
    "layer": "its layer, missing where it lies in several or in none",
    "onset": "the first snapshot from which on it stays told in all later ones; missing if never",
    "before": "the snapshot before that one: the onset lies after it",
    "begins": "whether a set's onset is no later than that of the policy's pursuit share, if that has one",
    "value": "the share, the gain or the effect at the last snapshot",
    "of_gain": "share of the gain that is lost without the set at the last snapshot",
}
"""What each column means. A set is told where taking it back lowers the goal's utility, all sets together."""

CHANCE_COLUMNS: Mapping[str, str] = {
    "step": "optimiser steps of the snapshot",
    "outcomes": "all, or if legal",
    "sets": "sets that were taken back",
    "told": "sets told to work for the goal at this snapshot",
    "expected": "so many at most by chance if none had an effect: half of 5% (Bonferroni, one direction)",
    "flipped": "so many with the signs of effects flipped at random, mean of all draws",
    "onsets": "sets whose onset is this snapshot",
    "flipped_onsets": "so many with flipped signs",
    "draws": "random flips, the same for all sets and snapshots; a cluster flips as one",
}
"""What each column of the control means."""

_WORDS = {"what", "outcomes", "family", "set", "components", "begins"}
_INTEGERS = {"layer", "onset", "before", "step", "sets", "told", "onsets", "draws"}

DRAWS = 400
"""Random flips of signs."""


@dataclass(frozen=True, eq=False)
class Effects:
    """The effects of sets in situations at every snapshot, for one kind of outcomes.

    Attributes:
        steps: the snapshots'.
        numbers: shape (snapshots, sets, n), NaN where unknown.
        clusters: each situation's, shape (n,).
    """

    steps: tuple[int, ...]
    numbers: Floats
    clusters: Places


def first_to_stay(passes: Bools) -> Places:
    """Return the first place along the first axis from which on all pass, −1 if even the last one does not.

    >>> first_to_stay(np.array([[True, False], [False, False], [True, False], [True, True]]))
    array([2, 3])
    >>> first_to_stay(np.array([[True], [False]]))
    array([-1])
    """
    tail = np.logical_and.accumulate(passes[::-1], axis=0).sum(axis=0)
    return np.where(tail > 0, len(passes) - tail, -1)


def onsets_of(policy: pd.DataFrame, components: pd.DataFrame) -> pd.DataFrame:
    """Find the onsets of the policy and of every set, in the columns of `ONSET_COLUMNS`.

    The policy's are where the interval of the signed pursuit share, or of the utility's gain, stays above 0;
    a set's where its effect stays told from 0, all sets of a snapshot together, and below it.

    Args:
        policy: a row for each snapshot and kind of outcomes; base is left out.
        components: a row for each snapshot, kind of outcomes and set.
    """
    rows: list[dict[str, Any]] = []
    after = policy[policy["step"] > 0]
    for kind, course in after.groupby("outcomes", sort=False):
        steps = course["step"].tolist()
        found: dict[str, int | None] = {}
        for what, column in ((PURSUIT, "pursuit"), (GAIN, "gain")):
            above = (course[f"{column}_low"] > 0) & (course[column] > ROUNDING)
            told = above.fillna(value=False).to_numpy(np.bool_)
            onset = _dated(int(first_to_stay(told[:, None])[0]), steps)
            found[what] = onset["onset"]
            last = records(course)[-1][column]
            rows.append({"what": what, "outcomes": kind, **onset, "value": last})
        rows += _of_sets(components[components["outcomes"] == kind], steps, found[PURSUIT])
    frame = pd.DataFrame(rows)
    table = typed(frame, ONSET_COLUMNS, _WORDS, _INTEGERS)
    return table.astype({"begins": "boolean"})


def by_chance(effects: Effects, seed: int = 0, draws: int = DRAWS) -> pd.DataFrame:
    """Count the sets that are told, and their onsets, beside the same with signs flipped at random.

    If no set had an effect and effects were symmetric around 0, every flip would be as likely as what was
    measured; the flips keep how effects hang together between sets, snapshots and situations of a cluster.

    Args:
        effects: of all sets and snapshots.
        seed: of the flips.
        draws: how many.

    Returns:
        The columns of `CHANCE_COLUMNS` but for outcomes.
    """
    sets, clusters = effects.numbers.shape[1], int(effects.clusters.max()) + 1
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(draws, clusters))
    real = np.stack([told_for_the_goal(one, effects.clusters)[0] for one in effects.numbers])
    flips = np.stack([told_for_the_goal(one, effects.clusters, signs) for one in effects.numbers])
    begun, flipped = first_to_stay(real), first_to_stay(flips)
    rows = [
        {
            "step": step,
            "sets": sets,
            "told": int(real[place].sum()),
            "expected": ALPHA / 2,
            "flipped": float(flips[place].sum(axis=1).mean()),
            "onsets": int((begun == place).sum()),
            "flipped_onsets": float((flipped == place).sum(axis=1).mean()),
            "draws": draws,
        }
        for place, step in enumerate(effects.steps)
    ]
    columns = {name: said for name, said in CHANCE_COLUMNS.items() if name != "outcomes"}
    return typed(pd.DataFrame(rows), columns, set(), _INTEGERS)


def told_for_the_goal(effects: Floats, clusters: Places, signs: Floats | None = None) -> Bools:
    """Return which sets' intervals lie below 0, all sets together, for each flip of signs; (draws, sets).

    As `mean_estimate` with Bonferroni's confidence says for each set and flip, by sums over clusters.

    Args:
        effects: shape (sets, n), NaN where unknown.
        clusters: shape (n,).
        signs: −1 or 1 for each draw and cluster, shape (draws, clusters); None for one draw of 1.
    """
    count = int(clusters.max()) + 1
    there = np.isfinite(effects)
    values = np.where(there, effects, 0.0)
    member = (clusters[:, None] == np.arange(count)).astype(np.float64)
    totals, sizes = values @ member, there.astype(np.float64) @ member
    flips = np.ones((1, count)) if signs is None else signs
    n = there.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = flips @ totals.T / n
        squares = np.maximum((values**2).sum(axis=1) - n * mean**2, 0.0)
        together = (totals**2).sum(axis=1) - 2 * mean * (flips @ (totals * sizes).T)
        sums = together + mean**2 * (sizes**2).sum(axis=1)
        error = np.sqrt(np.maximum(squares / (n * (n - 1)) + (sums - squares) / n**2, 0.0))
    known = (sizes > 0).sum(axis=1)
    quantile = special.stdtrit(np.maximum(known - 1, 1), 1 - ALPHA / len(effects) / 2)
    return (mean < -ROUNDING) & (mean + quantile * error < 0) & (known > 1)


def _of_sets(components: pd.DataFrame, steps: Sequence[int], pursuit: int | None) -> list[dict[str, Any]]:
    keys = ["family", "set", "components", "layer"]
    last = components[components["step"] == steps[-1]]
    works = components["told"].to_numpy(np.bool_) & (components["effect"] < 0).fillna(value=False)
    passes = works.to_numpy(np.bool_).reshape(len(steps), len(last))
    rows: list[dict[str, Any]] = []
    for place, row in zip(first_to_stay(passes).tolist(), records(last), strict=True):
        onset = _dated(place, steps)
        begins = None
        if pursuit is not None:
            begins = onset["onset"] is not None and onset["onset"] <= pursuit
        who = {name: row[name] for name in ("outcomes", *keys)}
        numbers = {"value": row["effect"], "of_gain": row["of_gain"]}
        rows.append({"what": SET, **who, **onset, "begins": begins, **numbers})
    return rows


def _dated(place: int, steps: Sequence[int]) -> dict[str, int | None]:
    if place < 0:
        return {"onset": None, "before": None}
    return {"onset": steps[place], "before": steps[place - 1] if place else 0}
