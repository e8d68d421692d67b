"""Where a pool is too thin for a hybrid: what draws its answers anew, and what that says beside the pool."""

from __future__ import annotations

from typing import Any

from takeback.arenas.rows import DrawnRows, PooledRows
from takeback.measure.answers import kind_of
from takeback.measure.measures import measures_of
from takeback.policies.answers import AnswerReadouts
from takeback.policies.readout import Readouts


def effective(readouts: Readouts) -> float | None:
    """Return the mean effective sample size of a pool under a policy, a share; None of other readouts."""
    if isinstance(readouts, AnswerReadouts) and readouts.drawn.any():
        return float(readouts.effective().mean())
    return None


def is_thin(arena: Any, readouts: Readouts) -> bool:
    """Tell whether a policy's importance weights leave less of a pool than the arena asks for."""
    share = effective(readouts)
    return isinstance(arena, PooledRows) and share is not None and share < arena.open.spec.thin


def drawn_rows(arena: PooledRows) -> DrawnRows:
    """Return the arena of a pool as one that is read by drawing, by as many answers as both sides gave."""
    return DrawnRows(arena.open, arena.open.spec.answers * len(arena.sides))


def told_by_both(arena: PooledRows, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of some measures that answers drawn anew tell, too; the others need no weights."""
    known = {measure.name for measure in measures_of(drawn_rows(arena))}
    return tuple(name for name in names if name in known or kind_of(name))
