"""What an ended answer is: a legal action or a class of illegality, as the number of an outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    from takeback.arenas import TextArena

UNPARSABLE = "unparsable"


class Judge:
    """Numbers outcomes: first all situations' legal actions, then the arena's classes for each situation.

    Each text is classified once for each situation and remembered.

    Attributes:
        offsets: Where each situation's actions start, and where the last ones end; shape (situations + 1,).
    """

    def __init__(
        self, arena: TextArena[Any], situations: Sequence[Any], actions: Sequence[Sequence[str]]
    ) -> None:
        if UNPARSABLE not in arena.illegal:
            raise TakebackError(f"arena {arena.name!r} has no illegality class {UNPARSABLE!r}; it needs one")
        self._arena, self._situations = arena, situations
        self._classes = {name: number for number, name in enumerate(arena.illegal)}
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
        return self.actions + len(self._known) * len(self._classes)

    def __call__(self, situation: int, text: str) -> int:
        """Return the outcome of an answer that ends after this text."""
        known = self._known[situation]
        if text not in known:
            verdict = self._arena.classify(self._situations[situation], text)
            known[text] = known[text.strip()] if verdict == "legal" else self.illegal(situation, verdict)
        return known[text]

    def illegal(self, situation: int, name: str = UNPARSABLE) -> int:
        """Return the outcome of an illegality class."""
        return self.actions + situation * len(self._classes) + self._classes[name]
