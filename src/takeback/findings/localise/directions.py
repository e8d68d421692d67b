"""DirectionCuts: what a change does without its leading singular directions, and what they do alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from takeback.component import ComponentSet
from takeback.draw.result import Result, as_table
from takeback.findings.localise.measured import MEASURED, measured, tabled
from takeback.measure.bench import Bench
from takeback.measure.read import Ask
from takeback.run.errors import TakebackError

ONLY, WITHOUT = KEPT = ("only", "without")
LEADING, RANDOM = ("leading", "random")

COLUMNS: Mapping[str, str] = {
    "components": "the set whose change is cut",
    "what": "without: tuned without the directions; only: base with nothing of Δ but them",
    "directions": "leading: of the largest singular values of each matrix's Δ; random: controls",
    "k": "directions in each matrix; 0 is tuned, or with `only` the set at base",
    "scaled": "whether what is left of each matrix's Δ is stretched to ‖Δ‖",
    "seed": "of the random directions, missing for leading ones",
    **MEASURED,
}
"""What each column of the table means."""

KS = (1, 2, 4, 8, 16, 32)
"""Numbers of directions that are asked by default."""


@dataclass(frozen=True, slots=True)
class DirectionPart:
    """Names a part of each matrix's change; `seed` is None for leading directions."""

    what: str
    k: int
    scaled: bool = False
    seed: int | None = None

    @property
    def source(self) -> str:
        """Its name as a source; see `takeback.hybrid.sources`."""
        kind, seed = ("top", "") if self.seed is None else ("random", f":{self.seed}")
        return f"{self.what}-{kind}:{self.k}{seed}{':scaled' if self.scaled else ''}"

    def ask(self, components: ComponentSet) -> Ask:
        """Return the hybrid with this part in a set; of no directions it is tuned, or the set from base."""
        if self.k:
            return Ask(components, self.source)
        return Ask(components if self.what == ONLY else components - components)


@dataclass(frozen=True, eq=False, repr=False)
class DirectionCuts(Result):
    """Holds measures by number of directions: a row of `COLUMNS` for each part of Δ and measure.

    Attributes:
        table: leading directions and random ones.
    """

    name = "directions"
    table: pd.DataFrame = field(metadata=as_table("directions", COLUMNS))


def directions(
    bench: Bench,
    ks: Sequence[int] = KS,
    components: ComponentSet | None = None,
    seeds: Sequence[int] = (0, 1, 2),
) -> DirectionCuts:
    """Measure a set's change (None: of everything) without its k leading directions, and with only those.

    Every matrix of a layer loses, or keeps, the directions of its k largest singular values; other tensors
    stay tuned's, or go to base. Each is asked with the Δ that is left as it is and stretched to its old norm,
    beside random directions for each of the `seeds`; see `takeback.weights.spectra.directions`. Singular
    directions ignore the borders between heads. The models are computed in float32 or wider, not bit-exact.

    That few directions hold most of what training does: Cai et al. 2025, "On Predictability of Reinforcement
    Learning Dynamics for Large Language Models", arXiv 2510.00553.

    Raises:
        TakebackError: no k, a k below 1, or an answer can't be had (see `Bench.answer`).
    """
    if not ks or min(ks) < 1:
        raise TakebackError(f"directions are counted from 1, not {min(ks, default='by nothing')}")
    chosen = bench.anatomy.universe if components is None else components
    parts = [DirectionPart(what, 0) for what in KEPT]
    parts += [
        DirectionPart(what, k, scaled, seed)
        for what in KEPT
        for scaled in (False, True)
        for seed in (None, *seeds)
        for k in sorted(set(ks))
    ]
    answers = bench.answer([bench.nothing, *(part.ask(chosen) for part in parts)])
    rows: list[dict[str, Any]] = [
        {
            "components": str(chosen),
            "what": part.what,
            "directions": LEADING if part.seed is None else RANDOM,
            "k": part.k,
            "scaled": part.scaled,
            "seed": part.seed,
            **measured(answers, part.ask(chosen), measure),
        }
        for measure in bench.measures
        for part in parts
    ]
    return DirectionCuts(str(bench.pair), tabled(rows, COLUMNS))
