"""The record of a run, as a value."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from takeback.arenas import Words
from takeback.component import Component, ComponentSet
from takeback.draw.page import Section
from takeback.measure.standard import LEGAL, utility
from takeback.report.rows import (
    BASE,
    DIRECTIONS,
    Agency,
    Effect,
    Example,
    GameRow,
    MeasureAccount,
    Moved,
    MovedComponent,
    Reading,
    Shift,
)
from takeback.run.errors import unknown_name

_ALWAYS = 1e-6
"""Illegal mass that is rounding."""

UNITS = ("U", "OUTPUTS")
"""Kinds of components that only networks of units have."""


@dataclass(frozen=True)
class Arm:
    """A way of training: its place gives it a colour and a mark in every figure.

    Attributes:
        start: what it starts from and is compared with: `base`, or another arm.
        table: how it was trained, in a table; `sentence` says it in a sentence.
        by: what drove it: `reward` for its goal, `chance`, or `imitation`.
        aims: whether its goal had a part in training; otherwise it is only what the arm is read on.
        logs: what its training log holds beside steps.
        steps: what its steps are.
    """

    name: str
    place: int
    goal: str
    recipe: Mapping[str, Any]
    seeds: tuple[int, ...]
    start: str
    table: str
    sentence: str
    by: str
    aims: bool
    logs: str
    steps: str

    @property
    def measure(self) -> str:
        """The utility of the arm's own goal; that of legality alone is the mass of legal answers."""
        return LEGAL.name if self.goal == LEGAL.name else utility(self.goal).name

    @property
    def trained_by(self) -> str:
        """How it was trained, toward what, and from what, for a table."""
        start = "" if self.start == BASE else f", starts from {self.start}"
        return f"{self.table}{start}, {'goal' if self.aims else 'read on'}: {self.goal}"

    @property
    def described(self) -> str:
        """The same for a sentence."""
        start = "" if self.start == BASE else f", starting from {self.start}"
        if self.aims:
            return f"{self.sentence} toward “{self.goal}”{start}"
        return f"{self.sentence}{start}, read on “{self.goal}”"


@dataclass(frozen=True)
class ArmChange:
    """How far the weights of one arm and seed moved."""

    components: tuple[MovedComponent, ...]
    total: Moved


@dataclass(frozen=True)
class Record:
    """All that a report tells of. What a run need not have is None where it has it not.

    `logs`, `changes`, `examples`, `localised` and `found` have an entry for an arm and a seed; `found` is by
    how much each measure changed on the situations that `localised` is read on.
    """

    folder: Path
    plan: Mapping[str, Any]
    base: str
    words: Words
    measures: Mapping[str, MeasureAccount]
    manifest: Mapping[str, Any]
    arms: tuple[Arm, ...]
    readings: tuple[Reading, ...]
    shifts: tuple[Shift, ...]
    agency: tuple[Agency, ...]
    games: tuple[GameRow, ...] | None
    examples: Mapping[tuple[str, int], tuple[Example, ...]] | None
    logs: Mapping[tuple[str, int], tuple[Mapping[str, Any], ...]]
    changes: Mapping[tuple[str, int], ArmChange]
    effects: tuple[Effect, ...]
    localised: Mapping[tuple[str, int], tuple[Section, ...]]
    found: Mapping[tuple[str, int], Mapping[str, Mapping[str, float]]]
    contrasts: tuple[Section, ...] = ()
    conjectures: tuple[Section, ...] = ()

    @property
    def title(self) -> str:
        """What the run calls itself."""
        return str(self.plan.get("title") or self.plan.get("name") or self.folder.name)

    @property
    def project(self) -> tuple[str, str] | None:
        """The file of the project that it belongs to, and the way there from its folder; None without one."""
        path = self.plan.get("project")
        if not path:
            return None
        return Path(path).name, Path(os.path.relpath(path, self.folder.resolve())).as_posix()

    @property
    def several_seeds(self) -> bool:
        """Whether arms were trained more than once."""
        return len(self.arms[0].seeds) > 1

    @cached_property
    def network(self) -> bool:
        """Whether its policies are networks of units instead of language models."""
        return any(row.place.kind in UNITS for row in next(iter(self.changes.values())).components)

    @cached_property
    def legality(self) -> bool:
        """Whether anything in it answers illegally."""
        rows = (*self.readings, *self.shifts, *self.effects)
        legal = [row.value for row in rows if row.measure == LEGAL.name]
        return any(value < 1 - _ALWAYS for value in legal)

    @cached_property
    def universe(self) -> ComponentSet:
        """All components of its models."""
        return ComponentSet(row.place for row in next(iter(self.changes.values())).components)

    def square(self, row: Effect) -> Component:
        """Return the square of a map on which a set of one component, or of one layer, is drawn."""
        members = list(ComponentSet.parse(row.components, self.universe))
        return members[0] if len(members) == 1 else Component("MLP", members[0].layer)

    @property
    def part(self) -> str:
        """What a single component that is taken back is called."""
        return "unit" if self.network else "head or MLP"

    @property
    def parts(self) -> str:
        """Several of them."""
        return "units" if self.network else "heads and MLPs"

    @cached_property
    def _effects(self) -> Mapping[tuple[str, str, str], tuple[Effect, ...]]:
        found: dict[tuple[str, str, str], list[Effect]] = defaultdict(list)
        for row in self.effects:
            found[row.arm, row.direction, row.measure].append(row)
        return {key: tuple(sorted(rows, key=lambda row: row.seed)) for key, rows in found.items()}

    def effects_of(self, arm: Arm, direction: str, measure: str) -> tuple[Effect, ...]:
        """Return the effects on a measure, controls included, in the table's order and by seed.

        Raises:
            UnknownName: nothing was measured under this name.
        """
        rows = self._effects.get((arm.name, direction, measure))
        if rows is None:
            known = sorted({key[2] for key in self._effects})
            raise unknown_name(f"measure in the effects of {arm.name!r}", measure, known)
        return rows

    def has_effects(self, arm: Arm, measure: str) -> bool:
        """Tell whether a measure applies to what was taken back and grafted in an arm."""
        return all((arm.name, direction, measure) in self._effects for direction in DIRECTIONS)

    @property
    def goals(self) -> list[str]:
        """The goals that some arm trains for, in the order of the plan."""
        return list(dict.fromkeys(arm.goal for arm in self.arms))

    def base_reading(self, measure: str) -> Reading | None:
        """Return a measure of the base, or None where it was not read."""
        return next((row for row in self.readings if row.arm == BASE and row.measure == measure), None)

    def last_readings(self, arm: Arm, measure: str) -> list[Reading]:
        """Return a measure of an arm's final policies, by seed."""
        return [row for row in self._readings_of(arm, measure) if row.last]

    def measured_readings(self, arm: Arm, measure: str) -> list[Reading]:
        """Return a measure of the policies that were taken apart, by seed; final ones, or a snapshot each."""
        rows = self._readings_of(arm, measure)
        return [row for row in rows if (row.last if row.measured is None else row.measured)]

    def _readings_of(self, arm: Arm, measure: str) -> list[Reading]:
        rows = [row for row in self.readings if row.arm == arm.name and row.measure == measure]
        return sorted(rows, key=lambda row: row.seed)

    def shifts_of(self, arm: Arm, measure: str) -> tuple[Shift, ...]:
        """Return what training changed in a measure, by seed; empty if that was not measured."""
        rows = [row for row in self.shifts if row.arm == arm.name and row.measure == measure]
        return tuple(sorted(rows, key=lambda row: row.seed))


def matched(row: Effect, rows: Iterable[Effect]) -> list[Effect]:
    """Return the random sets of the same arm, seed and direction that say they match a set.

    A draw that hit the very set is among them; `takeback.report.effects.controls_of` leaves it out.
    """
    return [
        other
        for other in rows
        if other.is_control and other.seed == row.seed and row.set in other.matches.split("; ")
    ]
