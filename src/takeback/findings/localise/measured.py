"""What tables say of a hybrid: which set is taken back, its measures, and how they differ from tuned's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from takeback.findings.sweep.run import MATCHES
from takeback.findings.sweep.sets import NamedSet
from takeback.measure.bench import Answers, Floats
from takeback.measure.read import Ask
from takeback.run.stats import Estimate

SET: Mapping[str, str] = {
    "family": "the family of the set; those that begin with random are controls",
    "set": "the set's name",
    "components": "what is in it",
    "n_components": "how many components",
    "matches": "for controls, the sets they match",
}
"""The columns that name a set."""

MEASURED: Mapping[str, str] = {
    "measure": "what was measured",
    "value": "its mean over situations where it applies, missing where it applies to none",
    "low": "lower end of its interval, clustered; missing with fewer than two clusters",
    "high": "upper end of its interval",
    "effect": "the change from tuned in the same situations, mean",
    "effect_low": "lower end of its interval",
    "effect_high": "upper end of its interval",
    "n": "situations",
    "clusters": "clusters of situations",
}
"""The columns of a measure of a hybrid."""

_INTEGERS = {"n_components", "n", "clusters", "k", "seed"}
_WORDS = {*SET, "measure", "kind", "source", "what", "directions"} - _INTEGERS
_TRUTHS = {"barrier", "scaled"}


def matching(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the rows of the controls that match the set of this name."""
    return table[[name in str(text).split(MATCHES) for text in table["matches"]]]


def named(one: NamedSet) -> dict[str, Any]:
    """Return the columns of `SET`."""
    size = len(one.components)
    words = {"family": one.family, "set": one.name, "components": str(one.components)}
    return {**words, "n_components": size, "matches": MATCHES.join(one.matches)}


def measured(answers: Answers, ask: Ask, measure: str) -> dict[str, Any]:
    """Return the columns of `MEASURED` for a hybrid; tuned has to be among the answers."""
    value = mean(answers, answers.of(ask, measure))
    effect = mean(answers, answers.change(ask, measure, answers.bench.nothing))
    sizes = {"n": value.n if value else 0, "clusters": value.clusters if value else 0}
    return {"measure": measure, **ends("value", value, ""), **ends("effect", effect), **sizes}


def mean(answers: Answers, numbers: Floats) -> Estimate | None:
    """Estimate a mean over situations, None where there is no number."""
    return answers.mean(numbers) if np.isfinite(numbers).any() else None


def ends(name: str, estimate: Estimate | None, prefix: str | None = None) -> dict[str, float | None]:
    """Return an estimate's value under a name, and the ends of its interval after a prefix."""
    before = f"{name}_" if prefix is None else prefix
    found = (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)
    return dict(zip((name, f"{before}low", f"{before}high"), found, strict=True))


def tabled(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Return rows as a table of these columns, whose numbers may be missing."""
    kinds = {
        name: "Int64" if name in _INTEGERS else "boolean" if name in _TRUTHS else "Float64"
        for name in columns
        if name not in _WORDS
    }
    return pd.DataFrame(rows, columns=list(columns)).astype(kinds)
