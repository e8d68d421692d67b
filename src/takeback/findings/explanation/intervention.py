"""What is explained: what was done to which pair, and the parts that sets play."""

from __future__ import annotations

from dataclasses import dataclass

from takeback.measure.read import BASE

ASKED, EVERYTHING, RANDOM = "asked", "everything", "random"
"""The part a set plays: the one that is explained, all components beside it, and its controls."""


@dataclass(frozen=True)
class Intervention:
    """What was done to which pair: tuned with a set from a source, or base with it from tuned."""

    base: str
    tuned: str
    components: str
    graft: bool = False
    source: str = BASE

    def __str__(self) -> str:
        """Say it."""
        if self.graft:
            return f"grafting {self.components} onto base"
        return f"taking back {self.components}" + ("" if self.source == BASE else f" from {self.source}")
