"""Candidates for a rule that names the components which carry what reinforcement learning did.

Each asks conditions of every component, for both goals; a component is named if all of them hold with the
right sign at 0.05 over all components (maxT) and seeds. `share` is the rule that the package had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from design import EXCHANGED, GOALS, MIRRORED, PAIRS, REST, SETS, S
from numpy.typing import NDArray

from takeback.run.sign_flips import flip_p_values
from takeback.run.stats import max_permutation
from takeback.study.contrasts.carriers import conditions as package_conditions
from takeback.study.contrasts.reach import of_each
from takeback.study.sums import CarrierArms

Floats = NDArray[np.float64]

LEVEL: Final = 0.05
UTILITY, LEGAL, WEIGHTS = "loss of utility, if legal", "loss of legal mass", "share of ‖Δ‖²"
SHARE, KL = "loss of signed pursuit share, if legal", "loss of KL from its parent"
EVERY_ANSWER: Final = "loss of utility"
"""Of all answers, an illegal one being worth nothing."""
WHOLES: Final = (S, REST)
APART_PAIR: Final = "apart"

_HUBER, _NORMAL, _ROUNDS = 1.345, 0.6745, 50


class Numbers:
    """The readings of one set and goal, laid out as seeds × units."""

    def __init__(self, table: pd.DataFrame, units: Sequence[str]) -> None:
        self.units = tuple(units)
        self._values = table.set_index(["arm", "how", "measure", "unit", "seed"])["value"].sort_index()
        self.seeds = sorted(table["seed"].unique())

    def of(self, arm: str, how: str, measure: str) -> Floats:
        """Return values of every unit; what an arm did not move has lost nothing."""
        known = self._table(arm, how, measure)
        laid = np.zeros((len(self.seeds), len(self.units)))
        for column, unit in enumerate(self.units):
            if known is not None and unit in known.index:
                laid[:, column] = known.loc[unit, self.seeds].to_numpy(np.float64)
        return laid

    def whole(self, arm: str, measure: str) -> Floats:
        """Return what the whole model has more than base, shape (seeds, 1)."""
        return self._values.loc[(arm, "whole", measure, "")].loc[self.seeds].to_numpy(np.float64)[:, None]

    def _table(self, arm: str, how: str, measure: str) -> pd.DataFrame | None:
        key = arm, how, measure
        return self._values.loc[key].unstack("seed") if key in self._values.index else None


def share(numbers: Numbers, one: str, other: str) -> dict[str, tuple[Floats, Floats]]:
    """Ask for a loss of the pursuit share, beyond what legality explains, and more than in the control."""
    lost = {arm: numbers.of(arm, "take back", SHARE) for arm in (one, other)}
    skill = {arm: numbers.of(arm, "take back", LEGAL) for arm in (one, other)}
    beyond = {arm: residuals(np.nan_to_num(lost[arm]), skill[arm]) for arm in lost}
    undefined = np.isnan(lost[one]).any(axis=0) | np.isnan(lost[other]).any(axis=0)
    found = {
        "lowers": flipped(np.nan_to_num(lost[one])),
        "beyond skill": flipped(beyond[one]),
        "more": dealt(beyond[one], beyond[other]),
    }
    return {name: (value, np.where(undefined, 1.0, p)) for name, (value, p) in found.items()}


def gain(numbers: Numbers, one: str, other: str) -> dict[str, tuple[Floats, Floats]]:
    """Ask for a loss of the goal's utility, and for more of it than in the control."""
    lost = [numbers.of(arm, "take back", UTILITY) for arm in (one, other)]
    return {"costs": flipped(lost[0]), "more": dealt(*lost)}


def beyond_distance(numbers: Numbers, one: str, other: str) -> dict[str, tuple[Floats, Floats]]:
    """Ask for a larger part of the gain than of the divergence, and for more of that than in the control."""
    over = [part(numbers, arm, UTILITY) - part(numbers, arm, KL) for arm in (one, other)]
    return {"costs": flipped(over[0]), "more": dealt(*over)}


def beyond_weights(numbers: Numbers, one: str, other: str) -> dict[str, tuple[Floats, Floats]]:
    """Ask for a larger part of the gain than of ‖Δ‖², and for more of that than in the control."""
    over = [part(numbers, arm, UTILITY) - numbers.of(arm, "weights", WEIGHTS) for arm in (one, other)]
    return {"costs": flipped(over[0]), "more": dealt(*over)}


def transplant(numbers: Numbers, one: str, other: str) -> dict[str, tuple[Floats, Floats]]:
    """Ask that the control's component costs the first arm utility, and the first arm's brings it some."""
    return _moved(numbers, one, other, UTILITY)


def transplant_of_share(numbers: Numbers, one: str, other: str) -> dict[str, tuple[Floats, Floats]]:
    """Ask the same of the pursuit share."""
    return _moved(numbers, one, other, SHARE)


def dose(numbers: Numbers, one: str, other: str) -> dict[str, tuple[Floats, Floats]]:
    """Ask that half as much again of a part's change brings utility, and more than in the control."""
    brought = [-numbers.of(arm, "dose 1.5", UTILITY) for arm in (one, other)]
    return {"brings": flipped(brought[0]), "more": dealt(*brought)}


def gain_paired(numbers: Numbers, one: str, other: str) -> dict[str, tuple[Floats, Floats]]:
    """Ask as `gain`, with runs of one seed paired."""
    lost = [numbers.of(arm, "take back", UTILITY) for arm in (one, other)]
    return {"costs": flipped(lost[0]), "more": flipped(lost[0] - lost[1])}


def carries_the_gain(numbers: Numbers, one: str, other: str) -> dict[str, tuple[Floats, Floats]]:
    """Ask as the package does: of all answers, and with runs of one seed paired."""
    lost = {arm: numbers.of(arm, "take back", EVERY_ANSWER) for arm in (one, other)}
    found = package_conditions(lost, CarrierArms(of=(one,), than=(other,)))
    return dict(zip(("costs", "more"), found.values(), strict=True))


Rule = Callable[[Numbers, str, str], dict[str, tuple[Floats, Floats]]]
RULES: Final[Mapping[str, Rule]] = {
    "share": share,
    "gain": gain,
    "beyond distance": beyond_distance,
    "beyond weights": beyond_weights,
    "transplant": transplant,
    "transplant of share": transplant_of_share,
    "dose": dose,
    "gain, paired": gain_paired,
    "carries the gain": carries_the_gain,
}
AFTER: Final = ("gain, paired", "carries the gain")
"""Rules that were written when readings of four seeds had been seen; no conjecture is about them."""
OF_TAKEBACKS: Final = ("share", "gain", *AFTER)
"""Rules that ask nothing of a control that moved none of the units: its takebacks cost exactly nothing."""
LEVELS: Final = {"carries the gain": of_each(2 * len(GOALS))}
"""The p at which a condition holds, where that is not 0.05."""


def flipped(values: Floats) -> tuple[Floats, Floats]:
    """Test means over seeds by sign flips: values and p over the family, shapes (units,)."""
    return values.mean(axis=0), flip_p_values(values).family


def dealt(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Test a difference of two arms by dealing runs out to them."""
    return one.mean(axis=0) - other.mean(axis=0), max_permutation(one, other)


def part(numbers: Numbers, arm: str, measure: str) -> Floats:
    """Return which part of all that an arm has of something a takeback loses."""
    return numbers.of(arm, "take back", measure) / numbers.whole(arm, measure)


def residuals(lost: Floats, skill: Floats) -> Floats:
    """Return what each unit's loss has beyond a robust line through the *other* units' losses of skill."""
    units = lost.shape[1]
    if units == 1:
        return lost
    size = np.sqrt((skill**2).mean(axis=1, keepdims=True))
    x = skill / np.where(size > 0, size, 1.0)
    found = np.zeros_like(lost)
    for run, own in np.ndindex(lost.shape):
        others = np.arange(units) != own
        a, y, weight = x[run, others], lost[run, others], np.ones(units - 1)
        slope = 0.0
        for _ in range(_ROUNDS):
            under = (weight * a * a).sum()
            slope = float((weight * a * y).sum() / under) if under > 0 else 0.0
            away = np.abs(y - slope * a)
            reach = _HUBER * max(
                float(np.median(away)) / _NORMAL, 1e-12 * float(np.abs(lost[run]).max()), 1e-300
            )
            weight = np.minimum(1.0, reach / np.maximum(away, reach))
        found[run, own] = lost[run, own] - slope * x[run, own]
    return found


def conditions(measured: pd.DataFrame) -> pd.DataFrame:
    """Return each condition of each rule for every set, pair, goal and unit.

    Columns: set, pair, rule, goal, condition, unit, part (S or ~S), whole (whether the unit is one of these),
    value, p.
    """
    rows: list[dict[str, Any]] = []
    for (name, goal), table in measured.groupby(["set", "goal"], sort=False):
        present = {*table["arm"]}
        for pair, known in PAIRS.items():
            if known.one not in present or (known.other not in present and pair != APART_PAIR):
                continue
            for units in _families(str(name), pair, known.other in present):
                for rule in _asked(pair, units, known.other in present):
                    told = RULES[rule](Numbers(table, units), known.one, known.other)
                    about = {"set": name, "pair": pair, "rule": rule, "goal": goal}
                    rows += [
                        {
                            **about,
                            "condition": condition,
                            "unit": unit,
                            "part": part_of(unit, str(name)),
                            "whole": unit in WHOLES,
                            "value": float(value[place]),
                            "p": float(p[place]),
                        }
                        for condition, (value, p) in told.items()
                        for place, unit in enumerate(units)
                    ]
    return pd.DataFrame(rows)


def _families(name: str, pair: str, both: bool) -> list[tuple[str, ...]]:
    """Return the families of units that rules are asked about; what neither arm moved is in none."""
    if pair == APART_PAIR and not both:
        return [SETS[name].members]
    return [SETS[name].units, WHOLES]


def _asked(pair: str, units: Sequence[str], both: bool) -> Iterator[str]:
    """Give the rules that the readings of a pair are enough for."""
    for rule in RULES:
        exchanged = units == WHOLES and pair.removesuffix(MIRRORED) in EXCHANGED
        if (both or rule in OF_TAKEBACKS) and (exchanged or not rule.startswith(("dose", "transplant"))):
            yield rule


def verdicts(found: pd.DataFrame) -> pd.DataFrame:
    """Tell of every unit whether a rule names it for both goals, and whether it should.

    Columns: set, pair, rule, unit, part, whole, named, should, worst (the largest p of its conditions, 1
    where a sign is wrong).
    """
    found = found.assign(p=np.where(found["value"] > 0, found["p"], 1.0))
    keys = ["set", "pair", "rule", "unit", "part", "whole"]
    told = found.groupby(keys, sort=False).agg(worst=("p", "max"), goals=("goal", "nunique")).reset_index()
    level = told["rule"].map(lambda rule: LEVELS.get(rule, LEVEL))
    told["named"] = (told["worst"] <= level) & (told["goals"] == len(GOALS))
    told["should"] = [PAIRS[row.pair].named == row.part for row in told.itertuples()]
    return told.drop(columns="goals")


def part_of(unit: str, name: str) -> str:
    """Return the part of a set's models that a unit is of."""
    if unit in WHOLES:
        return unit
    return S if unit in SETS[name].members else REST


def _moved(numbers: Numbers, one: str, other: str, measure: str) -> dict[str, tuple[Floats, Floats]]:
    out, into = numbers.of(one, f"from {other}", measure), -numbers.of(other, f"from {one}", measure)
    undefined = np.isnan(out).any(axis=0) | np.isnan(into).any(axis=0)
    found = {"costs": flipped(np.nan_to_num(out)), "brings": flipped(np.nan_to_num(into))}
    return {name: (value, np.where(undefined, 1.0, p)) for name, (value, p) in found.items()}
