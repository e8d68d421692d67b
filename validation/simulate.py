"""Tries the estimators on made-up runs of which the truth is known, and prints Markdown.

`python -m validation.simulate` tells how often families of components without an effect err,
how often intervals cover (over runs; over runs and situations), how often a known effect is found, and the
same of the rule *carries the gain*.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from takeback.run.power import LEVEL
from takeback.run.sign_flips import flip_p_values, how_tested
from takeback.run.stats import max_permutation, seeds_estimate
from takeback.study.contrasts.carriers import conditions, holding
from takeback.study.sums import CarrierArms
from validation.crossed import tables as crossed

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]

COMPONENTS, SEEDS, SHARED = 30, 8, 0.5
"""Components of a family, training runs of an arm, and the correlation of components within a run."""

EFFECT = 1.5
"""The known effect: by so many of its standard deviations between seeds the weighted sum moves."""

NOISES: Final[Mapping[str, Draw]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails (t, 3 df)": lambda rng, shape: rng.standard_t(3, size=shape) / 3**0.5,
    "skewed (exponential)": lambda rng, shape: rng.exponential(size=shape) - 1,
}
"""Laws of mean 0 and variance 1."""

ARMS: Final[Mapping[str, tuple[float, ...]]] = {
    "a − b": (1, -1),
    "a − b, by flips": (1, -1),
    "½a + ½b − ½c − ½d": (0.5, 0.5, -0.5, -0.5),
    "a − ½b − ½c": (1, -0.5, -0.5),
    "a": (1,),
}
"""Contrasts that are tried: the first by permutation, the others by sign flips."""

FLIPS = ", by flips"

UNEQUAL = (1.5, 3.0)
"""How many times as far the runs of the first arm spread, where variances are unequal."""

RULE_PART = 10
"""The rule is tried so many times less often."""

CARRIES = "the first carries the gain toward both goals,"
CARRIED = (1.0, 2.0, 3.0)
"""What the first component costs more than in the control, where it carries, in standard deviations."""

TOGETHER: Final[Mapping[str, float]] = {"paired": 0.8, "unpaired": 0.0}
"""How the runs of one seed correlate in two arms; 0.8 is as in models of which the answer is known."""

PAIRS = CarrierArms(of=("rl-win", "rl-corner"), than=("rft-win", "rft-corner"))


@dataclass(frozen=True)
class Rates:
    """Shares of made-up families.

    Attributes:
        error: in which some component without an effect has p_family ≤ 0.05.
        coverage: in which the 95% interval of a component holds its true value.
        power: in which the component with the effect has p_family ≤ 0.05.
    """

    error: float
    coverage: float
    power: float


def noise(rng: np.random.Generator, draw: Draw, spreads: Sequence[float]) -> Floats:
    """Draw arms of runs whose components share a part: shape (arms, seeds, components)."""
    shape = len(spreads), SEEDS, COMPONENTS
    common = draw(rng, (*shape[:2], 1))
    mixed = SHARED**0.5 * common + (1 - SHARED) ** 0.5 * draw(rng, shape)
    return np.asarray(spreads)[:, None, None] * mixed


def rates(
    weights: Sequence[float], draw: Draw, spread: float, families: int, seed: int, flips: bool = False
) -> Rates:
    """Try one contrast on many families.

    Args:
        weights: of the arms.
        draw: the law of the noise.
        spread: of the first arm's runs; 1 for the others.
        families: how many.
        seed: of the noise.
        flips: test by sign flips even two arms.

    >>> found = rates((1, -1), NOISES["normal"], 1.0, families=20, seed=0)
    >>> found.error <= 0.2, found.coverage >= 0.8, found.power >= 0.5
    (True, True, True)
    """
    rng = np.random.default_rng([seed, len(weights)])
    spreads = (spread, *(1.0 for _ in weights[1:]))
    moved = EFFECT * float(np.linalg.norm(np.multiply(weights, spreads))) / weights[0]
    counts = np.zeros(3)
    for _ in range(families):
        arms = noise(rng, draw, spreads)
        covered = seeds_estimate(np.tensordot(weights, arms[:, :, 0], 1))
        none = _family(arms, weights, flips)
        arms[0, :, 0] += moved
        some = _family(arms, weights, flips)
        assert covered.low is not None
        assert covered.high is not None
        counts += (none.min() <= LEVEL, covered.low <= 0 <= covered.high, some[0] <= LEVEL)
    return Rates(*(counts / families).tolist())


def _family(arms: Floats, weights: Sequence[float], flips: bool) -> Floats:
    if flips or how_tested(weights) == "sign flips":
        return flip_p_values(np.tensordot(weights, arms, 1)).family
    return max_permutation(arms[0], arms[1])


@dataclass(frozen=True)
class Scenario:
    """What components cost besides noise.

    Attributes:
        costs: by arm, shape (components,), in standard deviations of a run.
        together: the correlation of the runs of one seed in two arms.
    """

    costs: Mapping[str, Floats]
    together: float = 0.0

    def draw(self, rng: np.random.Generator) -> dict[str, Floats]:
        """Draw what components cost in every run, by arm, shape (seeds, components)."""
        arms = [arm for pair in PAIRS.pairs for arm in pair]
        shared = noise(rng, NOISES["normal"], [1.0])
        own = noise(rng, NOISES["normal"], [1.0] * len(arms))
        drawn = self.together**0.5 * shared + (1 - self.together) ** 0.5 * own
        return {arm: drawn[place] + self.costs.get(arm, 0.0) for place, arm in enumerate(arms)}


def scenarios() -> dict[str, Scenario]:
    """Return the scenarios of the rule; only the last have a carrier, which costs 3 in every arm."""
    place = np.arange(COMPONENTS)
    first, some = np.where(place == 0, 1.0, 0.0), np.where(place < 5, 6.0, 0.0)
    every = [arm for pair in PAIRS.pairs for arm in pair]
    lacking = {
        "rl-win": np.where(place % 3 == 0, 0.0, 6.0),
        "rl-corner": np.where(place % 3 == 1, 0.0, 6.0),
        "rft-win": np.where(place % 3 == 2, 6.0, 0.0),
    }
    carried = {
        f"{CARRIES} by {size:g} SD, runs {how}": Scenario(
            {arm: (3 + size * (arm in PAIRS.of)) * first for arm in every}, together
        )
        for how, together in TOGETHER.items()
        for size in CARRIED
    }
    return {
        "nothing": Scenario({}),
        "five components cost as much in the control": Scenario(dict.fromkeys(every, some)),
        "a third lacks one goal, a third the other, a third costs as much in a control": Scenario(lacking),
        **carried,
    }


def rule_rates(scenario: Scenario, families: int, seed: int) -> tuple[float, float]:
    """Return how often the rule names some component after the first, and how often the first one."""
    rng = np.random.default_rng([seed, 99])
    counts = np.zeros(2)
    for _ in range(families):
        holds = holding(conditions(scenario.draw(rng), PAIRS))
        carry = np.logical_and.reduce([*holds.values()])
        counts += (carry[1:].any(), carry[0])
    rest, first = (counts / families).tolist()
    return rest, first


def tables(families: int, seed: int) -> Iterator[str]:
    """Give the lines of both tables in Markdown."""
    error = 1.96 * (LEVEL * (1 - LEVEL) / families) ** 0.5
    yield (
        f"{families} families of {COMPONENTS} components with correlation {SHARED} in {SEEDS} seeds, effect "
        f"of {EFFECT} SD, seed {seed}; an error of 5% and a coverage of 95% are known to ±{100 * error:.1f} "
        "points.\n"
    )
    yield "| noise | contrast | family-wise error | coverage | power |"
    yield "| --- | --- | --- | --- | --- |"
    laws = [(name, draw, 1.0) for name, draw in NOISES.items()]
    laws += [(f"normal, first arm spreads ×{by:g}", NOISES["normal"], by) for by in UNEQUAL]
    for name, draw, spread in laws:
        for contrast, weights in ARMS.items():
            found = rates(weights, draw, spread, families, seed, contrast.endswith(FLIPS))
            numbers = (found.error, found.coverage, found.power)
            yield f"| {name} | {contrast} | " + " | ".join(f"{100 * one:.1f}%" for one in numbers) + " |"
    families = max(1, families // RULE_PART)
    yield f"\nThe rule *carries the gain*, {families} times:\n"
    yield "| planted | the first of 30 is named | another is named |"
    yield "| --- | --- | --- |"
    for name, scenario in scenarios().items():
        rest, first = rule_rates(scenario, families, seed)
        yield f"| {name} | {100 * first:.1f}% | {100 * rest:.1f}% |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Try the estimators of contrasts on made-up runs.")
    parser.add_argument("--families", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    for line in tables(chosen.families, chosen.seed):
        print(line, flush=True)
    print("\nIntervals over runs and situations:\n")
    for line in crossed(chosen.families, chosen.seed):
        print(line, flush=True)


if __name__ == "__main__":
    main()
