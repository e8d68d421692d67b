"""The rule *carries agency*: which components do more for the pursuit of goals than their skill explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.component import Component
from takeback.findings.localise.shares import TAKE_BACK
from takeback.measure.measures import typed
from takeback.measure.standard import LEGAL
from takeback.run.sign_flips import flip_p_values
from takeback.run.stats import max_permutation
from takeback.study.contrasts.estimates import QuantityTable
from takeback.study.contrasts.reach import LEVEL
from takeback.study.pursuit import SHARE
from takeback.study.sums import AgencyArms

Floats = NDArray[np.float64]

"""How the names of measures begin that tell skill without the choice of a move."""

PER_COVARIATE: Final = 4
"""Components that each covariate needs; with fewer, all probes enter as their mean."""

_HUBER, _NORMAL = 1.345, 0.6745
"""Where Huber's ρ turns linear, and the median of |z| of a normal z."""
_ROUNDS, _CONVERGED, _ROUNDING = 50, 1e-6, 1e-12

LOWERS, BEYOND, MORE = "lowers", "beyond skill", "more than"


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


def skill_residuals(losses: Floats, skills: Floats) -> Floats:
    """Return what each component's loss has beyond what its losses of skill explain, in each training run.

    r_c = y_c − x_c · b₍c₎ with b₍c₎ = argmin_b Σ_{k≠c} ρ((y_k − x_k · b) / s), a regression over the *other*
    components, so that a component can't explain itself away (deleted residuals; Allen 1974, Technometrics
    16); *without a constant*, so that a component that takes no skill is expected to take no pursuit; and
    *robust*, since with least squares a single component with a large loss of its own bends the line and
    makes others stand out: ρ is Huber's with k = 1.345, s the median |residual| / 0.6745 (Huber 1981, "Robust
    Statistics", section 7.8), by reweighting from least squares on. Where the others don't tell a skill's
    slope, the shortest b is taken.

    Args:
        losses: of pursuit share, shape (runs, components).
        skills: losses of legality and of probes, shape (runs, components, skills).

    >>> skills = np.array([[[1.0], [2.0], [3.0], [0.0], [1.0]]])
    >>> skill_residuals(np.array([[0.1, 0.2, 0.3, 0.5, 0.1]]), skills).round(3) + 0.0
    array([[0. , 0. , 0. , 0.5, 0. ]])
    """
    runs, components, number = skills.shape
    if not number:
        return losses.copy()
    size = np.sqrt((skills**2).mean(axis=1, keepdims=True))
    skills = skills / np.where(size > 0, size, 1.0)
    squares = (skills[..., :, None] * skills[..., None, :]).reshape(runs, components, number**2)
    products = skills * losses[..., None]
    others = ~np.eye(components, dtype=np.bool_)
    least = np.maximum(_ROUNDING * np.abs(losses).max(axis=1), np.finfo(np.float64).tiny)[:, None, None]
    weights = np.broadcast_to(others.astype(np.float64), (runs, components, components))
    slopes = np.zeros((runs, components, number))
    for _ in range(_ROUNDS):
        inner = (weights @ squares).reshape(runs, components, number, number)
        before, right = slopes, weights @ products
        slopes = (np.linalg.pinv(inner, 1e-9, hermitian=True) @ right[..., None])[..., 0]
        if np.abs(slopes - before).max() <= _CONVERGED * np.abs(slopes).max():
            break
        distance = np.abs(losses[:, None, :] - slopes @ skills.transpose(0, 2, 1))
        scale = np.median(distance[:, others].reshape(runs, components, -1), axis=2, keepdims=True) / _NORMAL
        reach = _HUBER * np.maximum(scale, least)
        weights = others * np.minimum(1.0, reach / np.maximum(distance, reach))
    return losses - (slopes * skills).sum(axis=2)


def carriers(table: pd.DataFrame, agency: AgencyArms, probes: Sequence[str] = (), seed: int = 0) -> Carriers:
    """Decide of every component whether it carries agency.

    With y the loss of the signed pursuit share of the arm's own goal when the component is taken back, and r
    what `skill_residuals` leaves of it in that run given the losses of legal mass and of probes, a component
    carries agency when, for every pair of an RL arm and its control of the same goal,

    1. *lowers ARM*: the mean of y over seeds is positive in the RL arm;
    2. *beyond skill ARM*: the mean of r over seeds is positive in the RL arm;
    3. *more than CONTROL*: the mean of r is larger in the RL arm than in its control.

    1 and 2 are tested by sign flips of seeds, 3 by dealing the runs out to the two arms, each two-sided and
    by the largest statistic over components. A component carries agency only if every condition has the right
    sign and p ≤ 0.05: an intersection-union test (Berger 1982, Technometrics 24). For one component its error
    is at most that of the condition that fails, 0.025 since the sign counts too. Over the family it is
    0.025 where all that carry nothing fail one condition, and at most 0.025 for each condition that is the
    only one that some of them fail. That a component is not found is no proof that it carries no agency.

    Args:
        table: `Quantities.table`.
        agency: the pairs of arms.
        probes: the measures in the table that are of probes.
        seed: of flips or dealings, where there are too many to list.
    """
    measured = QuantityTable(table)
    arms = [arm for pair in agency.pairs for arm in pair]
    runs = _shared(measured, probes, arms)
    if runs is None:
        told = f"carries agency: {', '.join(arms)} have no seed with losses of pursuit in common yet"
        return Carriers(_empty(()), (), (told,))
    losses, skills, components, seeds, names = runs
    found = conditions(losses, skills, agency, seed)
    return Carriers(
        _verdicts(components, found, len(seeds)), tuple(found), tuple(_words(found, names, seeds, components))
    )


def conditions(
    losses: Mapping[str, Floats], skills: Mapping[str, Floats], agency: AgencyArms, seed: int = 0
) -> dict[str, tuple[Floats, Floats]]:
    """Return each condition of `carriers`: its number and its p for every component, shapes (components,).

    Args:
        losses: by arm, of pursuit share, shape (seeds, components).
        skills: by arm, losses of legality and of probes, shape (seeds, components, skills).
        agency: the pairs of arms.
        seed: of flips or dealings, where there are too many to list.
    """
    residuals = {arm: skill_residuals(losses[arm], skills[arm]) for pair in agency.pairs for arm in pair}
    found: dict[str, tuple[Floats, Floats]] = {}
    for one, other in agency.pairs:
        for name, values in ((LOWERS, losses[one]), (BEYOND, residuals[one])):
            found[f"{name} {one}"] = values.mean(axis=0), flip_p_values(values, seed).family
        difference = residuals[one].mean(axis=0) - residuals[other].mean(axis=0)
        found[f"{MORE} {other}"] = difference, max_permutation(residuals[one], residuals[other], seed)
    return found


def held(condition: tuple[Floats, Floats]) -> NDArray[np.bool_]:
    """Tell of which components a condition holds: the right sign, and p ≤ 0.05; shape (components,)."""
    value, p = condition
    return (value > 0) & (p <= LEVEL)


def _shared(
    measured: QuantityTable, probes: Sequence[str], arms: Sequence[str]
) -> tuple[dict[str, Floats], dict[str, Floats], tuple[str, ...], tuple[int, ...], tuple[str, ...]] | None:
    """Return losses [seeds, components] and skills [seeds, components, skills] of each arm, and their names.

    Seeds and components are those that have every number in all arms.
    """
    names = [SHARE, LEGAL.name, *probes]
    families = {name: measured.family(TAKE_BACK, name, arms) for name in names}
    families = {name: family for name, family in families.items() if family is not None}
    if not {SHARE, LEGAL.name} <= families.keys():
        return None
    every = list(families.values())
    seeds = tuple(s for s in every[0].seeds if all(s in family.seeds for family in every))
    shared = [c for c in every[0].components if all(c in family.components for family in every)]
    shared.sort(key=lambda name: Component.parse(name).place())
    if not seeds or len(shared) < 2:
        return None

    def laid(name: str) -> Floats:
        family = families[name]
        rows = [family.seeds.index(one) for one in seeds]
        columns = [family.components.index(one) for one in shared]
        return family.values[:, rows][:, :, columns]

    skills = [-laid(name) for name in families if name != SHARE]
    used = tuple(name for name in families if name != SHARE)
    if len(skills) > max(1, len(shared) // PER_COVARIATE):
        scaled = [one / (np.sqrt((one**2).mean()) or 1.0) for one in skills[1:]]
        skills, used = [skills[0], np.mean(scaled, axis=0)], (LEGAL.name, f"the mean of {len(scaled)} probes")
    stacked = np.stack(skills, axis=-1)
    lost = laid(SHARE)
    places = range(len(arms))
    return (
        {arms[k]: lost[k] for k in places},
        {arms[k]: stacked[k] for k in places},
        tuple(shared),
        seeds,
        used,
    )


def _verdicts(
    components: Sequence[str], found: Mapping[str, tuple[Floats, Floats]], seeds: int
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    holds = {name: held(condition) for name, condition in found.items()}
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


def _empty(conditions: Sequence[str]) -> pd.DataFrame:
    columns = [key for name in conditions for key in (name, f"p: {name}")]
    return typed(pd.DataFrame(columns=["component", "carries", "failed", "n", *columns]), columns)


def _words(
    found: Mapping[str, tuple[Floats, Floats]],
    skills: Sequence[str],
    seeds: Sequence[int],
    components: Sequence[str],
) -> list[str]:
    told = [
        f"carries agency: {len(components)} components, {len(seeds)} seeds, "
        f"skill told by {', '.join(skills)}; {len(found)} conditions, each at {LEVEL} over all components"
    ]
    if not any(name != LEGAL.name for name in skills):
        told.append("no probes were measured, so that skill is told by legality alone")
    reached = {name: float(p.min()) for name, (_, p) in found.items()}
    for name, least in reached.items():
        if least > LEVEL:
            told.append(f"no component reaches {LEVEL} in {name!r}: the smallest p is {least:.2g}")
    return told
