"""The p-value that is right for everything a table shows: all its contrasts, measures and components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from takeback.run.relabelling import Relabelling
from takeback.run.sign_flips import WeightedContrast, flipped, smallest_contrast_p
from takeback.run.stats import dealt
from takeback.study.contrasts.quantities import SHOWN, WHOLE
from takeback.study.contrasts.reach import LEVEL

Floats = NDArray[np.float64]

WHOLE_MODELS: Final = "whole models"
COMPONENTS: Final = "components"
OTHERS: Final = "other measures"
"""The tables that a page of contrasts has."""


@dataclass(frozen=True, eq=False)
class Tested:
    """One contrast of one source and measure, estimated.

    Attributes:
        name: of the contrast.
        source: where its numbers are from.
        measure: what is contrasted.
        components: the names of its components; one empty name for whole models.
        seeds: that all its arms have.
        values: shape (arms, seeds, components).
        weights: of the arms.
        found: estimates and p-values, for this family alone.
    """

    name: str
    source: str
    measure: str
    components: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Floats
    weights: tuple[float, ...]
    found: WeightedContrast

    @property
    def table(self) -> str:
        """The table that shows it."""
        if (self.source, self.measure) in SHOWN and self.components != ("",):
            return COMPONENTS
        return WHOLE_MODELS if WHOLE.get(self.measure) == self.source else OTHERS


@dataclass(frozen=True, eq=False)
class InTable:
    """What one contrast of one source and measure has in its table.

    Attributes:
        p: two-sided p-values, right for all rows of the table, shape (components,).
        smallest: the least that so many seeds can give in this table.
        critical: Student's |t| beyond which p is at most 0.05; None where nothing gets there.
        freedom: degrees of freedom of that t.
    """

    p: Floats
    smallest: float
    critical: float | None
    freedom: int


def together(tested: Sequence[Tested], seed: int = 0) -> list[InTable]:
    """Return p-values that are right for all rows of a table, in the order of what was tested.

    All measures and components of a contrast are of the same runs, so that dealing them out, or flipping
    their signs, moves all at once: step-down maxT over all of them. So do all contrasts by sign flips whose
    seeds are the same. A contrast of two arms has dealings of its own; what is tested by different
    relabellings is put together by Bonferroni's inequality: p times their number in the table.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for place, one in enumerate(tested):
        own = one.name if one.found.test == "permutation" else None
        groups.setdefault((one.table, own, one.seeds), []).append(place)
    found: dict[int, InTable] = {}
    for (table, *_), places in groups.items():
        number = sum(other == table for other, *_ in groups)
        members = [tested[place] for place in places]
        relabelled = _relabelled(members, seed)
        p = np.minimum(number * relabelled.step_down(), 1.0)
        smallest = min(number * smallest_contrast_p(members[0].weights, len(members[0].seeds)), 1.0)
        critical = relabelled.critical(LEVEL / number)
        ends = np.cumsum([len(one.components) for one in members])[:-1]
        for place, mine in zip(places, np.split(p, ends), strict=True):
            found[place] = InTable(mine, smallest, critical, relabelled.freedom)
    return [found[place] for place in range(len(tested))]


def _relabelled(members: Sequence[Tested], seed: int) -> Relabelling:
    if members[0].found.test == "permutation":
        one, other = np.concatenate([one.values for one in members], axis=2)
        return dealt(one, other, seed)
    return flipped(np.concatenate([one.found.sums for one in members], axis=1), seed)
