"""Orders of the components: which one would go first, by what is known of weights or of behaviour.

Whatever is known of behaviour comes from the situations to select on, so that curves on the others are a fair
test of an order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.component import Component, ComponentSet
from takeback.findings.localise.shares import carried, changes_of, hybrids_of, share_of, taken_back
from takeback.findings.sweep.run import DIRECTIONS, squared_norms
from takeback.measure.bench import Answers, Bench
from takeback.run.errors import TakebackError
from takeback.run.tables import records
from takeback.weights import Diff
from takeback.weights.circuits import Circuits

EXACT, GREEDY, ATTRIBUTION = "exact effect", "greedy", "attribution"
NORM, DENSITY, INVARIANT = "‖Δ‖", "rms Δ", "invariant change"
RANDOM = "random"

ORDERS: Mapping[str, str] = {
    GREEDY: "each next component is the one that adds most to those already chosen",
    EXACT: "by what each component carries alone, taken back or grafted",
    ATTRIBUTION: "by what gradients near tuned say of each alone; for smooth measures",
    NORM: "by the norm of each component's change",
    DENSITY: "by the root mean square change of each component's parameters",
    INVARIANT: "by the change of each component's circuits, whatever their coordinates; norms, embeddings "
    "and what else has no circuit of its own stand by ‖Δ‖ / ‖W‖",
    RANDOM: "at random: the control of all others",
}
"""Each order of the components, and what it goes by."""


@dataclass(frozen=True)
class Order:
    """The components in the order in which one direction of one measure takes them.

    `draw` numbers the random orders; others have 0.
    """

    name: str
    direction: str
    measure: str
    components: tuple[Component, ...]
    draw: int = 0


Scores = Mapping[Component, float]


def in_every_lane(bench: Bench, name: str, components: tuple[Component, ...], draw: int = 0) -> list[Order]:
    """Take one order for every measure and both directions."""
    return [
        Order(name, direction, measure, components, draw)
        for measure in bench.measures
        for direction in DIRECTIONS
    ]


def ranked(scores: Scores) -> tuple[Component, ...]:
    """Return components from the largest score to the smallest, equal ones in canonical order.

    >>> scores = {Component.parse("L0.MLP"): 0.1, Component.parse("NORM"): 0.5, Component.parse("EMBED"): 0.1}
    >>> [str(component) for component in ranked(scores)]
    ['NORM', 'EMBED', 'L0.MLP']
    """
    return tuple(sorted(scores, key=lambda component: (-scores[component], component.place())))


def by_effect(selection: Bench) -> list[Order]:
    """Order by what each component carries alone: 2 hybrids for each."""
    universe = selection.anatomy.universe
    singles = {component: ComponentSet([component], universe) for component in universe}
    answers = selection.answer(hybrids_of(selection, singles.values()))
    return [
        Order(EXACT, direction, measure, ranked(_carried(answers, singles, direction, measure)))
        for measure in selection.measures
        for direction in DIRECTIONS
    ]


def greedy(selection: Bench, rounds: int | None = None) -> list[Order]:
    """Order greedily: each next component is the one that adds most to those already chosen.

    What a component does alone misleads where others stand in for it; what it adds does so less. It needs a
    hybrid for each candidate of each round, n²/2 for n components in each direction of each measure. After
    `rounds` rounds (None: to the end) the rest follows by what it added in the last one.

    Raises:
        TakebackError: `rounds` is below 1.
    """
    if rounds is not None and rounds < 1:
        raise TakebackError(f"a greedy order needs one round or more, not {rounds}")
    nothing, universe = selection.nothing, selection.anatomy.universe
    orders = in_every_lane(selection, GREEDY, ())
    for number in range(len(universe) if rounds is None else min(rounds, len(universe))):
        trials: list[dict[Component, ComponentSet]] = []
        for order in orders:
            chosen = ComponentSet(order.components[:number], universe)
            trials.append({one: chosen | ComponentSet([one], universe) for one in universe - chosen})
        asks = [nothing, universe] + [
            taken_back(trial, order.direction)
            for order, sets in zip(orders, trials, strict=True)
            for trial in sets.values()
        ]
        answers = selection.answer(asks)
        orders = [
            Order(
                GREEDY,
                order.direction,
                order.measure,
                order.components[:number] + ranked(_carried(answers, sets, order.direction, order.measure)),
            )
            for order, sets in zip(orders, trials, strict=True)
        ]
    return orders


def by_attribution(selection: Bench, effect: Callable[[Component, str], NDArray[np.float64]]) -> list[Order]:
    """Order by attribution, which is the same in both directions.

    Args:
        selection: the situations to select on; `effect` is of the same.
        effect: what taking back a component does to a measure by attribution, in every situation.

    Raises:
        TakebackError: a measure's change can't be told from 0.
    """
    orders: list[Order] = []
    for row in records(changes_of(selection)):
        measure, sign = row["measure"], math.copysign(1.0, row["change"])
        scores = {one: -sign * float(np.nanmean(effect(one, measure))) for one in selection.anatomy.universe}
        orders += [Order(ATTRIBUTION, direction, measure, ranked(scores)) for direction in DIRECTIONS]
    return orders


def by_weights(bench: Bench, moved: Diff, circuits: Circuits | None) -> list[Order]:
    """Order by ‖Δ‖, by ‖Δ‖ for each parameter and, with `circuits`, by invariant change.

    A component without a circuit of its own (a norm, the embeddings, a key/value group, whose change its
    heads' circuits hold) stands by its ‖Δ‖ / ‖W‖: an invariant change too is relative to what was there.
    """
    squares = squared_norms(moved)
    scores: dict[str, Scores] = {
        NORM: squares,
        DENSITY: {one: square / bench.anatomy.parameters(one) for one, square in squares.items()},
    }
    if circuits is not None:
        scores[INVARIANT] = _relative(moved) | _invariant(circuits)
    return [order for name, by in scores.items() for order in in_every_lane(bench, name, ranked(by))]


def at_random(bench: Bench, number: int, seed: int = 0) -> list[Order]:
    """Draw random orders."""
    universe = list(bench.anatomy.universe)
    orders: list[Order] = []
    for draw in range(number):
        places = np.random.default_rng([seed, draw]).permutation(len(universe))
        orders += in_every_lane(bench, RANDOM, tuple(universe[place] for place in places), draw)
    return orders


def _carried(
    answers: Answers, sets: Mapping[Component, ComponentSet], direction: str, measure: str
) -> Scores:
    shares = {one: share_of(answers, taken_back(two, direction), measure) for one, two in sets.items()}
    return {one: carried(share.value, direction) for one, share in shares.items()}


def _relative(moved: Diff) -> dict[Component, float]:
    return _known(moved.components["component"], moved.components["relative"])


def _invariant(circuits: Circuits) -> dict[Component, float]:
    return _known(circuits.components["component"], circuits.components["change"])


def _known(names: Iterable[str], values: Iterable[float]) -> dict[Component, float]:
    """Return the values by component, 0 where one is missing: there was nothing to change."""
    parsed = zip(map(Component.parse, names), values, strict=True)
    return {one: 0.0 if pd.isna(value) else float(value) for one, value in parsed}
