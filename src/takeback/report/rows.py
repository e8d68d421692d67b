"""What a record's tables hold, a frozen value per row. Missing is None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Self

from takeback.component import Component
from takeback.draw.numbers import count
from takeback.findings.sweep.sets import CONTROLS
from takeback.policies.readout import UNDECIDED
from takeback.run.errors import TakebackError

TAKE_BACK, GRAFT = "take back", "graft"
DIRECTIONS = (TAKE_BACK, GRAFT)
BASE = "base"
"""The name that policies and games give to the policy before training."""

ILLEGAL_END = "illegal"
"""How a game ends whose policy answers illegally."""

_LONGEST = 60
"""Letters of a random set's components that are written out; those of longer ones are in the tables."""


@dataclass(frozen=True)
class TableRow:
    """A row of a table: made from the columns that have its fields' names.

    A column whose field has a default may be absent: tables of older runs lack it.
    """

    @classmethod
    def read(cls, rows: Sequence[Mapping[str, Any]], origin: Path) -> tuple[Self, ...]:
        """Make rows from a table's columns.

        Raises:
            TakebackError: a column is missing.
        """
        if not rows:
            return ()
        missing = [f.name for f in fields(cls) if f.default is MISSING and f.name not in rows[0]]
        if missing:
            raise TakebackError(f"{origin} has no column {', '.join(missing)}; it holds {', '.join(rows[0])}")
        names = [field.name for field in fields(cls) if field.name in rows[0]]
        return tuple(cls(**{name: row[name] for name in names}) for row in rows)


@dataclass(frozen=True)
class MeasureAccount(TableRow):
    """What a measure says of itself; `reference` is where it is that a plan names beside the arena's."""

    name: str
    words: str
    role: str
    goal: str | None
    kind: str | None
    reference: str | None

    @property
    def is_of_kind(self) -> bool:
        """True for the mass of a kind of illegal answers."""
        return self.kind is not None and self.kind != UNDECIDED


@dataclass(frozen=True)
class Reading(TableRow):
    """A measure of one policy after `step` steps; 0 is base.

    `measured` tells whether it is the one that the run diffs and sweeps; older runs' last ones are.
    """

    arm: str
    seed: int
    step: int
    last: bool
    measure: str
    value: float
    low: float | None
    high: float | None
    n: int
    measured: bool | None = None


@dataclass(frozen=True)
class Shift(TableRow):
    """What training changed in a measure: tuned − base on the same situations; `value` is tuned's."""

    arm: str
    seed: int
    measure: str
    value: float
    effect: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Agency(TableRow):
    """A measure of agency of a trained policy, toward a goal; see `takeback.measure.agency.agency`."""

    arm: str
    seed: int
    measure: str
    goal: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    beta: float | None
    note: str


@dataclass(frozen=True)
class Effect(TableRow):
    """What taking a set back (or grafting it) does to a measure, and to which side it is relative."""

    arm: str
    seed: int
    direction: str
    family: str
    set: str
    components: str
    n_components: int
    parameters: int
    delta_share: float | None
    matches: str
    measure: str
    value: float
    effect: float
    low: float | None
    high: float | None
    relative_to: str
    n: int

    @property
    def title(self) -> str:
        """Its components, as `--take-back` reads them; random sets say that they are, long ones no more."""
        if not self.is_control:
            return self.components
        if len(self.components) > _LONGEST:
            return f"random set of {count(self.n_components, 'component')}"
        return f"random set {self.components}"

    @property
    def is_control(self) -> bool:
        """True for a random set."""
        return self.family in CONTROLS

    @property
    def excludes_zero(self) -> bool:
        """True if the interval is known and 0 is not in it."""
        return excludes_zero(self.low, self.high)


@dataclass(frozen=True)
class GameRow(TableRow):
    """A game or episode: `moves` are the policy's own, `best` is the fewest that the start needs.

    `score` is the return in an environment, 1 for a mate in chess.
    """

    arm: str
    seed: int
    situation: str
    result: str
    moves: int
    best: int | None
    score: float | None = None


@dataclass(frozen=True)
class Moved(TableRow):
    """How far a part of the weights moved; see `takeback.weights`."""

    parameters: int
    delta_norm: float
    relative: float | None
    changed_bitwise: float
    changed_bf16: float
    changed_1e5: float
    max_abs: float
    share: float | None
    cosine: float | None


@dataclass(frozen=True)
class MovedComponent(Moved):
    """How far a component moved."""

    component: str

    @property
    def place(self) -> Component:
        """The component itself."""
        return Component.parse(self.component)


@dataclass(frozen=True)
class Example:
    """A situation that training changed much: likely actions before and after, and the illegal mass."""

    situation: str
    board: Mapping[str, str]
    distance: float
    before: tuple[tuple[str, float], ...]
    after: tuple[tuple[str, float], ...]
    illegal_before: float
    illegal_after: float


def excludes_zero(low: float | None, high: float | None) -> bool:
    """Tell whether an interval is known and 0 is not in it.

    >>> excludes_zero(0.1, 0.2), excludes_zero(-0.1, 0.2), excludes_zero(None, None)
    (True, False, False)
    """
    return low is not None and high is not None and (low > 0 or high < 0)
