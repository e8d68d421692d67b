"""What kind of move a move is: yes-or-no features, from which biases are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.endgames.geometry import DISTANCE, FILE, RANK
from takeback.arenas.endgames.moves import Moves

Feature = Callable[[Moves], NDArray[np.bool_]]


def _capture(batch: Moves) -> NDArray[np.bool_]:
    """White never captures here: Black has but a king. Kept so that arenas share their features' names."""
    return np.zeros(batch.legal.shape, np.bool_)


def _retreat(batch: Moves) -> NDArray[np.bool_]:
    enemy = batch.enemy[:, None]
    return DISTANCE[batch.target, enemy] > DISTANCE[batch.source, enemy]


FEATURES: Final[Mapping[str, Feature]] = MappingProxyType(
    {
        "king": lambda batch: batch.by_king,
        "check": lambda batch: batch.check,
        "mate": lambda batch: batch.left == 0,
        "stalemate": lambda batch: batch.stuck & ~batch.check,
        "capture": _capture,
        "retreat": _retreat,
        "promotion": lambda batch: batch.letter > 0,
        "hanging": lambda batch: batch.hanging,
        "up": lambda batch: RANK[batch.target] > RANK[batch.source],
        "down": lambda batch: RANK[batch.target] < RANK[batch.source],
        "left": lambda batch: FILE[batch.target] < FILE[batch.source],
        "right": lambda batch: FILE[batch.target] > FILE[batch.source],
    }
)
"""`retreat` goes farther from Black's king, `hanging` leaves White's piece to be taken, `up` is to rank 8."""


def features(batch: Moves) -> dict[str, NDArray[np.bool_]]:
    """Return every feature of every legal move, [N, A] each, false on the fill-up."""
    return {name: feature(batch) & batch.legal for name, feature in FEATURES.items()}
