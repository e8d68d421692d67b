"""What an ended answer is: a legal action or another kind, as the number of an outcome."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from takeback.arenas import LEGAL, Enumerable, able
from takeback.run.errors import TakebackError, unknown_name

if TYPE_CHECKING:
    from takeback.arenas import Arena

UNENDED = "…"
"""What is written after an answer that was cut off, so that it is no legal action."""


class Judge:
    """Numbers outcomes: first all situations' legal actions, then the arena's kinds for each situation.

    Each text is classified once for each situation and remembered.

    Attributes:
        offsets: Where each situation's actions start, and where the last ones end; shape (situations + 1,).
    """

    def __init__(
        self, arena: Arena[Any], situations: Sequence[Any], actions: Sequence[Sequence[str]]
    ) -> None:
        if not arena.kinds:
            raise TakebackError(f"arena {arena.name} names no kind of other answers; one, `other`, is enough")
        self._arena, self._situations = arena, situations
        self._kinds = {name: number for number, name in enumerate(arena.kinds)}
        self.offsets = np.concatenate([[0], np.cumsum([len(legal) for legal in actions])]).astype(np.int64)
        self._known: list[dict[str, int]] = [
            {action: start + i for i, action in enumerate(legal)}
            for start, legal in zip(self.offsets.tolist(), actions, strict=False)
        ]

    @property
    def actions(self) -> int:
        """The number of legal actions of all situations; outcomes below it are legal."""
        return int(self.offsets[-1])

    @property
    def outcomes(self) -> int:
        """The number of outcomes of all situations."""
        return self.actions + len(self._known) * len(self._kinds)

    def __call__(self, situation: int, text: str) -> int:
        """Return the outcome of an answer that ends after this text."""
        known = self._known[situation]
        if text not in known:
            kind = self._arena.classify(self._situations[situation], text)
            known[text] = known[text.strip()] if kind == LEGAL else self.other(situation, kind)
        return known[text]

    def unended(self, situation: int, text: str) -> int:
        """Return the outcome of an answer that began with this text and was cut off."""
        return self(situation, text + UNENDED)

    def other(self, situation: int, kind: str) -> int:
        """Return the outcome of a kind of answers.

        Raises:
            TakebackError: the arena names no such kind.
        """
        if kind not in self._kinds:
            raise unknown_name(f"kind of answers of arena {self._arena.name}", kind, self._kinds)
        return self.actions + situation * len(self._kinds) + self._kinds[kind]

    @cached_property
    def dead_ends(self) -> NDArray[np.int64]:
        """The outcome, in each situation, of answers that begin with a text that is not viable."""
        kind = able(self._arena, Enumerable).dead_end
        return np.array([self.other(situation, kind) for situation in range(len(self._known))])
