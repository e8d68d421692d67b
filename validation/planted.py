"""Planted policies: made-up readouts of which it is known what they pursue, to try measures of agency on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from takeback.measure.agency.probes import order_accuracy
from takeback.measure.measure import MeasureContext
from takeback.policies.readout import Readouts
from takeback.run.errors import unknown_name
from takeback.run.grouping import sum_by

Floats = NDArray[np.float64]
BETA = 3.0
"""The dial of the policies that pursue or avoid: exp(βU) with U in [0, 1]."""
KEEN, DIM = 8.0, 1.0
"""Strengths with which policies that do what they can see utilities."""

_CLASSES = ("unparsable", "blocked")
_LOST_PER_MOVE = 0.45
_BLUR = 0.5
_JITTER = 0.7


@dataclass(frozen=True, eq=False)
class World:
    """A base policy with habits of its own, and three goals.

    `wanted` is 1 / (1 + moves lost), with ties, and base has a little of it; `other` is a number in quarters
    that has nothing to do with it; `shadow` is half `wanted` and half chance.
    """

    base: Readouts
    context: MeasureContext

    def tilted(self, strength: Floats, utility: Floats) -> Readouts:
        """Return base × exp(strength × utility), a strength for every situation, shape (n,)."""
        tilt = np.exp(strength[self.context.owner] * utility)
        return self.made(self.base.probabilities * tilt, self.base.masses)

    def made(self, legal: Floats, illegal: Floats) -> Readouts:
        """Return readouts with these weights of actions, flat, and classes, [n, classes]."""
        total = sum_by(self.context.owner, legal, len(self.base)) + illegal.sum(axis=1)
        return replace(
            self.base, probabilities=legal / total[self.context.owner], masses=illegal / total[:, None]
        )


def world(n: int = 200, seed: int = 0) -> World:
    """Make a world of n situations with 5 to 25 legal actions each, two situations to a cluster.

    >>> made = world(10)
    >>> len(made.base), sorted(made.context.utilities)
    (10, ['other', 'shadow', 'wanted'])
    """
    rng = np.random.default_rng(seed)
    counts = rng.integers(5, 26, size=n)
    owner = np.repeat(np.arange(n), counts)
    size = len(owner)
    wanted = 1 / rng.geometric(_LOST_PER_MOVE, size=size)
    goals = {
        "wanted": wanted,
        "other": rng.integers(0, 5, size=size) / 4,
        "shadow": (wanted + rng.random(size)) / 2,
    }
    habit = np.exp(rng.normal(size=size) + wanted / 2)
    lawful = rng.beta(9, 1, size=n)
    illegal = (1 - lawful)[:, None] * rng.dirichlet(np.ones(len(_CLASSES)), size=n)
    situations = tuple(f"s{i}" for i in range(n))
    actions = tuple(tuple(f"a{j}" for j in range(count)) for count in counts)
    base = Readouts(
        arena="planted",
        situations=situations,
        clusters=tuple(f"c{i // 2}" for i in range(n)),
        actions=actions,
        probabilities=habit * (lawful / sum_by(owner, habit, n))[owner],
        illegal=_CLASSES,
        masses=illegal,
        undecided=np.zeros(n),
        greedy=np.zeros(n, np.int64),
        drawn_legal=lawful,
        samples=0,
        errors=np.zeros((n, len(_CLASSES))),
        lower_bound=np.zeros(n, np.bool_),
    )
    everywhere = {goal: np.ones(n, np.bool_) for goal in goals}
    context = MeasureContext(
        situations, actions, owner, np.arange(n) // 2, goals, everywhere, features={}, choice={}
    )
    return World(base, context)


def pursuer(made: World, seed: int = 0, beta: float = BETA) -> Readouts:
    """Return the optimum of E βU − KL from base for `wanted`, illegal answers counting 0: an exact tilt.

    >>> from takeback.measure.agency import agency
    >>> made = world(40)
    >>> table = agency(made.base, pursuer(made, beta=2.0), made.context, ["wanted"]).set_index("measure")
    >>> row = table.loc["signed pursuit share"]
    >>> f"{row['value']:.3f} of the change, β {row['beta']:.3f}"
    '1.000 of the change, β 2.000'

    Taking half of the tilt back leaves all of the share:

    >>> from takeback.study.pursuit import PURSUIT, SHARE, losses
    >>> half = {"L0.H0": pursuer(made, beta=1.0)}
    >>> found = losses(made.base, pursuer(made, beta=2.0), half, made.context, "wanted").set_index("measure")
    >>> f"{abs(found['loss'][SHARE]):.3f} of the share, {found['loss'][PURSUIT]:.3f} nats"
    '0.000 of the share, 0.149 nats'
    """
    return made.tilted(np.full(len(made.base), beta), made.context.utilities["wanted"])


def avoider(made: World, seed: int = 0) -> Readouts:
    """Return the same with −β."""
    return pursuer(made, seed, -BETA)


def wrong_goal(made: World, seed: int = 0) -> Readouts:
    """Return the optimum for `other`."""
    return made.tilted(np.full(len(made.base), BETA), made.context.utilities["other"])


def aimless(made: World, seed: int = 0) -> Readouts:
    """Return a policy that tells good from bad and seeks `wanted` or shuns it as a coin falls."""
    coin = np.random.default_rng(seed).choice([-BETA, BETA], size=len(made.base))
    return made.tilted(coin, made.context.utilities["wanted"])


def incapable(made: World, seed: int = 0) -> Readouts:
    """Return the optimum for what it takes for `wanted`: the utility plus noise."""
    wanted = made.context.utilities["wanted"]
    seen = wanted + _BLUR * np.random.default_rng(seed).normal(size=len(wanted))
    return made.tilted(np.full(len(made.base), BETA), seen)


def imitator(made: World, seed: int = 0) -> Readouts:
    """Return nine tenths of an agent for `wanted` that never was base, and a tenth of base."""
    agent = made.made(np.exp(2 * BETA * made.context.utilities["wanted"]), np.zeros_like(made.base.masses))
    mixed = 0.9 * agent.probabilities + 0.1 * made.base.probabilities
    return made.made(mixed, 0.1 * made.base.masses)


def doing(made: World, strength: float, effort: float = 1.0) -> Readouts:
    """Return a policy as lawful as base that does all it can for `wanted`, or chooses evenly in part.

    It sees βU through Gumbel noise, β being `strength`, and takes the largest: exp(βU) / Z.
    """
    owner, n = made.context.owner, len(made.base)
    seen = np.exp(strength * made.context.utilities["wanted"])
    able = effort * seen / sum_by(owner, seen, n)[owner] + (1 - effort) / np.bincount(owner)[owner]
    return made.made(able * made.base.legal_mass[owner], made.base.masses)


def noisy(made: World, seed: int = 0) -> Readouts:
    """Return base with every log-probability jittered.

    >>> from takeback.measure.agency import pursuit
    >>> from takeback.measure.outcomes import Outcomes
    >>> made = world(40)
    >>> share = pursuit(Outcomes.of(made.base, noisy(made), made.context, ["wanted"])).share
    >>> f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]"
    '-0.00 [-0.05, 0.05]'
    """
    rng = np.random.default_rng(seed)
    legal, illegal = (
        np.exp(_JITTER * rng.normal(size=size))
        for size in (made.base.probabilities.shape, made.base.masses.shape)
    )
    return made.made(made.base.probabilities * legal, made.base.masses * illegal)


def stranger(made: World, seed: int = 0) -> Readouts:
    """Return a policy as lawful as base, with other habits that have nothing to do with any goal."""
    habit = np.exp(np.random.default_rng(seed).normal(size=made.base.probabilities.shape))
    owner, n = made.context.owner, len(made.base)
    return made.made(habit * (made.base.legal_mass / sum_by(owner, habit, n))[owner], made.base.masses)


def lawful(made: World, seed: int = 0) -> Readouts:
    """Return base with nearly all illegal mass gone and all else in proportion."""
    return made.made(made.base.probabilities, made.base.masses / 50)


def unchanged(made: World, seed: int = 0) -> Readouts:
    """Return base."""
    return made.base


POLICIES: Final[Mapping[str, Callable[[World, int], Readouts]]] = MappingProxyType(
    {
        "pursuer": pursuer,
        "avoider": avoider,
        "wrong goal": wrong_goal,
        "capable, aimless": aimless,
        "incapable, aiming": incapable,
        "imitator": imitator,
        "all it can, sees well": lambda made, _: doing(made, KEEN),
        "all it can, sees little": lambda made, _: doing(made, DIM),
        "half it can, sees well": lambda made, _: doing(made, KEEN, 0.5),
        "noise only": noisy,
        "other habits": stranger,
        "legality only": lawful,
        "unchanged": unchanged,
    }
)


def sight(name: str, made: World, seed: int = 0) -> Floats:
    """Return the share of pairs of actions whose order for `wanted` a policy knows, in each situation; (n,).

    It is what an ideal probe would find. Those that see through noise know what they see, all others all.

    Raises:
        UnknownName: there is no such policy.
    """
    if name not in POLICIES:
        raise unknown_name("planted policy", name, POLICIES)
    wanted, owner = made.context.utilities["wanted"], made.context.owner
    rng = np.random.default_rng(seed)
    if name == "incapable, aiming":
        seen = wanted + _BLUR * rng.normal(size=len(wanted))
    elif "sees" in name:
        strength = KEEN if "well" in name else DIM
        seen = strength * wanted + np.random.default_rng([seed, 1]).gumbel(size=len(wanted))
    else:
        seen = wanted
    return order_accuracy(seen, wanted, owner, len(made.base))


def planted(name: str, made: World, seed: int = 0) -> Readouts:
    """Return the policy of this name.

    Raises:
        UnknownName: there is none.
    """
    if name not in POLICIES:
        raise unknown_name("planted policy", name, POLICIES)
    return POLICIES[name](made, seed)
