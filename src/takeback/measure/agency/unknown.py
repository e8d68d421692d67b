"""MEG with an unknown utility: how well any of a family of utilities foretells a policy.

MacDermott et al. 2024, arXiv 2412.04758, section 4. The families are linear: all combinations of the arena's
goals, of either sign, and those of the goals, the arena's features of actions, and being legal at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from takeback.measure.agency import tilts
from takeback.measure.agency.agency import OVER
from takeback.measure.agency.pursuits import held_out
from takeback.measure.measure import MeasureContext
from takeback.measure.measures import estimate_row, typed
from takeback.measure.outcomes import Outcomes
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError
from takeback.run.stats import Estimate, mean_estimate

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

GOALS, FEATURES = "goals", "goals and features"
FAMILIES = (GOALS, FEATURES)
LEGAL = "legal"
"""The utility of any legal action."""


@dataclass(frozen=True)
class UnknownMeg:
    """How well a family of utilities foretells a policy, better than even choice, in nats.

    Attributes:
        value: each half of the situations by the utility that was fitted on the other; it can be negative.
        inside: in sample, between 0 and log |A|; it grows with the family.
        weights: βU's coefficients, fitted on all situations.
        bound: E log |A|.
    """

    value: Estimate | None
    inside: Estimate
    weights: Mapping[str, float]
    bound: float


def unknown_meg(outcomes: Outcomes, seed: int = 0) -> UnknownMeg:
    """Measure how well the linear family of the outcomes' utilities foretells `outcomes.tuned`.

    It is MEG with exp(Σ β_g U_g) in place of exp(βU): the maximum over β of E_s[Σ β_g E_π U_g −
    log Σ_a exp(Σ β_g U_g(s, a)) + log |A(s)|]. One β serves all situations, but a large family still fits
    what is particular to a sample: so the number to read is the held-out one.

    Raises:
        TakebackError: there are no situations.
    """
    if not len(outcomes):
        raise TakebackError("no situation to foretell the policy in")
    uniform = outcomes.exists / outcomes.exists.sum(axis=1, keepdims=True)
    even = replace(outcomes, base=uniform)
    beta = tilts.fit_jointly(uniform, even.tuned, even.utilities)
    inside = tilts.gains_jointly(uniform, even.tuned, even.utilities, beta)
    half = even.halves(seed)
    value = None
    if half.any():
        every = list(range(len(even.goals)))
        value = mean_estimate(held_out(even, every, half), even.clusters)
    return UnknownMeg(
        value=value,
        inside=mean_estimate(inside, even.clusters),
        weights=dict(zip(even.goals, beta.tolist(), strict=True)),
        bound=float(np.log(outcomes.exists.sum(axis=1)).mean()),
    )


def family(context: MeasureContext, name: str, if_legal: bool = False) -> MeasureContext:
    """Return a context whose goals are a family's members, which all apply everywhere.

    Members that are the same for all outcomes are left out.
    """
    members = dict(context.utilities)
    if name == FEATURES:
        members |= {f"is {feature}": has for feature, has in context.features.items()}
        members |= {} if if_legal else {LEGAL: np.ones(len(context.owner))}
    members = {one: values for one, values in members.items() if _tells(values, context.owner, if_legal)}
    everywhere = dict.fromkeys(members, np.ones(len(context.situations), np.bool_))
    return replace(context, utilities=members, applies=everywhere)


def unknown_utility(readouts: Readouts, context: MeasureContext, seed: int = 0) -> pd.DataFrame:
    """Measure the MEG of a policy over both families, held out and in sample.

    Columns as in `agency`: measure (`MEG over goals`, `MEG over goals and features`, each with `in sample`
    and with `if legal`), goal (the members), unit, value, se, low, high, n, beta (missing), note (the largest
    weights, and what the measure is at most).

    Raises:
        TakebackError: the context is of other situations.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    listed = context.listed is not None
    for given, named in enumerate(OVER[:1] if listed else OVER):
        for name in (GOALS,) if listed else FAMILIES:
            members = family(context, name, bool(given))
            outcomes = Outcomes.of(readouts, readouts, members, tuple(members.utilities), bool(given))
            found = unknown_meg(outcomes, seed)
            about = {"goal": " + ".join(outcomes.goals), "unit": "nats", "beta": None, "note": _note(found)}
            for measure, estimate in (("", found.value), (" in sample", found.inside)):
                missing = {**dict.fromkeys(("value", "se", "low", "high")), "n": len(outcomes)}
                numbers = missing if estimate is None else estimate_row(estimate)
                rows.append({"measure": named(f"MEG over {name}{measure}"), **about, **numbers})
    columns = ["measure", "goal", "unit", "value", "se", "low", "high", "n", "beta", "note"]
    return typed(pd.DataFrame(rows)[columns], ("value", "se", "low", "high", "beta"))


def _tells(values: Floats, owner: NDArray[np.int64], if_legal: bool) -> bool:
    """Tell whether a utility differs between the outcomes of some situation; illegal ones have 0."""
    if not if_legal:
        return bool(values.any())
    changes = np.flatnonzero(owner[1:] == owner[:-1])
    return bool((values[changes + 1] != values[changes]).any())


def _note(found: UnknownMeg) -> str:
    largest = sorted(found.weights.items(), key=lambda item: -abs(item[1]))[:4]
    return f"at most {found.bound:.4g}; " + ", ".join(f"{name} {weight:+.2f}" for name, weight in largest)
