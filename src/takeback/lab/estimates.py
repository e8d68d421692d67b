"""Estimated effects: attribution, made bit by bit while nobody waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from takeback.component import ComponentSet
from takeback.findings.attribution import attribute
from takeback.lab.scene import Colouring
from takeback.lab.situations import significant
from takeback.lab.thoughts import Thought, Waited, WaitedFor, nobody
from takeback.measure.bench import Bench
from takeback.measure.measures import measures_of
from takeback.measure.standard import LEGAL
from takeback.run.errors import TakebackError
from takeback.run.stats import mean_estimate

Floats = NDArray[np.float64]

UTILITY: Final = "utility"
DIVERGENCE: Final = "divergence"
"""Roles of measures."""

MOMENT: Final = 0.25
"""Seconds that attributing some situations takes, about; a click ends it sooner."""

ENOUGH: Final = 64
"""Situations that are attributed, at most: estimates give way to exact effects soon."""


class Estimates(Thought):
    """The estimated effects of components in the situations that were attributed so far.

    Attributes:
        bench: the bench, about measures that have slopes.
        done: in how many situations, from the first, effects are known.
    """

    def __init__(self, bench: Bench) -> None:
        names = _attributed(bench)
        self._all = bench.first(ENOUGH)
        self.bench, self.done = self._all.about(*names), 0
        self._bit = 1
        self._values: dict[str, list[Floats]] = {name: [] for name in names}

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to attribute."""
        return self.done >= len(self.bench.situations) or not self._values

    def go_on(self, waited: Waited = nobody) -> None:
        """Attribute in some more situations; a model that can't be attributed has no estimates."""

        def between() -> None:
            if waited():
                raise WaitedFor

        began = time.monotonic()
        places = np.arange(self.done, min(self.done + self._bit, len(self.bench.situations)))
        some = self.bench.some(places)
        try:
            _ = self._all.some(places).ends  # decided as finely as all measures ask, so read once
            told = {
                name: some.asked[name].of(some.ends["tuned"], some.context).applies for name in self._values
            }
            applying = [name for name, applies in told.items() if applies.any()]
            found = attribute(some.about(*applying), between=between).values if applying else {}
        except WaitedFor:
            self._bit = 1
            return
        except TakebackError:
            self._values = {}
            return
        blank = np.full((len(self.bench.anatomy.universe), len(places)), np.nan)
        for name, parts in self._values.items():
            parts.append(found.get(name, blank))
        self.done += len(places)
        spent = time.monotonic() - began
        self._bit = max(1, min(2 * self._bit, int(self._bit * MOMENT / spent)))

    def effects(self, components: ComponentSet) -> list[dict[str, Any]]:
        """Return the estimated effects of taking back a set: the sums of its components'."""
        inside = np.array([one in components for one in components.universe])
        return [
            {"measure": name, "value": None, **told}
            for name, values in self._known()
            if (told := self._mean(values[inside].sum(axis=0))) is not None
        ]

    def colourings(self) -> list[Colouring]:
        """Return the estimated effects of single components, by measure."""
        names = [str(one) for one in self.bench.anatomy.universe]
        words = f"estimated by attribution in {self.done} of {len(self.bench.situations)} situations"
        found: list[Colouring] = []
        for name, values in self._known():
            rows = {one: self._mean(each) or {} for one, each in zip(names, values, strict=True)}
            ends = ({one: row.get(of) for one, row in rows.items()} for of in ("effect", "low", "high"))
            found.append(Colouring(f"attribution {name}", "attribution", name, words, "diverging", *ends))
        return found

    def _known(self) -> Iterator[tuple[str, Floats]]:
        for name, parts in self._values.items():
            if parts:
                yield name, np.concatenate(parts, axis=1)

    def _mean(self, numbers: Floats) -> dict[str, Any] | None:
        kept = np.isfinite(numbers)
        if not kept.any():
            return None
        found = mean_estimate(numbers[kept], self.bench.clusters[: self.done][kept])
        effect, low, high = significant([found.value, found.low, found.high])
        return {"effect": effect, "low": low, "high": high, "n": int(found.n)}


def _attributed(bench: Bench) -> list[str]:
    """Return what is attributed: the measures asked for, or utilities and legality, if they have slopes."""
    plain = (
        one
        for one in measures_of(bench.arena)
        if one.name == LEGAL.name or (one.role == UTILITY and not one.if_legal)
    )
    return [one.name for one in bench.asked.values() or plain if not one.jumps and one.role != DIVERGENCE]
