"""The line that every repair has to beat: all weights taken back by one strength, at the same kept share."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from takeback.findings.localise.strength import at_degree
from takeback.findings.repair.remedies import DEGREES
from takeback.findings.repair.trade import Trade, Traded
from takeback.measure.read import Ask
from takeback.run.stats import Estimate

CLOSE = 1e-3
"""How near a degree has to come to the share that is kept elsewhere."""

STEPS = 3
"""Degrees that are read at most for that."""


class Line:
    """All weights taken back by degrees, where hybrids are judged.

    Attributes:
        found: what hybrids keep and restore there, those of the line among them.
        degrees: those that were read, from 0 (tuned) to 1 (base).
    """

    def __init__(self, trade: Trade, asks: Iterable[Ask]) -> None:
        self._trade, self._whole = trade, trade.first.anatomy.universe
        self.degrees = [0.0, *DEGREES, 1.0]
        self.found: Traded = trade.read([*map(self.at, self.degrees), *asks])

    def at(self, degree: float) -> Ask:
        """Return everything taken back by a degree."""
        return at_degree(self._whole, degree)

    def meet(self, asks: Iterable[Ask]) -> None:
        """Read the degrees at which the line keeps what each of some hybrids keeps, as nearly as need be."""
        for ask in asks:
            for _ in range(STEPS):
                mix = self.beside(ask)
                if len(mix) < 2:
                    break
                degree = sum(weight * place for place, weight in mix.items())
                if degree not in self.degrees:
                    self.found |= self._trade.read([self.at(degree)])
                    self.degrees = sorted([*self.degrees, degree])
                if abs(self.found.kept(self.at(degree)).value - self.found.kept(ask).value) < CLOSE:
                    break

    def beside(self, ask: Ask) -> dict[float, float]:
        """Return the degrees, with weights, of the best of the line that keeps at least what a hybrid keeps.

        Where it keeps the same between two degrees, both stand for it. Where nothing on it keeps so much, it
        is what keeps most.
        """
        kept = self.found.kept(ask).value
        points = {one: self.found.kept(self.at(one)).value for one in self.degrees}
        mixes = [{one: 1.0} for one, value in points.items() if value >= kept]
        for one, other in pairwise(self.degrees):
            low, high = sorted((points[one], points[other]))
            if low < kept < high:
                weight = (kept - points[other]) / (points[one] - points[other])
                mixes.append({one: weight, other: 1 - weight})
        most = max(points, key=points.__getitem__)
        return max(mixes or [{most: 1.0}], key=self._restored)

    def above(self, ask: Ask) -> Estimate:
        """Estimate how much more a hybrid restores than the line does where it keeps as much.

        The interval knows that the place on the line is itself estimated: a share kept more or less there is
        worth the slope of the line.
        """
        mix = self.beside(ask)
        restored = self._beyond(ask, mix, 1.0)
        if len(mix) < 2:
            return self.found.together({}, restored)
        one, other = map(self.at, mix)
        over = self.found.restored(one).value - self.found.restored(other).value
        under = self.found.kept(one).value - self.found.kept(other).value
        return self.found.together(self._beyond(ask, mix, -over / under), restored)

    def _beyond(self, ask: Ask, mix: dict[float, float], times: float) -> dict[Ask, float]:
        """Return a hybrid less a mixture of the line, as weights times a number."""
        weights = {self.at(degree): -times * weight for degree, weight in mix.items()}
        return {**weights, ask: times + weights.get(ask, 0.0)}

    def _restored(self, mix: dict[float, float]) -> float:
        return sum(weight * self.found.restored(self.at(one)).value for one, weight in mix.items())
