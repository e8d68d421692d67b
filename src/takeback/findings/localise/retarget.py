"""Retargeting: how few components of a model with another goal turn this one to that goal.

A small change that redirects what a policy pursues and leaves its skill alone is what retargetability means
(Turner and Tadepalli 2022, "Parametrically retargetable decision-makers tend to seek power", arXiv 2206.13477
have the word). Here the change is a transplant: a hybrid whose source is another arm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from takeback.arenas import Arena
from takeback.arenas.listed import Listed
from takeback.checkpoint import open_pair
from takeback.component import Component, ComponentSet
from takeback.draw.result import Result, as_table
from takeback.findings.localise.shares import NoChange, at_least
from takeback.findings.sweep.run import squared_norms
from takeback.findings.sweep.sets import NamedSet, random_controls
from takeback.measure.bench import Answers, Bench
from takeback.measure.read import Ask
from takeback.measure.standard import LEGAL, utility
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.stats import mean_estimate
from takeback.weights import diff

EFFECTS = "what each brings alone"
GREEDY = "greedy"
MANY = 100
"""Components of which no greedy order is tried: each of its rounds reads a hybrid for all."""

COLUMNS: Mapping[str, str] = {
    "order": "what components are added by",
    "goal": "the other model's goal",
    "n_components": "how many components the smallest set has that brings so much where sets are selected",
    "of": "how many components there are",
    "parameters": "the share of all parameters that it is",
    "components": "which they are, in the order they were added",
    "selected": "share of the other model's gain in the goal that it brings where sets are selected",
    "carried": "the same where sets are evaluated",
    "carried_low": "lower end of its interval",
    "carried_high": "upper end of its interval",
    "controls": "random sets of the same make-up from the same model",
    "controls_carried": "what these bring, mean",
    "p": "(1 + these that bring at least as much) / (1 + these), missing where there are none",
    "measure": "what was measured besides, where sets are evaluated",
    "tuned": "its mean for this model",
    "hybrid": "its mean with the set from the other model",
    "other": "its mean for the other model",
    "effect": "hybrid minus tuned",
    "effect_low": "lower end of its interval",
    "effect_high": "upper end of its interval",
}
"""What each column of the table means."""

STEPS: Mapping[str, str] = {
    "order": "what components are added by",
    "step": "how many components are there",
    "added": "the one that came last",
    "selected": "share of the gain where sets are selected",
    "legal": "change of the legal mass there",
}
"""What each column of the steps means."""


@dataclass(frozen=True)
class Retargeting:
    """How a retargeting is looked for.

    Attributes:
        wanted: the share of the other model's gain in its goal that the set is to bring.
        lost: the most legal mass that may be lost against the less lawful of the two models.
        controls: random sets for each make-up.
        seed: of the split in halves and of random sets.
    """

    wanted: float = 0.9
    lost: float = 0.01
    controls: int = 19
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.wanted <= 1:
            raise TakebackError(f"the share to bring is between 0 and 1, such as 0.9, not {self.wanted:g}")


@dataclass(frozen=True, eq=False, repr=False)
class Retargeted(Result):
    """Holds the smallest sets that retarget a model: a row of `COLUMNS` for each order and measure.

    Attributes:
        table: the sets, and what they do to every measure.
        steps: how each order got there.
        wanted: the share that was to be brought.
    """

    name = "retarget"
    table: pd.DataFrame = field(metadata=as_table("retarget", {**STEPS, **COLUMNS}))
    steps: pd.DataFrame = field(metadata=as_table("retarget_steps"))
    wanted: float


@dataclass(frozen=True)
class _Step:
    """A set along an order, as it was added to, and what it brings where sets are selected."""

    order: str
    members: tuple[Component, ...]
    selected: float
    legal: float


@dataclass(frozen=True, eq=False)
class _Transplants:
    """Transplants from the other model into tuned, asked on one half of the situations."""

    bench: Bench
    source: str
    settings: Retargeting

    def read(self, sets: Sequence[ComponentSet]) -> Answers:
        """Ask the hybrids with these sets, and both ends."""
        bench = self.bench
        asks = [Ask(bench.nothing), *(Ask(one, self.source) for one in (bench.anatomy.universe, *sets))]
        return bench.answer(asks)

    def steps(self, answers: Answers, order: str, chains: Sequence[tuple[Component, ...]]) -> list[_Step]:
        """Return what each chain's set brings."""
        goal, whole = self.bench.measures[0], Ask(self.bench.anatomy.universe, self.source)
        gain = self._change(answers, whole, goal)
        found: list[_Step] = []
        for chain in chains:
            ask = Ask(self.set_of(chain), self.source)
            change = self._change(answers, ask, goal)
            found.append(_Step(order, chain, change / gain, self._lawful(answers, ask)))
        return found

    def set_of(self, chain: Sequence[Component]) -> ComponentSet:
        """Return components as a set."""
        return ComponentSet(chain, self.bench.anatomy.universe)

    def enough(self, step: _Step, answers: Answers) -> bool:
        """Tell whether a set brings as much as is wanted and is lawful."""
        whole = Ask(self.bench.anatomy.universe, self.source)
        floor = min(0.0, self._lawful(answers, whole)) - self.settings.lost
        return step.selected >= self.settings.wanted - 1e-9 and step.legal >= floor

    def _lawful(self, answers: Answers, ask: Ask) -> float:
        """Return the change of the legal mass; where answers are listed there is none to lose."""
        return self._change(answers, ask, LEGAL.name) if LEGAL.name in self.bench.measures else 0.0

    def _change(self, answers: Answers, ask: Ask, measure: str) -> float:
        return float(np.nanmean(answers.change(ask, measure, self.bench.nothing)))


def check_goal(arena: Arena[Any], goal: str | None) -> None:
    """Refuse a goal that the arena does not have.

    Raises:
        UnknownName: there is no such goal.
    """
    if goal is not None and goal not in arena.goals:
        raise unknown_name("goal", goal, arena.goals)


def retarget(
    bench: Bench,
    other: str,
    goal: str | None = None,
    settings: Retargeting | None = None,
) -> Retargeted:
    """Find the smallest sets of another model's components that turn tuned to that model's goal.

    Components are added in the order of what each brings alone and, for up to `MANY` of them, greedily: the
    next is the one that adds most. Sets are chosen on half of the situations, and what they do is told on the
    other half, beside random sets from the same model.

    Args:
        bench: about the pair of base and the model to turn; its measures are told besides.
        other: a checkpoint of the same architecture that pursues another goal.
        goal: that goal; by default the one of which it has most more than tuned, in standard errors.
        settings: what is wanted.

    Raises:
        UnknownName: there is no such goal.
        NoChange: the other model has no more of the goal's utility than tuned.
        TakebackError: the other model makes no pair with base, or an answer can't be had.
    """
    settings, source = settings or Retargeting(), f"checkpoint:{other}"
    goals = [name for name in bench.arena.goals if name != "random"]
    check_goal(bench.arena, goal)
    chosen = goal or _most_gained(bench, other, goals)
    rest = [utility(name).name for name in goals if name != chosen]
    lawful = () if isinstance(bench.arena, Listed) else (LEGAL.name,)
    asked = bench.about(*dict.fromkeys((utility(chosen).name, *lawful, *rest, *bench.measures)))
    select, evaluate = (
        _Transplants(asked.some(places), source, settings) for places in asked.halves(settings.seed)
    )
    whole = select.read([])
    change = select.bench.nothing, Ask(asked.anatomy.universe, source)
    if float(np.nanmean(whole.change(change[1], asked.measures[0], change[0]))) <= 0:
        raise NoChange(f"{other} has no more of the utility of {chosen} than {bench.pair.tuned.ref}")
    paths = [_by_effect(select)]
    if len(asked.anatomy.universe) <= MANY:
        paths.append(_greedily(select))
    rows = _evaluated(evaluate, [path[-1] for path in paths], chosen)
    steps = [
        {
            "order": step.order,
            "step": len(step.members),
            "added": str(step.members[-1]),
            "selected": step.selected,
            "legal": step.legal,
        }
        for path in paths
        for step in path
    ]
    title = f"{bench.pair.tuned.ref} turned to {chosen} by {other}"
    return Retargeted(title, _typed(rows), pd.DataFrame(steps, columns=list(STEPS)), settings.wanted)


def _by_effect(select: _Transplants) -> list[_Step]:
    """Add components in the order of what each brings alone, until there is enough."""
    singles = [(one,) for one in select.bench.anatomy.universe]
    answers = select.read([select.set_of(one) for one in singles])
    alone = select.steps(answers, EFFECTS, singles)
    ranked = tuple(step.members[0] for step in sorted(alone, key=lambda step: -step.selected))
    chains = [ranked[: number + 1] for number in range(len(ranked))]
    answers = select.read([select.set_of(chain) for chain in chains])
    path: list[_Step] = []
    for step in select.steps(answers, EFFECTS, chains):
        path.append(step)
        if select.enough(step, answers):
            break
    return path


def _greedily(select: _Transplants) -> list[_Step]:
    """Add the component that brings most to those already there, until there is enough."""
    path: list[_Step] = []
    chain: tuple[Component, ...] = ()
    universe = select.bench.anatomy.universe
    while len(chain) < len(universe):
        chains = [(*chain, one) for one in universe - select.set_of(chain)]
        answers = select.read([select.set_of(one) for one in chains])
        path.append(max(select.steps(answers, GREEDY, chains), key=lambda step: step.selected))
        chain = path[-1].members
        if select.enough(path[-1], answers):
            break
    return path


def _evaluated(evaluate: _Transplants, found: Sequence[_Step], goal: str) -> list[dict[str, Any]]:
    bench, pair = evaluate.bench, evaluate.bench.pair
    anatomy, other = bench.anatomy, evaluate.source.partition(":")[2]
    sets = [NamedSet("retarget", step.order, evaluate.set_of(step.members)) for step in found]
    delta = squared_norms(diff(open_pair(pair.tuned, other, pair.untied)))
    controls = random_controls(anatomy, sets, delta, evaluate.settings.controls, evaluate.settings.seed)
    every = [one.components for one in (*sets, *controls) if one.components]
    answers = evaluate.read(every)
    nothing, whole = Ask(bench.nothing), Ask(anatomy.universe, evaluate.source)
    main = bench.measures[0]
    gain = answers.change(whole, main, nothing)
    rows: list[dict[str, Any]] = []
    for step, named in zip(found, sets, strict=True):
        ask = Ask(named.components, evaluate.source)
        carried = answers.ratio(answers.change(ask, main, nothing), gain)
        beside = [
            answers.ratio(answers.change(Ask(one.components, evaluate.source), main, nothing), gain).value
            for one in controls
            if named.name in one.matches and one.components
        ]
        about = {
            "order": step.order,
            "goal": goal,
            "n_components": len(named.components),
            "of": len(anatomy.universe),
            "parameters": anatomy.parameters(named.components) / anatomy.parameters(anatomy.universe),
            "components": " ".join(map(str, step.members)),
            "selected": step.selected,
            "carried": carried.value,
            "carried_low": carried.low,
            "carried_high": carried.high,
            "controls": len(beside),
            "controls_carried": float(np.mean(beside)) if beside else None,
            "p": at_least(beside, carried.value),
        }
        rows += [{**about, **_of_measure(answers, measure, ask, whole)} for measure in bench.measures]
    return rows


def _of_measure(answers: Answers, measure: str, ask: Ask, whole: Ask) -> dict[str, Any]:
    nothing = Ask(answers.bench.nothing)
    tuned, hybrid, other = (answers.of(one, measure) for one in (nothing, ask, whole))
    if not np.isfinite(hybrid).any():
        return {"measure": measure}
    effect = answers.mean(hybrid - tuned)
    return {
        "measure": measure,
        "tuned": answers.mean(tuned).value,
        "hybrid": answers.mean(hybrid).value,
        "other": answers.mean(other).value,
        "effect": effect.value,
        "effect_low": effect.low,
        "effect_high": effect.high,
    }


def _most_gained(bench: Bench, other: str, goals: Sequence[str]) -> str:
    """Return the goal of whose utility the other model has most more than tuned, in standard errors."""
    asked = bench.about(*(utility(goal).name for goal in goals))
    (after,) = asked.read([Ask(bench.anatomy.universe, f"checkpoint:{other}")])
    found: dict[str, float] = {}
    for goal in goals:
        before, then = (utility(goal).of(one, asked.context) for one in (asked.ends["tuned"], after))
        kept = before.applies & then.applies
        if kept.sum() > 1:
            change = then.numbers[kept] - before.numbers[kept]
            estimate = mean_estimate(change, bench.clusters[kept])
            found[goal] = estimate.value / estimate.se if estimate.se else 0.0
    if not found:
        raise TakebackError("no goal applies to these situations; take more of them")
    return max(found, key=found.__getitem__)


def _typed(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    integers, words = ("n_components", "of", "controls"), ("order", "goal", "components", "measure")
    kinds = {name: "Int64" if name in integers else "Float64" for name in COLUMNS if name not in words}
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(kinds)
