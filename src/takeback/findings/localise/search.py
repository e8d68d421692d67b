"""The search for groups of components that do together what their single effects don't show.

Taking back one, two or three of four components that stand in for each other does nothing, so neither singles
nor pairs nor a set that grows from tuned finds them. From the other end they can't be missed: with everything
taken back, giving back any one of them restores what they all carry. So sets are shrunk from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from takeback.anatomy.sets import SET_FAMILIES, named_sets
from takeback.component import ComponentSet
from takeback.findings.localise.pairs import carried_by, excess, of_change
from takeback.findings.localise.shares import TAKE_BACK, changes_of, hybrids_of, taken_back
from takeback.findings.sweep.sets import NamedSet
from takeback.measure.bench import Answers, Bench
from takeback.measure.read import Ask
from takeback.run.errors import TakebackError

PAIR, FOUND, CORE = "strongest pair", "found", "core"
"""Families of groups that the search gives: of all pairs, by giving back, within a group of the model."""

NOTHING = 1e-9
"""What rounding can leave of an excess."""


@dataclass(frozen=True)
class Search:
    """How groups are looked for.

    Attributes:
        measure: the measure whose change they carry; None: the bench's first.
        direction: `take back` for components that stand in for each other, `graft` for those that work only
            together.
        among: the components to look at; None: all.
        number: groups that are found at most, no two with a common member.
        most: members that such a group has at most.
        keep: share of a group's excess that its core must keep.
        least: excess, as a share of the change, that the search must see in a group for it to be tested; the
            group of the largest excess is tested in any case.
        seed: halves the situations.
    """

    measure: str | None = None
    direction: str = TAKE_BACK
    among: ComponentSet | None = None
    number: int = 3
    most: int = 8
    keep: float = 0.9
    least: float = 0.02
    seed: int = 0


def candidates(looking: Looking) -> list[NamedSet]:
    """Return the groups of the model, their cores, the strongest pair and what giving back finds.

    A core is the fewest members that keep most of a group's excess.
    """
    structural = built_in(looking.among)
    chosen = _distinct([*structural, *_cores(structural, looking), *_pair(looking), *_found(looking)])
    values = looking.excess([named.components for named in chosen])
    enough = min(looking.search.least, max(values))
    return [named for named, value in zip(chosen, values, strict=True) if value >= enough]


def built_in(components: ComponentSet) -> list[NamedSet]:
    """Return the groups that a model's build suggests, as far as some components go.

    They are the heads of each layer, each layer, each kind of component, and the MLPs of neighbouring layers.

    >>> from takeback.component import Component
    >>> names = ["L0.H0", "L0.H1", "L0.MLP", "L1.MLP", "NORM"]
    >>> everything = ComponentSet(map(Component.parse, names))
    >>> [named.name for named in built_in(everything)]
    ['L0 heads', 'L0', 'all heads', 'all mlps', 'L0 mlp + L1 mlp']
    """
    present = [name for name, rule in SET_FAMILIES.items() if any(map(rule, components))]
    families = {
        name: _within(components, name)
        for name in present
        if name not in ("each head", "each unit", "each tensor")
    }
    mlps = {name: members for name, members in families.pop("each mlp", {}).items() if members}
    families["neighbouring mlps"] = {
        f"{one} + {other}": mlps[one] | mlps[other] for one, other in pairwise(mlps)
    }
    return [
        NamedSet(family, name, components)
        for family, sets in families.items()
        for name, components in sets.items()
        if len(components) > 1
    ]


def _within(components: ComponentSet, family: str) -> dict[str, ComponentSet]:
    sets = named_sets(components.universe, family)
    return {name: members & components for name, members in sets.items()}


def giving_back(
    start: ComponentSet, excess_of: Callable[[Sequence[ComponentSet]], Sequence[float]]
) -> list[tuple[ComponentSet, float]]:
    """Shrink a group to a pair, giving back first what its excess needs least; return each with its excess.

    A tenth of the members leave in each round, at least one. Of n members at most n²/2 sets are tried.
    """
    path = list(zip([start], excess_of([start]), strict=True))
    while len(path[-1][0]) > 2:
        group = path[-1][0]
        without = [group - ComponentSet([one], group.universe) for one in group]
        kept = sorted(zip(excess_of(without), without, strict=True), key=lambda trial: -trial[0])
        leaving = min(max(1, len(group) // 10), len(group) - 2)
        for _, smaller in kept[:leaving]:
            group = group & smaller
        path += zip([group], excess_of([group]), strict=True)
    return path


class Looking:
    """Reads sets in the situations of the search, each once; the bench has one measure.

    Attributes:
        among: the components that are looked at.
        measure: whose change they carry.
    """

    def __init__(self, bench: Bench, search: Search) -> None:
        universe = bench.anatomy.universe
        self.search, self.among = search, universe if search.among is None else search.among
        (self.measure,) = bench.measures
        if len(self.among) < 2:
            raise TakebackError(f"{len(self.among)} components have no groups; name two or more")
        changes_of(bench)
        self._answers = Answers(bench, {})
        self._read(hybrids_of(bench, (ComponentSet([one], universe) for one in universe), [search.direction]))

    def excess(self, sets: Sequence[ComponentSet]) -> list[float]:
        """Return the excess of each set as a share of the change."""
        self._read(taken_back(one, self.search.direction) for one in sets)
        found = (excess(self._answers, one, self.search.direction, self.measure) for one in sets)
        return [of_change(self._answers, numbers, self.measure).value for numbers in found]

    def largest(self, components: ComponentSet) -> ComponentSet:
        """Return the member that carries most alone."""
        alone = [ComponentSet([one], components.universe) for one in components]
        shares = [carried_by(self._answers, one, self.search.direction, self.measure) for one in alone]
        values = [of_change(self._answers, numbers, self.measure).value for numbers in shares]
        return alone[values.index(max(values))]

    def _read(self, hybrids: Iterable[ComponentSet]) -> None:
        missing = [one for one in dict.fromkeys(hybrids) if Ask(one) not in self._answers]
        if missing:
            self._answers |= self._answers.bench.answer(missing)


def _cores(chosen: Sequence[NamedSet], looking: Looking) -> list[NamedSet]:
    """Return the fewest members of each group that keep most of its excess, where these are not all."""
    cores: list[NamedSet] = []
    for named in chosen:
        path = giving_back(named.components, looking.excess)
        kept = [one for one, value in path if value >= looking.search.keep * path[0][1] > 0]
        if kept and kept[-1] != named.components:
            cores.append(NamedSet(CORE, f"core of {named.name}", kept[-1]))
    return cores


def _pair(looking: Looking) -> list[NamedSet]:
    couples = [ComponentSet(couple, looking.among.universe) for couple in combinations(looking.among, 2)]
    values = looking.excess(couples)
    return [NamedSet(PAIR, PAIR, couples[values.index(max(values))])]


def _found(looking: Looking) -> list[NamedSet]:
    """Give back until few are left, take the group of most excess for each member, and go on without it."""
    found: list[NamedSet] = []
    pool = looking.among
    while len(found) < looking.search.number and len(pool) > 1:
        path = [step for step in giving_back(pool, looking.excess) if len(step[0]) <= looking.search.most]
        group, value = max(path, key=lambda step: step[1] / len(step[0]))
        if value <= NOTHING:
            break
        found.append(NamedSet(FOUND, f"found {len(found) + 1}", group))
        pool = pool - group
    return found


def _distinct(sets: Iterable[NamedSet]) -> list[NamedSet]:
    """Return the first of all sets that hold the same components."""
    first: dict[ComponentSet, NamedSet] = {}
    for named in sets:
        first.setdefault(named.components, named)
    return list(first.values())
