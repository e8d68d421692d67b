"""Groups of components that do together what their single effects don't show, tested on unseen situations.

Where several components stand in for each other, taking back each alone does nothing, and all of them much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from takeback.component import Component, ComponentSet
from takeback.draw.result import Result, as_table
from takeback.findings.localise.measured import ends
from takeback.findings.localise.pairs import ALPHA, carried_by, excess, of_change
from takeback.findings.localise.search import NOTHING, Looking, Search, candidates
from takeback.findings.localise.shares import Controls, at_least, changes_of, hybrids_of
from takeback.findings.sweep.run import MATCHES
from takeback.findings.sweep.sets import CONTROLS, NamedSet
from takeback.measure.bench import Answers, Bench

COLUMNS: Mapping[str, str] = {
    "measure": "what was measured",
    "direction": "take back: from tuned; graft: onto base",
    "family": "where the group comes from; those that begin with random are controls",
    "group": "the group's name",
    "components": "what is in it",
    "n_components": "how many components",
    "joint": "share of the change that the group carries together",
    "joint_low": "lower end of its interval",
    "joint_high": "upper end",
    "singles": "sum of the shares that its members carry alone",
    "singles_low": "lower end of its interval",
    "singles_high": "upper end",
    "largest": "the member that carries most alone, in the situations of the search",
    "largest_share": "what that member carries alone",
    "excess": "joint − singles",
    "excess_low": "lower end of its interval",
    "excess_high": "upper end",
    "over_largest": "joint − largest_share",
    "over_largest_low": "lower end of its interval",
    "over_largest_high": "upper end",
    "redundant": "whether the intervals of the excess and of over_largest both lie above 0",
    "controls": "random groups of the same make-up",
    "p": "(1 + controls of at least its excess) / (1 + controls), missing without controls; not corrected",
    "matches": "for controls, the groups they match",
    "n": "situations, none of which the search has seen",
    "clusters": "clusters of situations",
}
"""What each column of the table means; intervals hold for all groups together (Bonferroni)."""

MEMBER_COLUMNS: Mapping[str, str] = {
    "member": "a component of the group",
    "alone": "share of the change that it carries alone",
    "alone_low": "lower end of its 95% interval",
    "alone_high": "upper end",
    "last": "share that it adds when all others of the group are there already",
    "last_low": "lower end of its 95% interval",
    "last_high": "upper end",
}
"""What each further column of the table of members means."""

_KEYS = ("measure", "direction", "group")
_ESTIMATES = ("joint", "singles", "excess", "over_largest")


@dataclass(frozen=True, eq=False, repr=False)
class Groups(Result):
    """Holds groups and their controls: a row of `COLUMNS` for each, and one for every member of a group.

    Attributes:
        table: the groups of the model, those that the search gave, and the random groups.
        members: what each member of a group does alone and last.
        changes: a row for the measure: `change`, `low`, `high` of tuned minus base, what shares are of.
    """

    name = "groups"
    table: pd.DataFrame = field(metadata=as_table("groups", COLUMNS))
    members: pd.DataFrame = field(metadata=as_table("group_members", MEMBER_COLUMNS))
    changes: pd.DataFrame = field(metadata=as_table("group_changes"))

    @property
    def redundant(self) -> pd.DataFrame:
        """The redundant groups, those of the largest excess first; none of them is a control."""
        rows = self.table[self.table["redundant"] & ~self.table["family"].isin(CONTROLS)]
        return rows.sort_values("excess", ascending=False, kind="stable", ignore_index=True)


def groups(
    bench: Bench,
    controls: Controls,
    search: Search | None = None,
) -> Groups:
    """Find groups whose joint effect exceeds the sum and the largest of their members' single effects.

    Half of the situations choose and the other half tests: the groups that the model's build suggests, their
    cores (the fewest members that keep most of the excess), the strongest of all pairs, and groups found by
    giving components back. A group is called redundant if it exceeds both (an intersection-union test:
    Berger 1982, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24(4)).
    About n² hybrids of n components are read for each group to be found.

    Raises:
        TakebackError: fewer than two components, or the measure's change can't be told from 0.
        UnknownName: the bench has no such measure.
    """
    search = search or Search()
    bench = bench.about(search.measure or bench.measures[0])
    selecting, testing = (bench.some(places) for places in bench.halves(search.seed))
    changes = changes_of(testing)
    looking = Looking(selecting, search)
    chosen = candidates(looking)
    every = [*chosen, *controls.beside(bench.anatomy, chosen)]
    asks = hybrids_of(testing, _to_ask(chosen, every), [search.direction])
    answers = testing.answer(asks)
    trial = _Trial(answers, looking.measure, search.direction, 1 - ALPHA / len(chosen))
    rows = [trial.row(named, looking.largest(named.components)) for named in every]
    members = [trial.member(named, one) for named in chosen for one in named.components]
    return Groups(
        str(bench.pair),
        _table(rows),
        pd.DataFrame(members).astype(dict.fromkeys(list(MEMBER_COLUMNS)[1:], "Float64")),
        changes,
    )


@dataclass(frozen=True)
class _Trial:
    """What groups do in the situations that the search has not seen."""

    answers: Answers
    measure: str
    direction: str
    confidence: float

    def row(self, named: NamedSet, largest: ComponentSet) -> dict[str, Any]:
        joint = carried_by(self.answers, named.components, self.direction, self.measure)
        beyond = excess(self.answers, named.components, self.direction, self.measure)
        most = carried_by(self.answers, largest, self.direction, self.measure)
        numbers = dict(zip(_ESTIMATES, (joint, joint - beyond, beyond, joint - most), strict=True))
        found = {
            name: of_change(self.answers, one, self.measure, None, self.confidence)
            for name, one in numbers.items()
        }
        lowest = [found[name].low for name in ("excess", "over_largest")]
        return {
            "measure": self.measure,
            "direction": self.direction,
            "family": named.family,
            "group": named.name,
            "components": str(named.components),
            "n_components": len(named.components),
            **{key: end for name, one in found.items() for key, end in ends(name, one).items()},
            "largest": str(largest),
            "largest_share": of_change(self.answers, most, self.measure).value,
            "redundant": all(low is not None and low > NOTHING for low in lowest),
            "matches": MATCHES.join(named.matches),
            "n": found["joint"].n,
            "clusters": found["joint"].clusters,
        }

    def member(self, named: NamedSet, one: Component) -> dict[str, Any]:
        group = named.components
        single = ComponentSet([one], group.universe)
        alone = carried_by(self.answers, single, self.direction, self.measure)
        whole, rest = (
            carried_by(self.answers, part, self.direction, self.measure) for part in (group, group - single)
        )
        found = {"alone": alone, "last": whole - rest}
        return {
            **dict(zip(_KEYS, (self.measure, self.direction, named.name), strict=True)),
            "member": str(one),
            **{
                key: end
                for name, numbers in found.items()
                for key, end in ends(name, of_change(self.answers, numbers, self.measure)).items()
            },
        }


def _to_ask(chosen: Sequence[NamedSet], every: Sequence[NamedSet]) -> list[ComponentSet]:
    """Return the groups, every component alone, and each group without each of its members."""
    universe = every[0].components.universe
    singles = [ComponentSet([one], universe) for one in universe]
    without = [
        named.components - ComponentSet([one], universe) for named in chosen for one in named.components
    ]
    return [*(named.components for named in every), *singles, *without]


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rank each group's excess among its controls'."""
    for row in rows:
        others = [other["excess"] for other in rows if row["group"] in other["matches"].split(MATCHES)]
        row |= {"controls": len(others), "p": at_least(others, row["excess"])}
    numbers = [name for one in _ESTIMATES for name in (one, f"{one}_low", f"{one}_high")]
    kinds = dict.fromkeys([*numbers, "largest_share", "p"], "Float64")
    counts = dict.fromkeys(("n_components", "controls", "n", "clusters"), "Int64")
    return pd.DataFrame(rows)[list(COLUMNS)].astype(kinds | counts)
