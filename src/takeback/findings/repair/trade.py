"""What a repair trades: a measure to keep and one to restore, each asked of the same hybrids.

Both stand on a scale of their own change: of what is kept, 1 is tuned and 0 base; of what is restored, 0 is
tuned and 1 base.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from takeback.arenas import Arena, arena
from takeback.checkpoint import Pair
from takeback.component import ComponentSet
from takeback.draw.numbers import at_most
from takeback.findings.localise.shares import NoChange, told_from_zero
from takeback.measure.bench import Answers, Bench, Floats
from takeback.measure.measures import find_measures
from takeback.measure.read import Ask
from takeback.measure.setup import Setup
from takeback.policies.load import LoadOnce, home_of
from takeback.run.errors import TakebackError
from takeback.run.power import bound
from takeback.run.stats import (
    Estimate,
    mean_estimate,
    parts,
    ratio_estimate,
    ratio_terms,
    sum_estimate,
)

LESS = "-"
"""What stands before a measure of which less is better."""


@dataclass(frozen=True)
class Target:
    """A measure in an arena, and whether less of it is better.

    >>> Target.parse("-kind, refusal@rows:chats.jsonl")
    Target(measure='kind, refusal', arena='rows:chats.jsonl', less=True)
    >>> Target.parse("utility win"), str(Target.parse("legal@endgames"))
    (Target(measure='utility win', arena=None, less=False), 'legal@endgames')
    """

    measure: str
    arena: str | None = None
    less: bool = False

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read `MEASURE@ARENA`, the models' own arena unless said; a minus before it: less is better.

        Raises:
            TakebackError: it names no measure.
        """
        measure, at, place = text.strip().partition("@")
        name = measure.removeprefix(LESS).strip()
        if not name or (at and not place.strip()):
            raise TakebackError(f"{text!r} names no measure in an arena; write it as 'utility win@endgames'")
        return cls(name, place.strip() or None, measure.startswith(LESS))

    def __str__(self) -> str:
        return f"{LESS if self.less else ''}{self.measure}{f'@{self.arena}' if self.arena else ''}"


@dataclass(frozen=True, eq=False)
class Yardstick:
    """One measure of a bench, and the shares of its change that hybrids show.

    Attributes:
        bench: what is asked.
        target: the measure.
        zero: the side at which a share is 0, base or tuned; at the other one it is 1.
    """

    bench: Bench
    target: Target
    zero: str

    def share(self, answers: Answers, mix: Ask | Mapping[Ask, float]) -> Estimate:
        """Estimate the share that a hybrid shows, or several with weights that add up to 1 on average."""
        over, under = self._terms(answers, {mix: 1.0} if isinstance(mix, Ask) else mix)
        kept = np.isfinite(over + under)
        return ratio_estimate(over[kept], under[kept], self.bench.clusters[kept])

    def terms(self, answers: Answers, mix: Mapping[Ask, float]) -> Floats:
        """Return each situation's part of the share of some hybrids with weights, to first order, (n,).

        Weights may add up to anything: those of a difference add up to 0.
        """
        over, under = self._terms(answers, mix)
        kept = np.isfinite(over + under)
        return parts(ratio_terms(over[kept], under[kept]), kept)

    def level(self, answers: Answers, ask: Ask) -> Estimate:
        """Estimate the mean of the measure itself."""
        return answers.mean(answers.of(ask, self.target.measure))

    @property
    def ends(self) -> dict[str, Ask]:
        """The hybrids that are the sides."""
        return {"tuned": Ask(self.bench.nothing), "base": Ask(self.bench.anatomy.universe)}

    def better(self, answers: Answers) -> Estimate:
        """Estimate by how much the side where a share is 1 is better than the other."""
        zero, one = self._sides
        change = answers.change(one, self.target.measure, zero)
        return answers.mean(-change if self.target.less else change)

    @property
    def _sides(self) -> tuple[Ask, Ask]:
        ends = self.ends
        return (ends["base"], ends["tuned"]) if self.zero == "base" else (ends["tuned"], ends["base"])

    def _terms(self, answers: Answers, mix: Mapping[Ask, float]) -> tuple[Floats, Floats]:
        (zero, one), measure = self._sides, self.target.measure
        over = sum(weight * answers.change(ask, measure, zero) for ask, weight in mix.items())
        return np.asarray(over, np.float64), answers.change(one, measure, zero)


@dataclass(frozen=True, eq=False)
class Trade:
    """A measure to keep and a measure to restore, asked of the hybrids of one pair.

    Where both are of one arena they share its bench, so that a hybrid is read once for both.
    """

    keep: Yardstick
    restore: Yardstick

    @classmethod
    def between(
        cls,
        pair: Pair,
        keep: str | Target,
        restore: str | Target,
        drawn: tuple[int, int] = (192, 0),
        setup: Setup | None = None,
    ) -> Trade:
        """Ask about two measures, each on held-out situations of its arena.

        Args:
            pair: base and tuned.
            keep: `MEASURE@ARENA`, what tuning brought.
            restore: the same, what tuning cost.
            drawn: how many situations, and the seed they are drawn with.
            setup: how it works; both share the store of its folder, and models.

        Raises:
            UnknownName: there is no such arena or measure; nothing was read.
            TakebackError: there are too few situations, or a pool can't be drawn.
        """
        setup = replace(setup or Setup(), load=LoadOnce())
        targets = [one if isinstance(one, Target) else Target.parse(one) for one in (keep, restore)]
        places = [home_of(pair.base) if one.arena is None else arena(one.arena) for one in targets]
        for place, target in zip(places, targets, strict=True):
            find_measures([target.measure], place)
        benches = _benches(pair, places, targets, (drawn, setup))
        keeping, restoring = (
            Yardstick(bench, replace(target, arena=place.name), zero)
            for bench, target, place, zero in zip(benches, targets, places, ("base", "tuned"), strict=True)
        )
        return cls(keeping, restoring)

    @property
    def benches(self) -> tuple[Bench, ...]:
        """What is asked: one bench or two."""
        return (self.keep.bench,) if self.one else (self.keep.bench, self.restore.bench)

    @property
    def one(self) -> bool:
        """Whether both measures are asked in the same situations."""
        return self.keep.bench is self.restore.bench

    @property
    def first(self) -> Bench:
        """A bench, for all that both have in common: the pair and its anatomy."""
        return self.keep.bench

    def set_of(self, components: Iterable[Any]) -> ComponentSet:
        """Return components as a set."""
        return ComponentSet(components, self.first.anatomy.universe)

    def halves(self, seed: int) -> tuple[Trade, Trade]:
        """Split the situations of each: where hybrids are chosen, and where they are judged."""
        split = [[bench.some(places) for places in bench.halves(seed)] for bench in self.benches]
        keeps, restores = split[0], split[-1]
        chosen, judged = (
            Trade(replace(self.keep, bench=one), replace(self.restore, bench=other))
            for one, other in zip(keeps, restores, strict=True)
        )
        return chosen, judged

    def read(self, asks: Iterable[Ask]) -> Traded:
        """Read hybrids in the situations of both measures."""
        ends = self.keep.ends.values()
        wanted = list(dict.fromkeys([*ends, *asks]))
        found: list[Answers] = []
        for bench in self.benches:
            found.append(bench.answer(wanted))
            if not self.one:
                bench.release()
        return Traded(self, found[0], found[-1])

    def unread(self, asks: Sequence[Ask]) -> dict[str, int]:
        """Count the hybrids that would have to be read, by arena."""
        return {bench.arena.name: bench.unread(asks) for bench in self.benches}

    def check(self, halves: Sequence[Trade]) -> None:
        """Refuse a trade without a gain or without a damage, on all situations or where some are judged.

        Raises:
            NoChange: tuned is not better in what is kept, or not worse in what is restored.
        """
        whole, pair = self.read([]), self.first.pair
        gain, damage = self.keep.better(whole.keep), self.restore.better(whole.restore)
        for told, estimate, target in (("gain to keep", gain, self.keep), ("damage", damage, self.restore)):
            if estimate.value > 0 and told_from_zero(estimate):
                continue
            better = "better" if target is self.keep else "worse"
            size = f"{estimate}, {at_most(bound(estimate))}" if estimate.value > 0 else str(estimate)
            raise NoChange(
                f"there is no {told}: {target.target} of {pair.tuned.ref} is not {better} than of "
                f"{pair.base.ref} by what can be told from 0 ({size}); name another measure, {LESS} before "
                "it where less is better, or take more situations"
            )
        for half in halves:
            ends = half.read([])
            for scale, answers in ((half.keep, ends.keep), (half.restore, ends.restore)):
                if not told_from_zero(estimate := scale.better(answers)) or estimate.value < 0:
                    raise NoChange(
                        f"{scale.target} changed by {estimate} in one half of the situations, which can't be "
                        "told from 0 there, and each half has to show it: take more situations"
                    )


def _benches(
    pair: Pair, places: Sequence[Arena[Any]], targets: Sequence[Target], how: tuple[tuple[int, int], Setup]
) -> list[Bench]:
    """Return the bench of each target, the same one where both are of one arena."""
    drawn, setup = how
    names = [target.measure for target in targets]
    if places[0] is places[1]:
        return [Bench.held_out(pair, places[0], list(dict.fromkeys(names)), drawn, setup)] * 2
    return [
        Bench.held_out(pair, place, [name], drawn, setup) for place, name in zip(places, names, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class Traded:
    """What hybrids keep and restore.

    Attributes:
        trade: what was asked.
        keep: what they answered where the measure to keep is asked.
        restore: the same of the one to restore.
    """

    trade: Trade
    keep: Answers
    restore: Answers

    def __or__(self, other: Traded) -> Traded:
        return Traded(self.trade, self.keep | other.keep, self.restore | other.restore)

    def __contains__(self, ask: Ask) -> bool:
        return ask in self.keep and ask in self.restore

    def kept(self, mix: Ask | Mapping[Ask, float]) -> Estimate:
        """Estimate the share of the gain that a hybrid keeps."""
        return self.trade.keep.share(self.keep, mix)

    def restored(self, mix: Ask | Mapping[Ask, float]) -> Estimate:
        """Estimate the share of the damage that it undoes."""
        return self.trade.restore.share(self.restore, mix)

    def together(self, kept: Mapping[Ask, float], restored: Mapping[Ask, float]) -> Estimate:
        """Estimate a weighted sum of shares kept and of shares restored, paired where both share situations.

        In two arenas the situations have nothing to do with each other: variances add up, with the degrees of
        freedom of the one with fewer clusters.
        """
        found = [
            scale.terms(answers, mix)
            for scale, answers, mix in (
                (self.trade.keep, self.keep, kept),
                (self.trade.restore, self.restore, restored),
            )
            if mix
        ]
        clusters = [bench.clusters for bench in self.trade.benches]
        if len(found) == 1 or self.trade.one:
            mine = clusters[-1] if restored else clusters[0]
            return mean_estimate(np.sum(found, axis=0), mine)
        return sum_estimate([mean_estimate(*both) for both in zip(found, clusters, strict=True)])
