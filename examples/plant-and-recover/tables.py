"""The tables and single numbers of docs/findings/plants.md, from its record.

The record is what `run.py` writes; `python examples/pages.py --blocks docs/findings/plants.md` prints them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from takeback.draw.markdown import table
from takeback.findings.localise.recovery import recovery
from takeback.run.tables import read_table

RAW, CIRCUITS, NEAR = "raw diff", "invariant diff", "raw diff, aligned"
STORED, TAKEN, GRAFTED = "takeback", "takeback, aligned", "graft, aligned"
UTILITY, SIGNIFICANT = "utility, aligned", "utility, aligned, interval without 0"
MEASURES = {
    RAW: "‖Δ‖ / ‖W‖ of the stored weights",
    CIRCUITS: "change of the circuits (`takeback diff --with circuits`)",
    NEAR: "‖Δ‖ / ‖W‖ after aligning tuned to base",
    STORED: "total variation when the component is taken back, as the weights are stored",
    TAKEN: "the same after aligning",
    GRAFTED: "total variation when the component is grafted onto base, after aligning",
    UTILITY: "effect on the goal's utility when it is taken back, after aligning",
    SIGNIFICANT: "the same, found only where the 95% interval over situations leaves out 0",
}

HEADS = ("precision", "recall", "exactly the set", "average precision", "nothing found in nulls")
BY_DEGREE = (CIRCUITS, NEAR, TAKEN, UTILITY)
EACH = (
    "training",
    "goal",
    "free to move",
    "found by the invariant diff",
    "by takebacks",
    "by utility with its interval",
    "total variation when taken back",
)


def blocks(record: Path) -> dict[str, str]:
    """Return Markdown by key."""
    scores, found = (read_table(record / f"{name}.parquet") for name in ("scores", "recoveries"))
    whole = found[(found["dtype"] == "float32") & (found["strength"] == 1)]
    return {
        "measures": table(("measure", "what it is"), MEASURES.items()),
        "found": table(("measure", *HEADS), _found(whole)),
        "degrees": table(("stored as", "strength", "measure", "floor", *HEADS), _by_degree(found)),
        "each": table(EACH, _each(whole[whole["role"] == "plant"], scores)),
        **_ranges(scores),
        **_ranks(scores),
    }


def _found(whole: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Give what each measure finds at full strength."""
    planted, silent = whole[whole["role"] == "plant"], _silent(whole)
    for measure in MEASURES:
        yield measure, *_pooled(planted[planted["measure"] == measure]), silent["float32", measure]


def _by_degree(found: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Give what the measures find of weaker plants, and of plants stored with fewer bits."""
    floors, silent = found.groupby(["dtype", "measure"], sort=False)["floor"].first(), _silent(found)
    planted = found[found["role"] == "plant"]
    for (dtype, strength, measure), part in planted.groupby(["dtype", "strength", "measure"], sort=False):
        if measure in BY_DEGREE:
            key = (str(dtype), str(measure))
            yield key[0], f"{strength:g}", key[1], f"{floors[key]:.0e}", *_pooled(part), silent[key]


def _silent(found: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Tell in how many models without a plant each measure finds nothing, by dtype and measure."""
    nulls = found[found["role"] == "null"].groupby(["dtype", "measure"])["n_found"]
    return {key: f"{int((part == 0).sum())} of {len(part)}" for key, part in nulls}


def _ranges(scores: pd.DataFrame) -> dict[str, str]:
    """Tell the range of scores of what was planted, and the largest of what was not."""
    plants = scores[(scores["role"] == "plant") & (scores["dtype"] == "float32") & (scores["strength"] == 1)]
    told: dict[str, str] = {}
    for key, measure in {"circuits": CIRCUITS, "takebacks": TAKEN}.items():
        part = plants[plants["measure"] == measure]
        moved, still = (part.loc[part["planted"] == one, "score"] for one in (True, False))
        told |= {
            f"{key}-planted": f"{moved.min():.2g} to {moved.max():.2g}",
            f"{key}-others": f"{still.max():.0e}",
        }
    return told


def _ranks(scores: pd.DataFrame) -> dict[str, str]:
    """Tell how the stored weights rank what was planted among heads and MLPs, and how chance ranks it."""
    random, real, chance = np.random.default_rng(0), [], []
    few = scores[(scores["measure"] == RAW) & scores["component"].str.contains(r"\.(?:H\d|MLP)")]
    few = few[(few["role"] == "plant") & (few["dtype"] == "float32") & (few["strength"] == 1)]
    for _, part in few.groupby("model"):
        planted = {*part.loc[part["planted"], "component"]}
        each = part["score"].to_numpy()
        for kept, values in ((real, each), *((chance, random.permutation(each)) for _ in range(200))):
            kept.append(
                recovery(dict(zip(part["component"], values, strict=True)), planted, 0.0).average_precision
            )
    return {"rank": f"{np.mean(real):.2f}", "rank-chance": f"{np.mean(chance):.2f}"}


def _each(planted: pd.DataFrame, scores: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Yield a row for each plant: what three measures find, and how much its components matter."""
    for (model, components), part in planted.groupby(["model", "components"], sort=False):
        first, by_measure = part.iloc[0], part.set_index("measure")
        told = [
            _against(str(components), by_measure.loc[one, "found"]) for one in (CIRCUITS, TAKEN, SIGNIFICANT)
        ]
        mine = scores[(scores["model"] == model) & (scores["measure"] == TAKEN) & scores["planted"]]["score"]
        yield first["method"], first["goal"], str(components), *told, f"{mine.min():.1e} to {mine.max():.1e}"


def _against(planted: str, found: str) -> str:
    missed, false = set(planted.split()) - set(found.split()), set(found.split()) - set(planted.split())
    if not missed and not false:
        return "the set"
    told = [f"{len(missed)} missed" if missed else "", f"{len(false)} false" if false else ""]
    return ", ".join(filter(None, told))


def _pooled(part: pd.DataFrame) -> tuple[str, ...]:
    """Return precision and recall over all components of all plants, how many sets are exact, mean AP."""
    hits, there, wanted = (int(part[name].sum()) for name in ("hits", "n_found", "n_planted"))
    precision = f"{hits / there:.3f}" if there else "–"
    exact = f"{int(part['exact'].sum())} of {len(part)}"
    return precision, f"{hits / wanted:.3f}", exact, f"{part['average_precision'].mean():.3f}"
