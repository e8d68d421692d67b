"""What taking back each set does to the goal's utility at one snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.component import NEW_ROWS, Component
from takeback.findings.localise.measured import SET, ends, mean, named
from takeback.findings.localise.shares import told_from_zero
from takeback.findings.sweep.sets import NamedSet
from takeback.measure.bench import Answers
from takeback.run.stats import Estimate

Floats = NDArray[np.float64]

ALPHA = 0.05
"""The chance that any set of a snapshot is told from 0 where none has an effect, at most."""

ROUNDING = 1e-6
"""A difference of utilities this small is rounding of float32 forward passes."""

COLUMNS: Mapping[str, str] = {
    "step": "optimiser steps of the snapshot",
    "outcomes": "all, or if legal: over legal actions given a legal answer",
    **{name: meaning for name, meaning in SET.items() if name != "matches"},
    "layer": "its layer, missing where it lies in several or in none",
    "delta_share": "its share of ‖Δ‖² at this snapshot, missing where nothing moved",
    "effect": "what taking it back does to the goal's expected utility: hybrid − snapshot",
    "effect_low": "lower end of its 95% interval, of this set alone",
    "effect_high": "upper end",
    "family_low": "lower end of its interval that holds for all sets of the snapshot together (Bonferroni)",
    "family_high": "upper end",
    "told": "whether that interval leaves out 0",
    "of_gain": "share of the gain over base that is lost without it, missing where that is not told from 0",
    "of_gain_low": "lower end of its 95% interval",
    "of_gain_high": "upper end",
    "n": "situations",
    "clusters": "clusters of situations",
}
"""What each column of the table means; all intervals are over situations, of this one run."""

WORDS = {"outcomes", "family", "set", "components", "told"}
INTEGERS = {"step", "n_components", "layer", "n", "clusters"}


def effects(answers: Answers, sets: Sequence[NamedSet], measure: str) -> Floats:
    """Return what taking back each set does in each situation, shape (sets, n); NaN where unknown."""
    tuned = answers.of(answers.bench.nothing, measure)
    return np.stack([answers.of(one.components, measure) for one in sets]) - tuned


def component_rows(
    answers: Answers,
    sets: Sequence[NamedSet],
    done: Floats,
    measure: str,
    moved: Mapping[Component, float],
) -> pd.DataFrame:
    """Return the columns of `COLUMNS` but for step and outcomes: a row for each set.

    Args:
        answers: of the sets, of nothing and of everything taken back.
        sets: what is taken back.
        done: what that does, as `effects` returns it.
        measure: the goal's utility.
        moved: ‖Δ‖² of every component.
    """
    bench = answers.bench
    change = answers.change(bench.nothing, measure, bench.anatomy.universe)
    gain, total = mean(answers, change), sum(moved.values())
    rows: list[dict[str, Any]] = []
    for one, numbers in zip(sets, done, strict=True):
        alone, together = mean(answers, numbers), None
        lost: Estimate | None = None
        if alone is not None:
            together = answers.mean(numbers, confidence=1 - ALPHA / len(sets))
            if gain is not None and gain.low is not None and told_from_zero(gain):
                lost = answers.ratio(-numbers, change)
        layers = {component.layer for component in one.components}
        compared = sum(moved[part] for part in one.components if part.kind not in NEW_ROWS)
        rows.append(
            {
                **{name: value for name, value in named(one).items() if name != "matches"},
                "layer": layers.pop() if len(layers) == 1 else None,
                "delta_share": compared / total if total else None,
                **ends("effect", alone),
                **dict(zip(("family_low", "family_high"), _interval(together), strict=True)),
                "told": together is not None and is_told(together),
                **ends("of_gain", lost),
                "n": 0 if alone is None else alone.n,
                "clusters": 0 if alone is None else alone.clusters,
            }
        )
    return pd.DataFrame(rows)


def is_told(effect: Estimate) -> bool:
    """Return whether an effect is larger than rounding and its interval is known and leaves out 0."""
    return abs(effect.value) > ROUNDING and effect.low is not None and told_from_zero(effect)


def _interval(estimate: Estimate | None) -> tuple[float | None, float | None]:
    return (None, None) if estimate is None else (estimate.low, estimate.high)
