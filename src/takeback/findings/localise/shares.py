"""Necessity and sufficiency: what remains of a change without a set, what appears of it with that set alone.

Taking back a set asks whether the change needs it, grafting it onto base whether it is enough. Both hybrids
stand on one scale, the share of the change that they show: 0 as base, 1 as tuned. Where components stand in
for each other or work only together, the two disagree, so both are always told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from takeback.component import Component, ComponentSet
from takeback.draw.result import Result, as_table
from takeback.findings.sweep.run import DIRECTIONS, MATCHES
from takeback.findings.sweep.sets import CONTROLS, NamedSet, chosen_sets, random_controls
from takeback.measure.bench import Answers, Bench
from takeback.run.errors import TakebackError
from takeback.run.stats import Estimate

if TYPE_CHECKING:
    from takeback.anatomy import Anatomy

TAKE_BACK, GRAFT = DIRECTIONS
OTHERS = "each other component"
"""The family of components that no other family has alone: norms, embeddings, what no head owns."""

COLUMNS: Mapping[str, str] = {
    "measure": "what was measured",
    "direction": "take back: necessity; graft: sufficiency",
    "family": "the family of the set; those that begin with random are controls",
    "set": "the set's name",
    "components": "what is in it",
    "n_components": "how many components",
    "parameters": "how many parameters",
    "delta_share": "its share of ‖Δ‖², missing where nothing changed",
    "share": "share of the change that remains when the set is taken back, or appears when it is grafted",
    "se": "standard error of the share, clustered; missing with fewer than two clusters",
    "low": "lower end of its interval",
    "high": "upper end of its interval",
    "carried": "share of the change that the set carries: what is lost when taken back, what appears when "
    "grafted",
    "n": "situations",
    "clusters": "clusters of situations",
    "controls": "sets that match it: random ones; for single components of which all are asked, the others",
    "controls_carried": "what these carry, mean",
    "p": "(1 + controls that carry at least as much) / (1 + controls), missing without controls; not "
    "corrected for the number of sets",
    "matches": "for controls, the sets they match",
}
"""What each column of the table means."""

_TYPES = {
    **dict.fromkeys(("n_components", "parameters", "n", "clusters", "controls"), "Int64"),
    **dict.fromkeys(
        ("delta_share", "share", "se", "low", "high", "carried", "controls_carried", "p"), "Float64"
    ),
}


@dataclass(frozen=True)
class Controls:
    """How the random sets beside real ones are drawn; see `random_controls`.

    Attributes:
        delta: ‖Δ‖² of every component.
        number: random sets for each make-up; 19 let p be as small as 0.05.
        seed: of the draws.
    """

    delta: Mapping[Component, float] = field(repr=False)
    number: int = 19
    seed: int = 0

    def beside(self, anatomy: Anatomy, sets: Sequence[NamedSet]) -> list[NamedSet]:
        """Draw the random sets that match the given ones; nothing matches everything."""
        drawn = random_controls(anatomy, sets, self.delta, self.number, self.seed)
        return [control for control in drawn if control.components]

    def share(self, components: ComponentSet) -> float | None:
        """Return the share of ‖Δ‖² that a set has, None where nothing changed."""
        total = sum(self.delta.values())
        return sum(self.delta[component] for component in components) / total if total else None


@dataclass(frozen=True, eq=False, repr=False)
class Shares(Result):
    """Holds what each set carries of the change: a row of `COLUMNS` for each measure, direction and set.

    Attributes:
        table: real sets and their controls.
        changes: a row for each measure: `change`, `low`, `high` of tuned minus base, what shares are of.
    """

    name = "shares"
    table: pd.DataFrame = field(metadata=as_table("shares", COLUMNS))
    changes: pd.DataFrame = field(metadata=as_table("changes"))


def every_set(anatomy: Anatomy, requests: Iterable[str] | None = None) -> list[NamedSet]:
    """Return the sets of some families, or by name, and every component that is not among them alone."""
    sets = chosen_sets(anatomy, requests)
    known = {named.components for named in sets}
    alone = (ComponentSet([component], anatomy.universe) for component in anatomy.universe)
    return sets + [NamedSet(OTHERS, str(single), single) for single in alone if single not in known]


def shares(
    bench: Bench,
    sets: Sequence[NamedSet],
    controls: Controls,
) -> Shares:
    """Measure what remains of a change when each set is taken back, and what appears when it is grafted.

    Two hybrids are read for each set and each control.

    Raises:
        TakebackError: a measure's change can't be told from 0, or an answer can't be had (see
            `Bench.answer`).
    """
    changes = changes_of(bench)
    every = [*sets, *controls.beside(bench.anatomy, sets)]
    answers = bench.answer(hybrids_of(bench, [one.components for one in every]))
    tables = [
        _table(answers, every, controls, direction, measure)
        for measure in bench.measures
        for direction in DIRECTIONS
    ]
    title = str(bench.pair)
    return Shares(title, pd.concat(tables, ignore_index=True), changes)


def hybrids_of(
    bench: Bench, sets: Iterable[ComponentSet], directions: Iterable[str] = DIRECTIONS
) -> list[ComponentSet]:
    """Return what is to be asked for the shares of sets: tuned, base, and their hybrids in each direction."""
    given, ends = list(sets), [bench.nothing, bench.anatomy.universe]
    return [*ends, *(taken_back(one, direction) for direction in directions for one in given)]


def taken_back(components: ComponentSet, direction: str) -> ComponentSet:
    """Return what the hybrid takes back: to graft a set onto base is to take back all else from tuned."""
    return components if direction == TAKE_BACK else ~components


def share_of(answers: Answers, hybrid: ComponentSet | Mapping[ComponentSet, float], measure: str) -> Estimate:
    """Estimate the share of the change that a hybrid shows: 0 as base, 1 as tuned.

    It is mean(hybrid − base) / mean(tuned − base) over situations, with the error of a ratio (see
    `ratio_estimate`). Of several hybrids with weights that add up to 1 it is the weighted mean share: the
    ratio of the weighted mean, so its error knows that all of them were read in the same situations.

    Args:
        answers: with the hybrids, and with nothing and everything taken back.
        hybrid: what is taken back, or weights by what is.
        measure: one of the bench's.

    Raises:
        UnknownName: a hybrid was not asked.
        TakebackError: the change is 0.
    """
    weights = {hybrid: 1.0} if isinstance(hybrid, ComponentSet) else hybrid
    base = answers.of(answers.bench.anatomy.universe, measure)
    shown = sum(weight * answers.of(one, measure) for one, weight in weights.items()) - base
    return answers.ratio(shown, answers.of(answers.bench.nothing, measure) - base)


def carried(share: float, direction: str) -> float:
    """Return the share of the change that a set carries, from that which its hybrid shows."""
    return 1 - share if direction == TAKE_BACK else share


def at_least(others: Sequence[float], own: float) -> float | None:
    """Return the p-value of a rank: (1 + others of at least `own`) / (1 + others), None without others.

    It is valid whatever the values' distribution, if `own` is one more draw under the null (Phipson and Smyth
    2010, "Permutation p-values should never be zero", arXiv 1603.05766).

    >>> at_least([0.1, 0.5, 0.2], 0.3), at_least([], 0.3)
    (0.5, None)
    """
    if not others:
        return None
    return (1 + sum(other >= own - 1e-9 for other in others)) / (1 + len(others))


class NoChange(TakebackError):
    """A measure did not change between base and tuned, as far as can be told, so nothing is a share of it."""


def told_from_zero(estimate: Estimate) -> bool:
    """Return whether an interval leaves out 0; of a value whose interval is unknown, whether it is not 0."""
    low, high = (estimate.value if end is None else end for end in (estimate.low, estimate.high))
    return not low <= 0 <= high


def changes_of(bench: Bench) -> pd.DataFrame:
    """Measure what shares are of: for each measure its `change`, tuned minus base, with `low` and `high`.

    Raises:
        NoChange: the interval of a change holds 0: a share of it would mean nothing.
    """
    ends = bench.answer(hybrids_of(bench, []))
    rows: list[dict[str, Any]] = []
    for measure in bench.measures:
        whole = ends.mean(ends.change(bench.nothing, measure, bench.anatomy.universe))
        if not told_from_zero(whole):
            raise NoChange(
                f"{measure} changed by {whole}, which can't be told from 0, so nothing is a share of it; "
                "leave it out or take more situations"
            )
        rows.append({"measure": measure, "change": whole.value, "low": whole.low, "high": whole.high})
    return pd.DataFrame(rows).astype(dict.fromkeys(("change", "low", "high"), "Float64"))


def _table(
    answers: Answers, every: Sequence[NamedSet], controls: Controls, direction: str, measure: str
) -> pd.DataFrame:
    anatomy = answers.bench.anatomy
    found = [share_of(answers, taken_back(one.components, direction), measure) for one in every]
    values = [carried(one.value, direction) for one in found]
    rows: list[dict[str, Any]] = []
    for named, estimate, value in zip(every, found, values, strict=True):
        peers = [values[place] for place in _peers(named, every)]
        rows.append(
            {
                "measure": measure,
                "direction": direction,
                "family": named.family,
                "set": named.name,
                "components": str(named.components),
                "n_components": len(named.components),
                "parameters": anatomy.parameters(named.components),
                "delta_share": controls.share(named.components),
                "share": estimate.value,
                **{name: getattr(estimate, name) for name in ("se", "low", "high", "n", "clusters")},
                "carried": value,
                "controls": len(peers),
                "controls_carried": sum(peers) / len(peers) if peers else None,
                "p": at_least(peers, value),
                "matches": MATCHES.join(named.matches),
            }
        )
    return pd.DataFrame(rows)[list(COLUMNS)].astype(_TYPES)


def _peers(named: NamedSet, every: Sequence[NamedSet]) -> list[int]:
    """Return the places of a set's controls; those of a component whose kind is all there are the others."""
    if named.family in CONTROLS:
        return []
    matched = [place for place, other in enumerate(every) if named.name in other.matches]
    if matched or len(named.components) != 1:
        return matched
    kinds = _kinds(named)
    siblings = {
        other.components: place
        for place, other in enumerate(every)
        if other.family not in CONTROLS and other.components != named.components and _kinds(other) == kinds
    }
    return list(siblings.values())


def _kinds(named: NamedSet) -> list[str]:
    return [component.alike for component in named.components]
