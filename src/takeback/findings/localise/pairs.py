"""How components work in pairs: what two carry together beyond what each carries alone.

The unit is the share of the change from base to tuned. A set's share is lost when the set is taken back, and
appears when it is grafted onto base. Where two stand in for each other, taking back either loses little and
taking back both loses much: their interaction is positive when taken back and negative when grafted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from takeback.component import Component, ComponentSet
from takeback.draw.result import Result, as_table
from takeback.findings.localise.shares import TAKE_BACK, at_least, changes_of, hybrids_of
from takeback.findings.sweep.run import DIRECTIONS
from takeback.measure.bench import Answers, Bench, Floats, Places
from takeback.run.errors import TakebackError
from takeback.run.stats import Estimate

COLUMNS: Mapping[str, str] = {
    "measure": "what was measured",
    "direction": "take back: from tuned; graft: onto base",
    "a": "one component",
    "b": "the other",
    "kinds": "the kinds of the two",
    "alone_a": "share of the change that a carries alone",
    "alone_b": "share of the change that b carries alone",
    "together": "share of the change that both carry together",
    "interaction": "together − alone_a − alone_b",
    "se": "standard error of the interaction over situations, clustered",
    "low": "lower end of its interval; the 95% hold for all pairs of a direction together (Bonferroni)",
    "high": "upper end of its interval",
    "first_half": "the interaction on one half of the situations",
    "second_half": "the interaction on the other half",
    "peers": "other pairs of the same kinds, the controls",
    "p": "(1 + peers that interact at least as much) / (1 + peers), by magnitude; missing without peers",
    "n": "situations",
    "clusters": "clusters of situations",
}
"""What each column of the table means."""

ALPHA = 0.05
"""How often any interval of a family may miss."""

_TYPES = {
    **dict.fromkeys(("peers", "n", "clusters"), "Int64"),
    **dict.fromkeys(("alone_a", "alone_b", "together", "interaction", "se", "low", "high"), "Float64"),
    **dict.fromkeys(("first_half", "second_half", "p"), "Float64"),
}


@dataclass(frozen=True, eq=False, repr=False)
class Pairs(Result):
    """Holds the interactions of components: a row of `COLUMNS` for each measure, direction and pair.

    Attributes:
        table: the pairs.
        changes: a row for each measure: `change`, `low`, `high` of tuned minus base, what shares are of.
    """

    name = "pairs"
    table: pd.DataFrame = field(metadata=as_table("pairs", COLUMNS))
    changes: pd.DataFrame = field(metadata=as_table("pair_changes"))

    def rows(self, measure: str, direction: str) -> pd.DataFrame:
        """Return the pairs of one direction of one measure, the strongest interaction first."""
        table = self.table
        rows = table[(table["measure"] == measure) & (table["direction"] == direction)]
        return rows.sort_values("interaction", ascending=False, kind="stable", ignore_index=True)

    def reproduced(self, measure: str, direction: str) -> float | None:
        """Return the correlation of the interactions between the two halves of the situations.

        Were they sampling noise, it would lie around 0. None where one doesn't vary.
        """
        rows = self.rows(measure, direction)
        halves = rows[["first_half", "second_half"]].dropna().to_numpy(np.float64).T
        if halves.shape[1] < 3 or not np.ptp(halves, axis=1).all():
            return None
        return float(np.corrcoef(halves)[0, 1])


def pairs(
    bench: Bench,
    components: Iterable[Component] | None = None,
    seed: int = 0,
) -> Pairs:
    """Measure the interaction of every two of some components (None: of all), taken back and grafted.

    It is the second difference I(a, b) = e(ab) − e(a) − e(b) of what sets carry, beside nothing else taken
    back (Grabisch and Roubens 1999, "An axiomatic approach to the concept of interaction among players in
    cooperative games", International Journal of Game Theory 28, for one coalition in place of their mean
    over coalitions). It needs n(n + 1) + 2 hybrids for n components. `seed` halves the situations.

    Raises:
        TakebackError: fewer than two components, or a measure's change can't be told from 0.
        UnknownName: a component is of another model.
    """
    universe = bench.anatomy.universe
    chosen = ComponentSet(universe if components is None else components, universe)
    if len(chosen) < 2:
        raise TakebackError(f"{len(chosen)} components have no pairs; name two or more")
    changes = changes_of(bench)
    couples = [ComponentSet(couple, universe) for couple in combinations(chosen, 2)]
    singles = [ComponentSet([one], universe) for one in chosen]
    answers = bench.answer(hybrids_of(bench, singles + couples))
    tables = [
        _table(answers, couples, direction, measure, seed)
        for measure in bench.measures
        for direction in DIRECTIONS
    ]
    title = str(bench.pair)
    return Pairs(title, pd.concat(tables, ignore_index=True), changes)


def carried_by(answers: Answers, components: ComponentSet, direction: str, measure: str) -> Floats:
    """Return what of the change goes with a set in every situation, in the measure's units, shape (n,).

    It is lost when the set is taken back from tuned, or gained when it is grafted onto base: nothing carries
    0 and everything tuned − base in either direction.
    """
    bench = answers.bench
    if direction == TAKE_BACK:
        return answers.change(bench.nothing, measure, components)
    return answers.change(~components, measure, bench.anatomy.universe)


def excess(answers: Answers, components: ComponentSet, direction: str, measure: str) -> Floats:
    """Return what a set carries beyond the sum of what its members carry alone, in every situation."""
    universe = components.universe
    alone = (carried_by(answers, ComponentSet([one], universe), direction, measure) for one in components)
    return carried_by(answers, components, direction, measure) - sum(alone)


def of_change(
    answers: Answers,
    numbers: Floats,
    measure: str,
    places: Places | None = None,
    confidence: float = 1 - ALPHA,
) -> Estimate:
    """Estimate numbers as a share of the change: mean(numbers) / mean(tuned − base), clustered."""
    bench = answers.bench
    change = answers.change(bench.nothing, measure, bench.anatomy.universe)
    return answers.ratio(numbers, change, places, confidence)


def _table(
    answers: Answers, couples: list[ComponentSet], direction: str, measure: str, seed: int
) -> pd.DataFrame:
    halves = answers.bench.halves(seed)
    confidence = 1 - ALPHA / len(couples)
    rows: list[dict[str, Any]] = []
    for couple in couples:
        found = excess(answers, couple, direction, measure)
        estimate = of_change(answers, found, measure, None, confidence)
        first, second = (of_change(answers, found, measure, places).value for places in halves)
        rows.append(
            {
                "measure": measure,
                "direction": direction,
                **_names(couple),
                **_parts(answers, couple, direction, measure),
                "interaction": estimate.value,
                **{name: getattr(estimate, name) for name in ("se", "low", "high", "n", "clusters")},
                "first_half": first,
                "second_half": second,
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(**_peers(table))[list(COLUMNS)].astype(_TYPES)


def _names(couple: ComponentSet) -> dict[str, str]:
    a, b = couple
    return {"a": str(a), "b": str(b), "kinds": " ".join(sorted((a.alike, b.alike)))}


def _parts(answers: Answers, couple: ComponentSet, direction: str, measure: str) -> dict[str, float]:
    alone = (ComponentSet([one], couple.universe) for one in couple)
    sets = dict(zip(("alone_a", "alone_b", "together"), (*alone, couple), strict=True))
    return {
        name: of_change(answers, carried_by(answers, components, direction, measure), measure).value
        for name, components in sets.items()
    }


def _peers(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Rank every pair among the others of its kinds, by the magnitude of the interaction."""
    strengths = table["interaction"].abs()
    others = [
        strengths[(table["kinds"] == kinds) & (table.index != place)].tolist()
        for place, kinds in enumerate(table["kinds"])
    ]
    ranks = [at_least(found, own) for found, own in zip(others, strengths, strict=True)]
    return {"peers": [len(found) for found in others], "p": ranks}
