"""The rule *carries the gain*: which components cost an arm the utility of its goal, and its control less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.component import Component
from takeback.draw.numbers import signed
from takeback.findings.localise.shares import TAKE_BACK
from takeback.measure.measures import typed
from takeback.run.sign_flips import flip_p_values
from takeback.run.stats import seeds_estimate
from takeback.study.by_situation import OWN
from takeback.study.contrasts.estimates import QuantityTable
from takeback.study.contrasts.reach import LEVEL, of_each
from takeback.study.sums import CarrierArms

Floats = NDArray[np.float64]

COSTS, MORE = "costs", "more than"
RULE: Final = "carries the gain"


@dataclass(frozen=True, eq=False)
class Carriers:
    """What the rule found.

    Attributes:
        table: a row for each component: component, carries, failed (the conditions that do not hold, with
            `; ` between them), n (seeds), and for each condition two columns, its number and `p: ` its p.
        conditions: the names of the conditions.
        words: what it is based on, and what it can't say.
    """

    table: pd.DataFrame
    conditions: tuple[str, ...]
    words: tuple[str, ...]


def carriers(table: pd.DataFrame, arms: CarrierArms, seed: int = 0) -> Carriers:
    """Decide of every component whether it carries the gain.

    With y the utility of the arm's own goal that is lost when the component is taken back, a component
    carries the gain when, for every pair of an arm and its control of the same goal,

    1. *costs ARM*: the mean of y over seeds is positive in the arm;
    2. *more than CONTROL*: the mean over seeds of y in the arm less y in its control is positive.

    Both are tested by sign flips of seeds, two-sided and by the largest statistic over components. Runs of
    one seed share situations and luck, and are paired; dealing them out to the two arms as if they were
    independent sees less (docs/findings/carries-agency.md). A component carries the gain only if every one of
    the k conditions has the right sign and p ≤ 0.1 / k: an intersection-union test (Berger 1982,
    Technometrics 24) whose error for a component is at most that of the condition that it fails, 0.05 / k
    since the sign counts too. So it is at most 0.05 over all components, whichever condition each of them
    fails. That a component is not found is no proof that it carries nothing: the words say how large it can
    be.

    Args:
        table: `Quantities.table`.
        arms: the pairs of arms.
        seed: of flips, where there are too many to list.
    """
    named = [arm for pair in arms.pairs for arm in pair]
    family = QuantityTable(table).family(TAKE_BACK, OWN, named)
    if family is None:
        told = f"{RULE}: {', '.join(named)} have no seed with effects on their own goal in common yet"
        return Carriers(typed(pd.DataFrame(columns=["component", "carries", "failed", "n"]), ()), (), (told,))
    order = sorted(range(len(family.components)), key=lambda k: Component.parse(family.components[k]).place())
    components = [family.components[place] for place in order]
    losses = dict(zip(named, -family.values[:, :, order], strict=True))
    found = conditions(losses, arms, seed)
    seeds = len(family.seeds)
    words = _words(found, losses, arms, components)
    return Carriers(_verdicts(components, found, seeds), tuple(found), tuple(words))


def conditions(
    losses: Mapping[str, Floats], arms: CarrierArms, seed: int = 0
) -> dict[str, tuple[Floats, Floats]]:
    """Return each condition of `carriers`: its number and its p for every component, shapes (components,).

    Args:
        losses: by arm, of utility, shape (seeds, components).
        arms: the pairs of arms.
        seed: of flips, where there are too many to list.

    >>> lost = np.array([[0.3, 0.0], [0.2, 0.1], [0.3, -0.1], [0.2, 0.0], [0.3, 0.1], [0.2, -0.1]])
    >>> found = conditions({"a": lost, "b": 0 * lost}, CarrierArms(of=("a",), than=("b",)))
    >>> {name: one.tolist() for name, one in holding(found).items()}
    {'costs a': [True, False], 'more than b': [True, False]}
    """
    found: dict[str, tuple[Floats, Floats]] = {}
    for one, other in arms.pairs:
        found[f"{COSTS} {one}"] = losses[one].mean(axis=0), flip_p_values(losses[one], seed).family
        more = losses[one] - losses[other]
        found[f"{MORE} {other}"] = more.mean(axis=0), flip_p_values(more, seed).family
    return found


def holding(found: Mapping[str, tuple[Floats, Floats]]) -> dict[str, NDArray[np.bool_]]:
    """Tell where each condition holds: the right sign, and p ≤ 0.1 / k; shapes (components,)."""
    most = of_each(len(found))
    return {name: (value > 0) & (p <= most) for name, (value, p) in found.items()}


def _verdicts(
    components: Sequence[str], found: Mapping[str, tuple[Floats, Floats]], seeds: int
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    holds = holding(found)
    for place, component in enumerate(components):
        failed = [name for name, ok in holds.items() if not ok[place]]
        numbers = {
            key: number
            for name, (value, p) in found.items()
            for key, number in ((name, float(value[place])), (f"p: {name}", float(p[place])))
        }
        about = {"component": component, "carries": not failed, "failed": "; ".join(failed), "n": seeds}
        rows.append({**about, **numbers})
    return pd.DataFrame(rows)


def _words(
    found: Mapping[str, tuple[Floats, Floats]],
    losses: Mapping[str, Floats],
    arms: CarrierArms,
    components: Sequence[str],
) -> list[str]:
    seeds = len(losses[arms.of[0]])
    told = [
        f"{RULE}: {len(components)} components, {seeds} seeds; {len(found)} conditions, each at p ≤ "
        f"{of_each(len(found)):.2g}, {LEVEL} over all components"
    ]
    bounds = {f"{COSTS} {arm}": losses[arm] for arm in arms.of}
    bounds |= {f"{MORE} {other}": losses[one] - losses[other] for one, other in arms.pairs}
    holds = holding(found)
    for name, (_, p) in found.items():
        if holds[name].any():
            continue
        known = [high for column in bounds[name].T if (high := seeds_estimate(column).high) is not None]
        bound = f": no larger than {signed(max(known))} (95%)" if known else ""
        told.append(f"{name} holds for no component, smallest p {p.min():.2g}{bound}")
    return told
