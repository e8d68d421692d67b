"""The search for sets whose takeback restores much and costs little, where hybrids are chosen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from takeback.component import Component, ComponentSet
from takeback.findings.attribution.attribution import attribute
from takeback.findings.attribution.gradients import PlainlyRead
from takeback.findings.repair.remedies import SETS, Remedy, layers_of, small_set, whole_layers
from takeback.findings.repair.trade import Trade
from takeback.measure.bench import Bench
from takeback.run.errors import TakebackError
from takeback.run.progress import Display

STRENGTHS = (0.25, 0.5, 0.75)
"""Degrees at which sets are tried beside whole takebacks."""

EXCHANGES = 2
"""How often a set that nothing can be added to is tried with members left out or exchanged."""

Members = frozenset[int]


@dataclass(frozen=True)
class Repairing:
    """How a repair is looked for.

    Attributes:
        margin: the share of the gain that may be lost.
        among: components, the most promising ones, that sets are made of.
        most: members of a set.
        price: the share of the damage that each member of a set must restore.
        controls: random sets for each make-up.
        seed: of the split in halves and of random sets.
    """

    margin: float = 0.1
    among: int = 16
    most: int = 8
    price: float = 0.005
    controls: int = 19
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 1:
            raise TakebackError(
                f"the margin is the share of the gain that may be lost, from 0 and below 1, such as 0.1, not "
                f"{self.margin:g}"
            )
        if min(self.among, self.most) < 1:
            raise TakebackError("a repair looks among one component or more, for sets of one or more")

    def trials(self, components: int, layers: int) -> int:
        """Return the most hybrids that are read to look for sets.

        >>> Repairing(among=2, most=1).trials(components=9, layers=2)
        29
        """
        among, most = min(self.among, components), min(self.most, self.among, components)
        exchanged = EXCHANGES * most * (1 + among - most)
        prefixes = 2 * (1 + len(STRENGTHS)) * len(sizes(most))
        grown = among * (most + 2 * EXCHANGES)
        return prefixes + grown + exchanged + len(STRENGTHS) + min(layers, self.among) * (most + 1)


@dataclass
class Hunt:
    """What was tried where hybrids are chosen: the share that each keeps, and the share that it restores."""

    trade: Trade
    settings: Repairing
    tried: dict[Remedy, tuple[float, float]] = field(default_factory=dict[Remedy, tuple[float, float]])

    def look(self, remedies: Iterable[Remedy]) -> None:
        """Read remedies that were not tried before."""
        new = [one for one in dict.fromkeys(remedies) if one not in self.tried]
        if not new:
            return
        found = self.trade.read([one.ask for one in new])
        for one in new:
            self.tried[one] = found.kept(one.ask).value, found.restored(one.ask).value

    def worth(self, remedy: Remedy) -> float:
        """Return what a remedy restores, less the price of its members; −∞ where it keeps too little."""
        kept, restored = self.tried[remedy]
        priced = self.settings.price * len(remedy.components) if remedy.way == SETS else 0.0
        return restored - priced if kept >= 1 - self.settings.margin - 1e-9 else -math.inf

    def restored(self, remedy: Remedy, favoured: bool) -> float:
        """Return what a remedy restores; one that is favoured wins against what restores hardly more."""
        return self.tried[remedy][1] + (self.settings.price if favoured else 0.0)

    def best(self, remedies: Iterable[Remedy]) -> Remedy | None:
        """Return the remedy of most worth that restores anything, None where there is none."""
        given = list(dict.fromkeys(remedies))
        self.look(given)
        found = max(given, key=self.worth, default=None)
        return found if found is not None and self.worth(found) > 0 else None

    def of_way(self, way: str) -> list[Remedy]:
        """Return what was tried of one way."""
        return [one for one in self.tried if one.way == way]


def find_sets(hunt: Hunt) -> None:
    """Try small sets: the most promising ones together, one by one, exchanged, and by degrees.

    Components promise by what attribution says they restore alone, less what it says they lose: 0 on the line
    of one strength for all weights. The first 1, 2, 4, … of them are tried together, also by degrees, so that
    what stands in for each other is found, and so are the first by what they restore alone, whatever it
    costs. Then a set grows from nothing or from the best of these, the member first that is worth most, and
    members are left out and exchanged while that helps.
    """
    anatomy, settings = hunt.trade.first.anatomy, hunt.settings
    keeps, restores = expected(hunt.trade)
    promise = {one: keeps[one] + restores[one] for one in restores}
    ranked, strongest = (
        sorted(anatomy.universe, key=lambda one: (-by[one], one.place())) for by in (promise, restores)
    )
    units = [hunt.trade.set_of([one]) for one in ranked[: min(settings.among, len(ranked) - 1)]]
    starts = [frozenset(range(size)) for size in sizes(min(len(units), settings.most))]
    together = [
        *(_union(units, start) for start in starts),
        *(hunt.trade.set_of(strongest[: len(start)]) for start in starts),
    ]
    hunt.look(small_set(one, degree) for one in together for degree in (1.0, *STRENGTHS))
    first = max(starts, key=lambda one: hunt.worth(small_set(_union(units, one))))
    start = first if hunt.worth(small_set(_union(units, first))) > 0 else frozenset[int]()
    found = _climbed(hunt, units, start)
    if found:
        hunt.look(small_set(_union(units, found), degree) for degree in STRENGTHS)
    _find_layers(hunt, promise)


def sizes(count: int) -> list[int]:
    """Return 1, 2, 4, … up to a count, which is the last.

    >>> sizes(6), sizes(1)
    ([1, 2, 4, 6], [1])
    """
    return sorted({min(2**power, count) for power in range(count.bit_length() + 1)})


def expected(trade: Trade) -> tuple[dict[Component, float], dict[Component, float]]:
    """Return what taking back each component alone adds to the share kept, and to the share restored."""
    effects = [effects_alone(bench) for bench in trade.benches]
    ends = trade.read([])
    found: list[dict[Component, float]] = []
    for scale, answers, alone in (
        (trade.keep, ends.keep, effects[0]),
        (trade.restore, ends.restore, effects[-1]),
    ):
        change = scale.better(answers).value * (-1 if scale.target.less else 1)
        found.append({one: effect / change for one, effect in alone[scale.target.measure].items()})
    return found[0], found[1]


def effects_alone(bench: Bench) -> dict[str, dict[Component, float]]:
    """Return what taking back each component alone does to each measure: by attribution where that is had.

    Networks, and measures that move in jumps, have no gradients: their effects are read, one hybrid each.
    """
    universe = tuple(bench.anatomy.universe)
    bench.release()  # attribution holds a copy of the model
    if reads_singles(bench):
        sets = {one: ComponentSet([one], bench.anatomy.universe) for one in universe}
        answers = bench.answer([bench.nothing, *sets.values()])
        return {
            name: {
                one: float(np.nanmean(answers.change(alone, name, bench.nothing)))
                for one, alone in sets.items()
            }
            for name in bench.measures
        }
    with Display(["attribution"]):
        try:
            found = attribute(bench)
        except PlainlyRead:
            found = attribute(bench, "gradient")
    return {
        name: dict(zip(found.components, means.tolist(), strict=True)) for name, means in found.means.items()
    }


def reads_singles(bench: Bench) -> bool:
    """Tell whether effects of single components have to be read."""
    return bench.of_networks or any(measure.jumps for measure in bench.asked.values())


def _climbed(hunt: Hunt, units: Sequence[ComponentSet], start: Members, exchanging: bool = True) -> Members:
    """Return the set of units that grows from a start while that is worth more."""
    here, left = start, EXCHANGES if exchanging else 0
    while True:
        more = [here | {new} for new in range(len(units)) if new not in here]
        better = _better(hunt, units, here, more if len(here) < hunt.settings.most else [])
        if better is None and left:
            left -= 1
            fewer = [here - {old} for old in here if len(here) > 1]
            others = [(here - {old}) | {new} for old in here for new in range(len(units)) if new not in here]
            better = _better(hunt, units, here, [*fewer, *others])
        if better is None:
            return here
        here = better


def _better(
    hunt: Hunt, units: Sequence[ComponentSet], here: Members, others: Sequence[Members]
) -> Members | None:
    """Return the one of some sets that is worth most, if that is more than a set is worth now."""
    make = whole_layers if any(len(one) > 1 for one in units) else small_set
    made = {make(_union(units, one)): one for one in others}
    best = hunt.best(made)
    now = hunt.worth(make(_union(units, here))) if here else 0.0
    return made[best] if best is not None and hunt.worth(best) > now + 1e-9 else None


def _union(units: Sequence[ComponentSet], members: Members) -> ComponentSet:
    found = units[0] - units[0]
    for place in members:
        found = found | units[place]
    return found


def _find_layers(hunt: Hunt, promise: Mapping[Component, float]) -> None:
    """Try whole layers, the most promising first, and sets of them that grow from nothing."""
    layers = layers_of(hunt.trade.first.anatomy).values()
    promising = sorted(layers, key=lambda layer: -sum(promise[one] for one in layer))
    units = promising[: hunt.settings.among]
    hunt.look(map(whole_layers, units))
    if units:
        _climbed(hunt, units, frozenset(), exchanging=False)
