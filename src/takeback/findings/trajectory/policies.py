"""What a policy is like at each snapshot: utility, legality, divergence from base, and agency."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from takeback.arenas import Arena
from takeback.arenas.listed import Listed
from takeback.arenas.rows import PooledRows
from takeback.findings.localise.measured import ends
from takeback.measure.agency.agency import meg, optimisation_power
from takeback.measure.agency.pursuits import pursuit
from takeback.measure.bench import Bench
from takeback.measure.outcomes import Outcomes
from takeback.measure.standard import LEGAL
from takeback.run.stats import Estimate, mean_estimate

ALL, IF_LEGAL = "all", "if legal"
OUTCOMES: Mapping[str, bool] = {ALL: False, IF_LEGAL: True}
"""The kinds of outcomes, and whether they are given a legal answer."""

ESTIMATES: Mapping[str, str] = {
    "utility": "expected utility of the goal",
    "gain": "its change from base in the same situations",
    "legal": "mass of legal actions, in all situations",
    "kl": "KL(snapshot || base) in nats",
    "power": "optimisation power over base, beyond chance, in bits: 0 is base's own",
    "pursuit": "signed pursuit share, held out: above 0 for pursuing, below for avoiding",
    "meg": "MEG in nats: how far along the goal the policy is, whatever base was like",
}
"""The measures that have an interval: columns NAME, NAME_low and NAME_high."""

COLUMNS: Mapping[str, str] = {
    "step": "optimiser steps of the snapshot; base is 0",
    "outcomes": "all, or if legal: over legal actions given a legal answer",
    "relative": "‖Δ‖ / ‖W‖ of the weights",
    **{
        column: meaning
        for name, said in ESTIMATES.items()
        for column, meaning in (
            (name, said),
            (f"{name}_low", "lower end of its interval"),
            (f"{name}_high", "upper end of its interval"),
        )
    },
    "beta": "the pursuit's β for all situations, missing where infinite",
    "meg_beta": "MEG's β: above 0 for pursuing; missing where infinite",
    "n": "situations to which the goal applies",
    "clusters": "clusters of these",
    "note": "why something is missing, or what to know about a number",
}
"""What each column of the table means; intervals hold 95%, clustered over situations, of this one run."""

_WORDS = {"outcomes", "note"}
_INTEGERS = {"step", "n", "clusters"}


def outcomes_of(arena: Arena[Any]) -> Mapping[str, bool]:
    """Return the kinds of outcomes that an arena has: listed answers are all legal."""
    return {ALL: False} if isinstance(arena, Listed) else OUTCOMES


def rows_of(bench: Bench, step: int, goal: str, seed: int) -> list[dict[str, Any]]:
    """Return the columns of `COLUMNS`, but for the weights', for each kind of outcomes of a snapshot.

    Args:
        bench: of base and the snapshot.
        step: the snapshot's; 0 is base itself.
        goal: the goal's name.
        seed: of the halves on which the pursuit is held out.
    """
    bench = bench.about_all()
    base, tuned = bench.ends["base"], bench.ends["tuned"]
    told = mean_estimate(LEGAL.of(tuned, bench.context).numbers, bench.clusters)
    rows: list[dict[str, Any]] = []
    for kind, given_legal in outcomes_of(bench.arena).items():
        outcomes = Outcomes.of(base, tuned, bench.context, (goal,), given_legal)
        if len(outcomes) or kind == ALL:
            row = {"step": step, "outcomes": kind, **ends("legal", told, "legal_")}
            rows.append({**row, **measured(outcomes, seed, isinstance(bench.arena, PooledRows))})
    return rows


def measured(outcomes: Outcomes, seed: int, pooled: bool = False) -> dict[str, Any]:
    """Return the measures of one policy and of its change from base; of a pool none of even choice.

    Raises:
        TakebackError: the goal applies to no situation.
    """
    found = pursuit(outcomes, seed)
    directedness, meg_beta = (None, math.inf) if pooled else meg(outcomes)

    def mean(numbers: Any) -> Estimate:
        return mean_estimate(numbers, outcomes.clusters)

    estimates: dict[str, Estimate | None] = {
        "utility": mean((outcomes.tuned * outcomes.utility).sum(axis=1)),
        "gain": mean(((outcomes.tuned - outcomes.base) * outcomes.utility).sum(axis=1)),
        "kl": found.change,
        "power": mean(optimisation_power(outcomes, "base", beyond_chance=True)),
        "pursuit": found.signed,
        "meg": None if directedness is None else mean(directedness),
    }
    columns: dict[str, Any] = {}
    for name, estimate in estimates.items():
        columns |= ends(name, estimate, f"{name}_")
    infinite = "" if math.isfinite(found.beta) else f"β = {'+' if found.beta > 0 else '−'}∞"
    return {
        **columns,
        "beta": _finite(found.beta),
        "meg_beta": _finite(meg_beta),
        "n": len(outcomes),
        "clusters": found.change.clusters,
        "note": "; ".join(filter(None, (found.note, infinite))),
    }


def policies_table(rows: pd.DataFrame, relative: Mapping[int, float]) -> pd.DataFrame:
    """Join what was measured with how far the weights moved by step, in the columns of `COLUMNS`.

    Where every answer is legal at every snapshot, both kinds of outcomes are one, and only `all` is kept.
    """
    if (rows["legal"].to_numpy(np.float64) > 1 - 1e-9).all():
        rows = rows[rows["outcomes"] == ALL]
    moved = rows["step"].map(dict(relative))
    return typed(rows.assign(relative=moved), COLUMNS, _WORDS, _INTEGERS)


def typed(
    rows: pd.DataFrame, columns: Mapping[str, str], words: set[str], integers: set[str]
) -> pd.DataFrame:
    """Return a table of these columns, whose numbers may be missing."""
    kinds = {name: "Int64" if name in integers else "Float64" for name in columns if name not in words}
    return rows.reindex(columns=list(columns)).astype(kinds).reset_index(drop=True)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
