"""How answers are drawn: length, temperature, the share of the distribution kept, stop strings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from takeback.run.errors import TakebackError

COLDEST: Final = 0.001
"""The lowest temperature: below it numbers overflow."""


@dataclass(frozen=True)
class Sampling:
    r"""What a model may answer and how it is drawn, in the words of Hugging Face's generation.

    >>> Sampling(max_tokens=8, stop=("\n",)).greedy
    False

    Attributes:
        max_tokens: most tokens of an answer, an end token included.
        temperature: what logits are divided by; 0 takes the likeliest token always.
        top_p: the likeliest tokens that together have this probability are drawn from, no others.
        stop: texts that end an answer, which they do not belong to.

    Raises:
        TakebackError: a value is outside its range.
    """

    max_tokens: int = 64
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _whole(self.max_tokens) or self.max_tokens < 1:
            raise TakebackError(f"max tokens is {self.max_tokens!r}; give a whole number of 1 or more")
        if not _real(self.temperature) or self.temperature < 0 or 0 < self.temperature < COLDEST:
            raise TakebackError(
                f"the temperature is {self.temperature!r}; give 0 (the likeliest token), or a finite number "
                f"of {COLDEST} or more"
            )
        if not _real(self.top_p) or not 0 < self.top_p <= 1:
            raise TakebackError(f"top p is {self.top_p!r}; give a number above 0 and up to 1 (all tokens)")
        stop: Any = self.stop
        if isinstance(stop, str):
            raise TakebackError(f"stop strings are the text {stop!r}; give a list of texts")
        for one in stop:
            if not isinstance(one, str) or not one:
                raise TakebackError(f"a stop string is {one!r}; give texts that are not empty")
        object.__setattr__(self, "stop", tuple(stop))

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature == 0


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
