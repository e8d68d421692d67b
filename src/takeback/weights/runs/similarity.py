"""From sums over pairs of fine-tunes to how alike two changes are, beside what chance gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from takeback.weights.runs.comparison import KEYS, SUMS
from takeback.weights.runs.fine_tunes import Label
from takeback.weights.runs.gram import Matrix, cosine, ratio
from takeback.weights.runs.overlap import DEFINITIONS, hypergeometric

PERMUTED = "permuted"
"""The relation of a row in which the second change is permuted within its strata."""

WITHIN = 1.959963984540054
"""Standard deviations on either side that hold 95% of a normal law."""

_SETS: Mapping[str, str] = {
    "changed_i": "fraction of entries that i changed",
    "changed_j": "fraction of entries that j changed",
    "overlap_i": "of the entries that i changed, the fraction that j changed too",
    "overlap_j": "of the entries that j changed, the fraction that i changed too",
    "jaccard": "entries that both changed / entries that either did",
    "expected_i": "overlap_i if the sets were independent within strata",
    "expected_i_low": "lower end of the 95% interval of overlap_i by this null",
    "expected_i_high": "its upper end",
    "expected_j": "overlap_j if the sets were independent within strata",
    "jaccard_expected": "jaccard at the expected overlap",
    "lift": "entries that both changed / their expected number within strata",
    "z": "standard deviations by which they exceed that number",
    "uniform_i": "overlap_i if the sets were independent over all entries alike: a misleading null",
    "lift_uniform": "lift against that null",
    "z_uniform": "z against that null",
}
_WORDS: Mapping[str, str] = {
    "stored": "the stored values differ (0 and -0 are equal)",
    "bf16": "the values differ after rounding to bfloat16",
}

COLUMNS: Mapping[str, str] = {
    "entries": "number of entries",
    "norm_i": "‖Δ_i‖",
    "norm_j": "‖Δ_j‖",
    "cosine": "⟨Δ_i, Δ_j⟩ / (‖Δ_i‖ ‖Δ_j‖)",
    **{
        f"{name}_{definition}": f"{meaning}; changed: {_WORDS[definition]}"
        for definition in DEFINITIONS
        for name, meaning in _SETS.items()
    },
    "agreement": "of the entries that both changed, the fraction that moved the same way",
    "agreement_expected": "agreement if signs were independent within strata",
    "agreement_low": "lower end of the 95% interval of agreement by this null",
    "agreement_high": "its upper end",
    "agreement_z": "standard deviations by which agreement exceeds this null",
    "matrices": "matrices whose leading subspaces were compared",
    "sketched": "how many of these were so large that their subspaces come from a random sketch",
    "directions": "mean number k of directions compared",
    "left": "overlap of leading left subspaces, ‖U_iᵀU_j‖² / k over all matrices",
    "left_null": "left for random subspaces",
    "right": "overlap of leading right subspaces, ‖V_iᵀV_j‖² / k over all matrices",
    "right_null": "right for random subspaces",
    "inside_i": "share of ‖Δ_i‖² inside Δ_j's leading subspaces, ‖U_jᵀΔ_iV_j‖²; the rest is private to i",
    "inside_i_null": "inside_i for random subspaces",
    "inside_j": "share of ‖Δ_j‖² inside Δ_i's leading subspaces; the rest is private to j",
    "inside_j_null": "inside_j for random subspaces",
}
"""What each measure in a table means."""


def measured(sums: pd.DataFrame, labels: Sequence[Label]) -> pd.DataFrame:
    """Return the table of measures: a row per component, tensor, layer and all, pair, and relation."""
    levels = _levels(sums)
    names = np.array([label.name for label in labels])
    i, j, permuted = (levels[key].to_numpy() for key in ("i", "j", "permuted"))
    relations = pd.Series(
        [labels[one].relation(labels[other]) for one, other in zip(i, j, strict=True)], dtype="str"
    )
    keys = levels[["level", "scope", "layer"]].assign(
        i=names[i],
        j=names[j],
        relation=relations.mask(permuted, PERMUTED),
        control_of=relations.where(permuted),
    )
    values = _measures({name: levels[name].to_numpy(np.float64) for name in SUMS})
    missing = {
        name: pd.arrays.FloatingArray(np.nan_to_num(value), np.isnan(value)) for name, value in values.items()
    }
    table = pd.concat([keys, pd.DataFrame(missing)], axis=1)
    return table.astype({"entries": "int64", "matrices": "int64", "sketched": "int64"})


def partner(measure: str) -> str:
    """Return the measure of the same pair seen from the other side.

    >>> partner("overlap_i_stored"), partner("inside_j"), partner("cosine")
    ('overlap_j_stored', 'inside_i', 'cosine')
    """
    words = {"i": "j", "j": "i"}
    return "_".join(words.get(word, word) for word in measure.split("_"))


def _levels(sums: pd.DataFrame) -> pd.DataFrame:
    """Add sums over the tensors of components, of layers and of everything."""
    components = sums[sums["level"] == "component"]
    tensors = sums[sums["level"] == "tensor"]
    layers = tensors[tensors["layer"].notna()]
    layers = layers.assign(level="layer", scope="L" + layers["layer"].astype("str"))
    everything = tensors.assign(level="all", scope="all", layer=pd.array([None] * len(tensors), "Int64"))
    grouped = [
        rows.groupby(list(KEYS), sort=False, dropna=False, as_index=False)[list(SUMS)].sum()
        for rows in (components, tensors, layers, everything)
    ]
    return pd.concat(grouped, ignore_index=True)


def _measures(sums: Mapping[str, Matrix]) -> dict[str, Matrix]:
    found = {
        "entries": sums["entries"],
        "norm_i": np.sqrt(sums["square_i"]),
        "norm_j": np.sqrt(sums["square_j"]),
        "cosine": cosine(sums["dot"], sums["square_i"], sums["square_j"]),
    }
    for definition in DEFINITIONS:
        named = {name: sums[f"{name}_{definition}"] for name in ("changed_i", "changed_j", "both")}
        null = (sums[f"expected_{definition}"], sums[f"variance_{definition}"])
        sets = _sets(sums["entries"], named, null)
        found |= {f"{name}_{definition}": value for name, value in sets.items()}
    return {**found, **_signs(sums), **_subspaces(sums)}


def _sets(entries: Matrix, sizes: Mapping[str, Matrix], null: tuple[Matrix, Matrix]) -> dict[str, Matrix]:
    first, second, both = sizes["changed_i"], sizes["changed_j"], sizes["both"]
    expected, variance = null
    spread = WITHIN * np.sqrt(variance)
    uniform, uniform_variance = hypergeometric(entries, first, second)
    return {
        "changed_i": ratio(first, entries),
        "changed_j": ratio(second, entries),
        "overlap_i": ratio(both, first),
        "overlap_j": ratio(both, second),
        "jaccard": ratio(both, first + second - both),
        "expected_i": ratio(expected, first),
        "expected_i_low": ratio(np.maximum(expected - spread, 0.0), first),
        "expected_i_high": ratio(np.minimum(expected + spread, first), first),
        "expected_j": ratio(expected, second),
        "jaccard_expected": ratio(expected, first + second - expected),
        "lift": ratio(both, expected),
        "z": ratio(both - expected, np.sqrt(variance)),
        "uniform_i": ratio(uniform, first),
        "lift_uniform": ratio(both, uniform),
        "z_uniform": ratio(both - uniform, np.sqrt(uniform_variance)),
    }


def _signs(sums: Mapping[str, Matrix]) -> dict[str, Matrix]:
    agree, expected = sums["agree"], sums["agree_expected"]
    both, deviation = sums["both_stored"], np.sqrt(sums["agree_variance"])
    return {
        "agreement": ratio(agree, both),
        "agreement_expected": ratio(expected, both),
        "agreement_low": ratio(np.maximum(expected - WITHIN * deviation, 0.0), both),
        "agreement_high": ratio(np.minimum(expected + WITHIN * deviation, both), both),
        "agreement_z": ratio(agree - expected, deviation),
    }


def _subspaces(sums: Mapping[str, Matrix]) -> dict[str, Matrix]:
    wholes = {"left": "directions", "right": "directions", "inside_i": "energy_i", "inside_j": "energy_j"}
    return {
        "matrices": sums["matrices"],
        "sketched": sums["sketched"],
        "directions": ratio(sums["directions"], sums["matrices"]),
        **{
            f"{name}{null}": ratio(sums[f"{name}{null}"], sums[whole])
            for name, whole in wholes.items()
            for null in ("", "_null")
        },
    }
