"""What a template gets: figures, tables and the ways in which effects are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from takeback.draw.numbers import ABSENT, interval, percent, signed
from takeback.report.record import Arm, Record, matched
from takeback.report.rows import KL, LEGAL, TAKE_BACK, Effect, Shift, excludes_zero

SINGLES = ("each head", "each mlp", "each unit")
"""Families of sets of one component, drawn as heat maps."""


EACH_SEED = 3
"""Seeds that a tooltip tells one by one; of more it gives their mean and range."""

MANY = 100
"""Squares of a map of which each tells no seed by itself, so that the page stays small."""


@dataclass(frozen=True)
class Said:
    """Words about an arm, or about all where the name is empty."""

    name: str
    words: str


@dataclass(frozen=True)
class Measure:
    """A measure that is drawn for an arm: how it is called, its scale, and how a small square writes it."""

    name: str
    title: str
    axis: str
    diverging: bool = True
    factor: float = 1
    digits: int = 3


@dataclass(frozen=True)
class Gain:
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
        sign = -1 if effects[0].direction == TAKE_BACK else 1
        return mean(sign * row.effect / self.by_seed[row.seed] for row in effects)


def main_measures(record: Record, arm: Arm) -> tuple[Measure, ...]:
    """Return the measures that figures show: the arm's own goal, how far behaviour moved, and legality.

    Legality is left out where every answer is legal.
    """
    legal = f"mass on legal {record.terms.action}s"
    own = Measure(arm.measure, f"utility of its goal, {arm.goal}", f"change in the utility of {arm.goal}")
    others = (
        Measure(LEGAL, f"{legal}, in points", f"change in the {legal}", factor=100, digits=2),
        Measure(KL, "KL divergence", "KL divergence in nats", diverging=False),
    )
    shown = [each for each in others if each.name != LEGAL or record.terms.legality]
    return own, *(each for each in shown if each.name != own.name)


def gain_of(record: Record, arm: Arm) -> Gain:
    """Return what an arm gained on its own goal."""
    shifts = record.shifts_of(arm, arm.measure)
    gained = bool(shifts) and all(excludes_zero(row.low, row.high) for row in shifts)
    return Gain({row.seed: row.effect for row in shifts}, gained)


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


def tooltip(rows: Sequence[Effect], gain: Gain | None = None, brief: bool = False) -> str:
    """Write a set's effect by seed, or its mean and range; with a gain its share of that and of ‖Δ‖²."""
    first = rows[0]
    if len(rows) > 1 and (brief or len(rows) > EACH_SEED):
        values = [row.effect for row in rows]
        clear = sum(row.excludes_zero for row in rows)
        span = f"{signed(min(values))} to {signed(max(values))}, {clear} of {len(rows)} exclude 0"
        lines = [f"{first.set}: {signed(mean(values))} ({span})"]
    else:
        seeds = [f"seed {row.seed} " if len(rows) > 1 else "" for row in rows]
        each = [
            f"{seed}{signed(row.effect)} {interval(row.low, row.high)}"
            for seed, row in zip(seeds, rows, strict=True)
        ]
        lines = [f"{first.set}: {'; '.join(each)}"]
    share = gain.share(rows) if gain else None
    if share is not None:
        lines.append(
            f"{percent(share)} of the gain {'taken back' if first.direction == TAKE_BACK else 'brought'}"
        )
    if gain and first.delta_share is not None:
        lines.append(f"{percent(first.delta_share)} of ‖Δ‖²")
    return "\n".join(lines)
