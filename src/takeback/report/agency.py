"""How much of each arm's change in behaviour is pursuit of a goal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from takeback.draw.forest import Dot, ForestRow, forest
from takeback.draw.numbers import ABSENT, at_most, count, interval, listing, number, percent
from takeback.draw.page import Figure, Section, Table, named
from takeback.measure.measure import if_legal
from takeback.report.effects import EACH_SEED
from takeback.report.forests import shortened
from takeback.report.record import Arm, Record
from takeback.report.rows import Agency
from takeback.run.stats import Estimate, seeds_estimate

CHANGE = if_legal("KL(after || before)")
SHARE = if_legal("signed pursuit share")
POWER = if_legal("optimisation power over base beyond chance")
MEG = if_legal("MEG")

_UNAPPLIED = if_legal("pursuit share")
"""What stands in the table, with its reason, where a goal applies to no situation."""

_HEAD = (
    "goal", "KL from its start, nats", "signed pursuit share", "β", "power over its start, bits", "MEG, nats",
    "note",
)  # fmt: skip


def agency(record: Record) -> Section | None:
    """Tell how much of each arm's change is pursuit of its goal and of others; None if not measured."""
    if not any(row.measure == SHARE for row in record.agency):
        return None
    found = _Found({(row.arm, row.seed, row.goal, row.measure): row for row in record.agency})
    pairs = [(arm, goal) for arm in record.arms for goal in _goals(record, arm)]
    several = any(len(arm.seeds) > 1 for arm in record.arms)
    means = tuple((arm.name, *_cells(found, arm, goal, arm.seeds)) for arm, goal in pairs)
    each = tuple(
        (arm.name, str(seed), *_cells(found, arm, goal, (seed,))) for arm, goal in pairs for seed in arm.seeds
    )
    by_seed = Section(
        "Pursuit seed by seed",
        ("Intervals are over situations of one training run.",),
        tables=(Table(("arm", "seed", *_HEAD), each, ("arm", "goal", "note")),),
        closed=True,
    )
    by_arm = Section(
        "Pursuit by arm",
        tuple(named(arm.name, _sentence(record, found, arm)) for arm in record.arms),
        (_figure(record, found),),
        (Table(("arm", *_HEAD), means, ("arm", "goal", "note")),),
    )
    return Section(
        "How much of the change is pursuit of a goal?",
        (_meaning(record),),
        notes=(_reading(record, several),),
        inside=(by_arm, by_seed) if several else (by_arm,),
        name="agency",
    )


def _meaning(record: Record) -> Markup:
    legal = " All of it is about legal answers: what changed in legality is left out here." * record.legality
    return Markup(
        "A policy that was pushed along a goal’s utility U from its start π₀ has the form π₀ · exp(βU). "
        "The <em>pursuit share</em> is how much of the change in behaviour, KL(after ‖ before), the best "
        "such push foretells in situations that did not choose its β: 100% for a change that is nothing "
        "else, negative where it leads away from the goal.{}"
    ).format(legal)


def _reading(record: Record, several: bool) -> Markup:
    if several:
        intervals = (
            "Means over seeds with Student’s interval over training runs; β from the lowest seed to "
            "the highest."
        )
    else:
        intervals = "Intervals are over situations of one training run."
    among = " and among legal answers" * record.legality
    return Markup(
        "*: the arm’s own goal. {} KL here is over the situations to which the goal applies{}, so it "
        "differs from that of the first table. Power over its start: by how many bits the actions taken "
        "are rarer, at least as good, under what the arm started from, beyond chance. MEG: how well one β "
        "for the utility foretells the policy itself, in nats; it is not about what changed. What these "
        "measures fail at, such as a copy of an agent that reads as an agent, or an ability that can’t be "
        "told from an aim, is on their cards in <code>docs/agency.md</code>."
    ).format(intervals, among)


@dataclass(frozen=True)
class _Found:
    """The rows of the record by arm, seed, goal and measure."""

    rows: Mapping[tuple[str, int, str, str], Agency]

    def of(self, arm: Arm, goal: str, measure: str, seeds: Iterable[int]) -> list[Agency]:
        """Return what is defined of a measure, by seed."""
        rows = (self.rows.get((arm.name, seed, goal, measure)) for seed in seeds)
        return [row for row in rows if row is not None and row.value is not None]

    def note(self, arm: Arm, goal: str, seed: int) -> str:
        """Return why a share is undefined, or what to know about it."""
        rows = (self.rows.get((arm.name, seed, goal, measure)) for measure in (SHARE, _UNAPPLIED))
        return next((row.note for row in rows if row is not None), "not measured")


def _goals(record: Record, arm: Arm) -> list[str]:
    """Return an arm's own goal, then the others that some arm is trained for."""
    return [arm.goal, *(goal for goal in record.goals if goal != arm.goal)]


def _estimate(rows: Sequence[Agency]) -> Estimate | None:
    """Return the one number, or the mean of several seeds; None where nothing is defined."""
    values = [row.value for row in rows if row.value is not None]
    if not values:
        return None
    if len(values) == 1:
        return Estimate(values[0], None, rows[0].low, rows[0].high, rows[0].n, 1)
    return seeds_estimate(values)


def _cells(found: _Found, arm: Arm, goal: str, seeds: Sequence[int]) -> tuple[str, ...]:
    read = partial(found.of, arm, goal, seeds=seeds)
    shares = read(SHARE)
    return (
        f"{goal} *" if goal == arm.goal else goal,
        _number(_estimate(read(CHANGE)), 3),
        _percent(_estimate(shares)),
        _betas(shares),
        _number(_estimate(read(POWER)), 2),
        _number(_estimate(read(MEG)), 3),
        _note(found, arm, goal, seeds),
    )


def _note(found: _Found, arm: Arm, goal: str, seeds: Sequence[int]) -> str:
    """Write what stands beside numbers; of several seeds each reason once, with how many seeds have it."""
    notes = [found.note(arm, goal, seed) for seed in seeds]
    if len(seeds) == 1:
        return notes[0]
    undefined = [not found.of(arm, goal, SHARE, (seed,)) for seed in seeds]
    told = Counter(
        f"{'undefined, ' if missing else ''}{note.partition(':')[0]}"
        for note, missing in zip(notes, undefined, strict=True)
        if note
    )
    return "; ".join(f"{reason} ({number} of {count(len(seeds), 'seed')})" for reason, number in told.items())


def _number(estimate: Estimate | None, digits: int) -> str:
    if estimate is None:
        return ABSENT
    return f"{number(estimate.value, digits)} {interval(estimate.low, estimate.high, digits)}"


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return "undefined"
    if estimate.low is None or estimate.high is None:
        return f"{percent(estimate.value)} {interval(None, None)}"
    return f"{percent(estimate.value)} [{percent(estimate.low)}, {percent(estimate.high)}]"


def _betas(rows: Sequence[Agency]) -> str:
    betas = sorted(row.beta for row in rows if row.beta is not None)
    if not betas:
        return ABSENT
    return _beta(betas[0]) if len(betas) == 1 else f"{_beta(betas[0])} to {_beta(betas[-1])}"


def _beta(beta: float) -> str:
    return number(beta, 2) if math.isfinite(beta) else "∞" if beta > 0 else "−∞"


def _sentence(record: Record, found: _Found, arm: Arm) -> str:
    """Say what share of an arm's change is pursuit of its goal, and beside RL what it is without."""
    rows = found.of(arm, arm.goal, SHARE, arm.seeds)
    share = _estimate(rows)
    if share is None:
        why = listing(list(dict.fromkeys(found.note(arm, arm.goal, seed) for seed in arm.seeds)))
        return f"what share of its change is pursuit of “{arm.goal}” is undefined: {why}."
    told = _percent(share)
    if share.low is not None and share.high is not None and share.low <= 0 <= share.high:
        told += f", an interval that includes 0: {at_most(max(-share.low, share.high), write=percent)},"
    change = _estimate(found.of(arm, arm.goal, CHANGE, arm.seeds))
    size = f" (KL {number(change.value)} nats)" if change else ""
    what = f"of its change from {arm.start}{size}"
    beta = f"β = {_betas(rows)}"
    kind = "" if arm.by == "reward" else "; no reward for it trained this arm"
    if share.value < 0:
        said = (
            f"pursuit of “{arm.goal}” explains none of its change: the signed share is {told} {what}, {beta}"
        )
    else:
        said = f"{told} {what} is pursuit of “{arm.goal}”, with {beta}"
    return f"{said}{_beside(record, found, arm) or kind}."


def _beside(record: Record, found: _Found, arm: Arm) -> str:
    """Say, of an arm of RL, what the share is of arms with its goal and start that are made without."""
    if arm.by != "reward":
        return ""
    others = [
        f"{other.name} {_percent(_estimate(found.of(other, other.goal, SHARE, other.seeds)))}"
        for other in record.arms
        if other.by != "reward" and other.goal == arm.goal and other.start == arm.start
    ]
    return f"; without a reward for it: {listing(others)}" if others else ""


def _figure(record: Record, found: _Found) -> Figure:
    rows: list[ForestRow] = []
    for goal in record.goals:
        rows.append(ForestRow(f"toward {goal}"))
        for arm in record.arms:
            dots = _dots(found, arm, goal)
            name = f"{shortened(arm.name, 14)} *" if goal == arm.goal else shortened(arm.name)
            if dots:
                rows.append(ForestRow(name, dots, place=arm.place))
    title = "Signed pursuit share by goal and arm"
    means = "" if _each_seed(record.arms) else "Means over seeds with Student’s interval. "
    note = (
        f"{means}*: its own goal. 1: all of the change is pursuit. Below 0: away from the goal. The "
        "axis is cut at ±1. What is undefined is not drawn; the table says why."
    )
    return Figure.of(title, forest(rows, 0, "signed pursuit share", None, title, ends=(-1.04, 1.04)), note)


def _each_seed(arms: Sequence[Arm]) -> bool:
    return max(len(arm.seeds) for arm in arms) <= EACH_SEED


def _dots(found: _Found, arm: Arm, goal: str) -> tuple[Dot, ...]:
    rows = found.of(arm, goal, SHARE, arm.seeds)
    each = [[row] for row in rows] if len(arm.seeds) <= EACH_SEED else [rows] if rows else []
    dots: list[Dot] = []
    for group in each:
        share = _estimate(group)
        if share is not None:
            seeds = f"seed {group[0].seed}" if len(group) == 1 else f"mean of {count(len(group), 'seed')}"
            title = f"{arm.name}, {seeds}: {_percent(share)} toward {goal}, β = {_betas(group)}"
            dots.append(Dot(share.value, share.low, share.high, title))
    return tuple(dots)
