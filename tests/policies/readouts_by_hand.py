"""Readouts of the toy arena with probabilities given by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from takeback.policies.readout import Readouts
from toy_arena import LEGAL, ToyArena


def make(legal: Sequence[Sequence[float]], illegal: Sequence[Sequence[float]]) -> Readouts:
    """Lay out places 0, 1, …; what is missing to 1 is undecided; greedy takes the likeliest action."""
    n = len(legal)
    return Readouts(
        arena="toy",
        situations=tuple(f"s{i}" for i in range(n)),
        clusters=tuple(str(i // 2) for i in range(n)),
        actions=tuple(LEGAL[i] for i in range(n)),
        probabilities=np.array([p for row in legal for p in row]),
        illegal=ToyArena.kinds,
        masses=np.array(illegal, np.float64),
        undecided=np.array(
            [max(0.0, round(1 - sum(a) - sum(b), 12)) for a, b in zip(legal, illegal, strict=True)]
        ),
        greedy=np.array([int(np.argmax(row)) if len(row) else -1 for row in legal]),
        drawn_legal=np.array([round(sum(row), 1) for row in legal]),
        samples=0,
        errors=np.zeros((n, 3)),
        lower_bound=np.zeros(n, np.bool_),
    )
