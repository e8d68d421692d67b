"""Effects of sets: grouped, set beside their controls, told with intervals and as shares of the gain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from takeback.draw.numbers import ABSENT, count, interval, percent, signed
from takeback.measure.shift import KL
from takeback.measure.standard import LEGAL
from takeback.report.record import Arm, Record, matched
from takeback.report.rows import TAKE_BACK, Effect, Shift, excludes_zero

SINGLES = ("each head", "each mlp", "each unit", "each tensor")
"""Families of sets of one component, drawn as heat maps."""


_TELLING = ("heads of each layer", "each layer", "by name")
"""Families among which the most telling set is looked for."""

MOST_TOLD = 8
"""Random sets that a tooltip lists one by one; of more it gives the range."""

EACH_SEED = 3
"""Seeds that a tooltip tells one by one; of more it gives their mean and range."""

MANY = 100
"""Squares of a map of which each tells no seed by itself, so that the page stays small."""


Sets = dict[tuple[str, str], tuple[Effect, ...]]
"""Effects by family and set, one for each seed."""


@dataclass(frozen=True)
class Drawn:
    """A measure that is drawn for an arm: name, title, scale, digits in a small square; `own` is a user's."""

    name: str
    title: str
    axis: str
    diverging: bool = True
    factor: float = 1
    digits: int = 3
    own: bool = False


@dataclass(frozen=True)
class ArmGain:
    """What training gained on an arm's own goal, by seed; `told` is false where an interval includes 0."""

    by_seed: Mapping[int, float]
    told: bool

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return sum(self.by_seed.values()) / len(self.by_seed)

    def share(self, effects: Sequence[Effect]) -> float | None:
        """Return which share of the gain a set takes back (or, grafted, brings); None without a gain."""
        if not self.told or not effects:
            return None
        return mean(toward(row) / self.by_seed[row.seed] for row in effects)


def main_measures(record: Record, arm: Arm) -> tuple[Drawn, ...]:
    """Return the measures that figures show: the arm's own goal, how far behaviour moved, legality, a user's.

    Legality is left out where every answer is legal.
    """
    legal = f"mass on legal {record.words.action}s"
    own = Drawn(arm.measure, f"utility of its goal, {arm.goal}", f"change in the utility of {arm.goal}")
    others = (
        Drawn(LEGAL.name, f"{legal}, in points", f"change in the {legal}", factor=100, digits=2),
        Drawn(KL.name, "KL divergence", "KL divergence in nats", diverging=False),
        *(
            Drawn(one.name, one.words, f"change in {one.name}", one.role != "divergence", own=True)
            for one in record.measures.values()
            if one.reference and record.has_effects(arm, one.name)
        ),
    )
    shown = [each for each in others if each.name != LEGAL.name or record.legality]
    return own, *(each for each in shown if each.name != own.name)


def gain_of(record: Record, arm: Arm) -> ArmGain:
    """Return what an arm gained on its own goal."""
    shifts = record.shifts_of(arm, arm.measure)
    gained = bool(shifts) and all(excludes_zero(row.low, row.high) for row in shifts)
    return ArmGain({row.seed: row.effect for row in shifts}, gained)


def by_set(effects: Iterable[Effect]) -> dict[tuple[str, str], tuple[Effect, ...]]:
    """Group effects by family and set: one effect for each seed."""
    groups: dict[tuple[str, str], list[Effect]] = {}
    for row in effects:
        groups.setdefault((row.family, row.set), []).append(row)
    return {key: tuple(rows) for key, rows in groups.items()}


def controls_of(rows: Sequence[Effect], every: Sequence[Effect]) -> list[Effect]:
    """Return the random sets that match a set, over all its seeds; a set is no control of itself."""
    return [
        control for row in rows for control in matched(row, every) if control.components != row.components
    ]


def mean(values: Iterable[float]) -> float:
    """Return the mean of at least one value."""
    known = list(values)
    return sum(known) / len(known)


def told(rows: Sequence[Effect | Shift]) -> str:
    """Write an effect with its interval; of several seeds the mean, the range and how many exclude 0."""
    if not rows:
        return ABSENT
    if len(rows) == 1:
        return f"{signed(rows[0].effect)} {interval(rows[0].low, rows[0].high)}"
    values = [row.effect for row in rows]
    clear = sum(excludes_zero(row.low, row.high) for row in rows)
    span = f"{signed(min(values))} to {signed(max(values))}"
    return f"{signed(mean(values))} (seeds {span}, {clear} of {len(rows)} intervals exclude 0)"


def tooltip(rows: Sequence[Effect], gain: ArmGain | None = None, brief: bool = False) -> str:
    """Write a set's effect by seed, or its mean and range; with a gain its share of that and of ‖Δ‖²."""
    first = rows[0]
    if len(rows) > 1 and (brief or len(rows) > EACH_SEED):
        values = [row.effect for row in rows]
        clear = sum(row.excludes_zero for row in rows)
        span = f"{signed(min(values))} to {signed(max(values))}, {clear} of {len(rows)} exclude 0"
        lines = [f"{first.title}: {signed(mean(values))} ({span})"]
    else:
        seeds = [f"seed {row.seed} " if len(rows) > 1 else "" for row in rows]
        each = [
            f"{seed}{signed(row.effect)} {interval(row.low, row.high)}"
            for seed, row in zip(seeds, rows, strict=True)
        ]
        lines = [f"{first.title}: {'; '.join(each)}"]
    share = gain.share(rows) if gain else None
    if share is not None:
        lines.append(
            f"{percent(share)} of the gain {'taken back' if first.direction == TAKE_BACK else 'brought'}"
        )
    if gain and first.delta_share is not None:
        lines.append(f"{percent(first.delta_share)} of ‖Δ‖²")
    return "\n".join(lines)


def controls_told(controls: Sequence[Effect], gain: ArmGain | None) -> str:
    """Write how many random sets match a set and what they span; of few, each."""
    if not controls:
        return ""
    values = [row.effect for row in controls]
    lines = [f"{count(len(values), 'random set')}, from {signed(min(values))} to {signed(max(values))}"]
    if gain and len(controls) <= MOST_TOLD:
        lines += [tooltip([row]) for row in controls]
    return "\n".join(lines)


def singles_of(record: Record, arm: Arm, direction: str, measure: str) -> Sets:
    """Return the effects of single heads, MLPs or units."""
    rows = by_set(record.effects_of(arm, direction, measure))
    return {key: effects for key, effects in rows.items() if key[0] in SINGLES}


def most_telling(record: Record, arm: Arm, direction: str) -> tuple[Effect, ...]:
    """Return, of the layers, their heads and sets by name, the one that undoes or brings most of the gain."""
    sets = [
        rows
        for (family, _), rows in by_set(record.effects_of(arm, direction, arm.measure)).items()
        if family in _TELLING and rows[0].n_components > 1
    ]
    return max(sets, key=lambda rows: mean(toward(row) for row in rows), default=())


def most_telling_single(record: Record, arm: Arm) -> tuple[Effect, ...]:
    """Return the single component that costs most when it is taken back."""
    sets = singles_of(record, arm, TAKE_BACK, arm.measure).values()
    return min(sets, key=lambda rows: mean(row.effect for row in rows), default=())


def toward(row: Effect) -> float:
    """Return an effect, positive where it undoes (or, grafted, brings) what raises a measure."""
    return -row.effect if row.direction == TAKE_BACK else row.effect


def as_telling(rows: Sequence[Effect], controls: Sequence[Effect]) -> int:
    """Return how many random sets do at least as much as a set."""
    ours = mean(map(toward, rows))
    return sum(toward(control) >= ours for control in controls)
