"""Shapley values: a change shared out among components so that the shares sum to it.

What a component does alone misleads where others stand in for it or wait for it. Its Shapley value is what it
adds on average when the components come from tuned one after the other, in every order alike. Taking back and
grafting are one game seen from its two ends, and give the same values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from takeback.anatomy.sets import SET_FAMILIES
from takeback.component import Component, ComponentSet
from takeback.draw.result import Result, as_table
from takeback.findings.localise.measured import ends
from takeback.findings.localise.shares import NoChange, told_from_zero
from takeback.measure.bench import Answers, Bench, Floats
from takeback.measure.read import SIDES
from takeback.run.errors import TakebackError

MOST_EXACT = 12
"""Players whose coalitions are all read at most: 4096 hybrids."""

MOST_PLAYERS = 62
"""Players at most: a coalition is a bit mask."""

COLUMNS: Mapping[str, str] = {
    "measure": "what was measured",
    "player": "the player's name",
    "components": "what is in it",
    "n_components": "how many components",
    "parameters": "how many parameters",
    "value": "the Shapley value as a share of what all players carry; the values sum to 1",
    "se_orders": "standard error by the orders drawn; 0 if all coalitions were read, missing with one pair",
    "se_situations": "standard error by the situations, clustered",
    "se": "both: √(se_orders² + se_situations²)",
    "low": "lower end of the 95% interval of this one value, by both errors",
    "high": "upper end of the interval",
    "necessity": "share that is lost when the player alone is taken back, the others being tuned",
    "necessity_low": "lower end of its 95% interval, by situations",
    "necessity_high": "upper end",
    "sufficiency": "share that appears when the player alone is grafted, the others being base",
    "sufficiency_low": "lower end of its 95% interval, by situations",
    "sufficiency_high": "upper end",
    "even": "the control: the player's share of all players' parameters, as if each carried alike",
    "n": "situations",
    "clusters": "clusters of situations",
}
"""What each column of the table means."""

_COUNTS = ("n_components", "parameters", "n", "clusters")
_WORDS = ("measure", "player", "components")

Masks = NDArray[np.int64]
"""Coalitions as bit masks over the players."""


@dataclass(frozen=True)
class Players:
    """Sets of components that share out a change; what is in none of them stays as in `background`.

    Raises:
        TakebackError: no player, an empty one, more than 62, a component in two of them, or another
            background than base or tuned.
    """

    sets: Mapping[str, ComponentSet]
    background: str = "tuned"

    def __post_init__(self) -> None:
        members = [one for components in self.sets.values() for one in components]
        twice = next((one for one in members if members.count(one) > 1), None)
        if twice is not None:
            raise TakebackError(f"{twice} is in two players; a partition has it in one")
        if not 0 < len(self.sets) <= MOST_PLAYERS or not all(self.sets.values()):
            raise TakebackError(f"{len(self.sets)} players: give 1 to {MOST_PLAYERS}, none of them empty")
        if self.background not in SIDES:
            raise TakebackError(f"the background is {' or '.join(SIDES)}, not {self.background!r}")

    @classmethod
    def each(cls, components: ComponentSet, background: str = "tuned") -> Players:
        """Make every component of a set a player."""
        return cls({str(one): ComponentSet([one], components.universe) for one in components}, background)

    @classmethod
    def of(cls, universe: ComponentSet) -> Players:
        """Make every component a player, or parts of layers where there are more than can be."""
        return cls.each(universe) if len(universe) <= MOST_PLAYERS else cls.parts_of_layers(universe)

    @classmethod
    def parts_of_layers(cls, universe: ComponentSet) -> Players:
        """Make the heads, the MLP and the units of each layer a player, and of all else each kind.

        >>> names = "EMBED L0.H0 L0.H1 L0.LN1 L1.H0 NORM"
        >>> everything = ComponentSet(map(Component.parse, names.split()))
        >>> {name: str(one) for name, one in Players.parts_of_layers(everything).sets.items()}
        {'embeddings': 'EMBED', 'L0 heads': 'L0.H*', 'all norms': 'L0.LN1 NORM', 'L1 heads': 'L1.H0'}
        """
        rules = [SET_FAMILIES[name] for name in ("heads of each layer", "each mlp")]
        rules += [lambda one: f"L{one.layer} units" if one.kind == "U" else None, SET_FAMILIES["each kind"]]
        groups: dict[str, list[Component]] = {}
        for one in universe:
            name = next(name for rule in rules if (name := rule(one)) is not None)
            groups.setdefault(name, []).append(one)
        return cls({name: ComponentSet(members, universe) for name, members in groups.items()})

    @property
    def everyone(self) -> int:
        """The mask of all players."""
        return (1 << len(self.sets)) - 1

    def hybrid(self, mask: int) -> ComponentSet:
        """Return what is taken back so that a coalition is from tuned and the other players from base."""
        universe = next(iter(self.sets.values())).universe
        absent = universe - universe
        outside = universe
        for place, components in enumerate(self.sets.values()):
            outside = outside - components
            if not mask >> place & 1:
                absent = absent | components
        return absent | outside if self.background == SIDES[0] else absent


@dataclass(frozen=True)
class Orders:
    """How many orders of the players are drawn: pairs of an order and its reverse, from a seed.

    Raises:
        TakebackError: fewer than one pair.
    """

    pairs: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise TakebackError(f"{self.pairs} pairs of orders; draw at least one, for errors two")

    def coalitions(self, players: int) -> tuple[NDArray[np.int64], Masks]:
        """Draw orders: who comes at each step, and the coalitions before, between and after the steps.

        Shapes are (pairs, 2, players) and (pairs, 2, players + 1). Every order is as likely as any other: one
        that visits layers from the top would share more of the work and give another value.
        """
        firsts = [np.random.default_rng([self.seed, pair]).permutation(players) for pair in range(self.pairs)]
        orders = np.array([[first, first[::-1]] for first in firsts], np.int64)
        masks = np.zeros((*orders.shape[:2], players + 1), np.int64)
        masks[..., 1:] = np.cumsum(1 << orders, axis=-1)
        return orders, masks


@dataclass(frozen=True, eq=False, repr=False)
class Shapley(Result):
    """Holds Shapley values: a row of `COLUMNS` for each measure and player.

    Attributes:
        players: who shares the change out.
        orders: the orders that were drawn; None where every coalition was read.
        table: the values.
        totals: a row for each measure: `total`, what all players carry in the measure's units, with `low` and
            `high`.
    """

    name = "shapley"
    players: Players
    orders: Orders | None
    table: pd.DataFrame = field(metadata=as_table("shapley", COLUMNS))
    totals: pd.DataFrame = field(metadata=as_table("shapley_totals"))


def shapley(
    bench: Bench,
    players: Players,
    orders: Orders | None = None,
) -> Shapley:
    """Share a change out among players by their Shapley values (Shapley 1953, "A value for n-person games").

    With `orders` the mean over drawn orders of what each player adds estimates them without bias (Castro,
    Gómez and Tejada 2009, "Polynomial calculation of the Shapley value based on sampling", Computers &
    Operations Research 36(5)), an order and its reverse being drawn together (Mitchell, Cooper, Frank and
    Holmes 2022, "Sampling permutations for Shapley value estimation", arXiv 2104.12199). It reads up to
    2 (n − 1) hybrids for each pair of n players' orders. Without, it reads all 2ⁿ coalitions.

    Raises:
        TakebackError: more than `MOST_EXACT` players without `orders`, or what all carry is about 0.
    """
    count = len(players.sets)
    if orders is None and count > MOST_EXACT:
        raise TakebackError(f"{count} players have {2**count:,} coalitions; draw orders instead")
    asks = [players.hybrid(mask) for mask in _coalitions(players, orders)]
    answers = bench.answer(asks)
    tables = [_table(answers, players, orders, measure) for measure in bench.measures]
    totals = pd.DataFrame([_total(answers, players, measure) for measure in bench.measures])
    return Shapley(
        str(bench.pair),
        players,
        orders,
        pd.concat(tables, ignore_index=True),
        totals.astype(dict.fromkeys(("total", "low", "high"), "Float64")),
    )


def exactly(values: Mapping[int, Floats], players: int) -> Floats:
    """Return every player's Shapley value in every situation, shape (1, players, n).

    φ_i = Σ over coalitions S without i of |S|! (n − |S| − 1)! / n! × (v(S ∪ i) − v(S)) (Shapley 1953).

    Args:
        values: by coalition, the number in every situation.
        players: how many there are.

    >>> values = {0: np.array([0.0]), 1: np.array([0.0]), 2: np.array([0.0]), 3: np.array([1.0])}
    >>> exactly(values, 2).ravel().tolist()
    [0.5, 0.5]
    """
    every = np.array([values[mask] for mask in range(1 << players)])
    masks = np.arange(1 << players)
    rows: list[Floats] = []
    for player in range(players):
        without = masks[masks >> player & 1 == 0]
        weights = np.array(
            [1 / (players * math.comb(players - 1, mask.bit_count())) for mask in without.tolist()]
        )
        rows.append(weights @ (every[without | 1 << player] - every[without]))
    return np.array([rows])


def sampled(values: Mapping[int, Floats], orders: Orders, players: int) -> Floats:
    """Return what every player adds in every situation, the mean of an order and its reverse.

    Shape (pairs, players, n): the values sum to v(everyone) − v(no one) over the players of every pair.
    """
    drawn, masks = orders.coalitions(players)
    return np.array([_added(values, *pair) for pair in zip(drawn, masks, strict=True)])


def _added(values: Mapping[int, Floats], orders: Sequence[Masks], masks: Sequence[Masks]) -> Floats:
    both: list[Floats] = []
    for order, steps in zip(orders, masks, strict=True):
        steps_up = np.diff([values[mask] for mask in steps.tolist()], axis=0)
        both.append(steps_up[np.argsort(order)])
    return np.mean(both, axis=0)


def _coalitions(players: Players, orders: Orders | None) -> list[int]:
    """Return the coalitions that are read: those of the orders or all, and every player alone and missing."""
    everyone, count = players.everyone, len(players.sets)
    if orders is None:
        return list(range(1 << count))
    alone = [1 << place for place in range(count)]
    met = set(orders.coalitions(count)[1].ravel().tolist())
    return sorted(met.union(alone, (everyone ^ one for one in alone)))


def _total(answers: Answers, players: Players, measure: str) -> dict[str, Any]:
    all_back, none_back = players.hybrid(0), players.hybrid(players.everyone)
    total = answers.mean(answers.change(none_back, measure, all_back))
    if not told_from_zero(total):
        raise NoChange(
            f"all players carry {total} of {measure}, which can't be told from 0, so nothing is a share of it"
        )
    return {"measure": measure, **ends("total", total, "")}


def _table(answers: Answers, players: Players, orders: Orders | None, measure: str) -> pd.DataFrame:
    everyone, count = players.everyone, len(players.sets)
    values = {mask: answers.of(players.hybrid(mask), measure) for mask in _coalitions(players, orders)}
    total = values[everyone] - values[0]
    added = exactly(values, count) if orders is None else sampled(values, orders, count)
    added = np.where(np.isfinite(added).all(axis=(0, 1)), added, np.nan)
    sizes = [answers.bench.anatomy.parameters(components) for components in players.sets.values()]
    rows: list[dict[str, Any]] = []
    for place, (name, components) in enumerate(players.sets.items()):
        lost = values[everyone] - values[everyone & ~(1 << place)]
        alone = {"necessity": lost, "sufficiency": values[1 << place] - values[0]}
        rows.append(
            {
                "measure": measure,
                "player": name,
                "components": str(components),
                "n_components": len(components),
                "parameters": sizes[place],
                **_value(answers, added[:, place], total, orders is None),
                **{
                    key: end
                    for kind, numbers in alone.items()
                    for key, end in ends(kind, answers.ratio(numbers, total)).items()
                },
                "even": sizes[place] / sum(sizes),
            }
        )
    kinds = dict.fromkeys(COLUMNS, "Float64") | dict.fromkeys(_COUNTS, "Int64")
    return pd.DataFrame(rows)[list(COLUMNS)].astype(kinds | dict.fromkeys(_WORDS, "string"))


def _value(answers: Answers, added: Floats, total: Floats, exact: bool) -> dict[str, Any]:
    """Estimate one player's share with both its errors.

    Situations and orders are two crossed samples. The variance of their mean is that by situations and that
    by orders less that of the single cells (Cameron, Gelbach and Miller 2011, "Robust inference with multiway
    clustering", Journal of Business & Economic Statistics 29(2)). The last is not taken off here: errors are
    rather too large. Student's t has the freedom of the smaller sample.
    """
    share = answers.ratio(added.mean(axis=0), total)
    kept = np.isfinite(added[0] + total)
    by_pairs = added[:, kept].mean(axis=1) / total[kept].mean()
    pairs = share.clusters if exact else len(by_pairs)
    se_orders = 0.0 if exact else float(by_pairs.std(ddof=1)) / math.sqrt(pairs) if pairs > 1 else None
    known = {"value": share.value, "se_orders": se_orders, "se_situations": share.se}
    counts = {"n": share.n, "clusters": share.clusters}
    if se_orders is None or share.se is None:
        return {**known, **dict.fromkeys(("se", "low", "high")), **counts}
    se = math.hypot(se_orders, share.se)
    reach = se * float(special.stdtrit(min(pairs, share.clusters) - 1, 0.975))
    return {**known, "se": se, "low": share.value - reach, "high": share.value + reach, **counts}
