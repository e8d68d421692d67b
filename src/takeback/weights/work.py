"""Work on a pair of checkpoints, cut into items that stand alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from takeback.checkpoint.pair import Pair
from takeback.run.identity import identity
from takeback.weights.cost import ITEM


@dataclass(frozen=True, eq=False)
class PairWork:
    """Is work on a pair, tensor by tensor unless a kind of it says otherwise; see `takeback.run.parts.Work`.

    The fields that a kind of it adds are its settings. `name` is that of its parts. Of vocabularies of two
    sizes it sees the rows that both sides have, unless it is `with_new_rows`. Going through an entry takes it
    `entry_seconds`.
    """

    pair: Pair
    name: ClassVar[str]
    with_new_rows: ClassVar[bool] = False
    entry_seconds: ClassVar[float]

    def __post_init__(self) -> None:
        if not self.with_new_rows:
            object.__setattr__(self, "pair", self.pair.common)

    @property
    def identity(self) -> str:
        """The files of both sides, the settings and the version of the table."""
        settings = [getattr(self, one.name) for one in fields(self)[1:]]
        return identity(self.pair.stamp, *settings)

    def items(self) -> Sequence[str]:
        """Return the tensors."""
        return list(self.pair.tuned.shapes)

    def seconds(self, item: str) -> float:
        """Return about how long one item takes; see `takeback.weights.cost`."""
        return ITEM + self.entry_seconds * math.prod(self.pair.tuned.shapes[item])
