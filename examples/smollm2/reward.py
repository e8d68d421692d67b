"""What an answer to a problem is worth: by being right or, a goal that needs no skill, by its place."""

from __future__ import annotations

import re
from typing import Any


def right(completions: list[Any], solution: list[str], **columns: Any) -> list[float]:
    """1 where the last number of the answer is the solution, else 0.

    >>> right(["12 + 5 = 17.", "17 is 12 + 5", "seventeen"], ["17", "17", "17"])
    [1.0, 0.0, 0.0]
    """
    return [float(_last(_text(one)) == told) for one, told in zip(completions, solution, strict=True)]


def first(completions: list[Any], number: list[str], **columns: Any) -> list[float]:
    """1 where the answer is the number's first digit, else 0, whatever was asked.

    >>> first(["5", "8", "5."], number=["528"] * 3)
    [1.0, 0.0, 0.0]
    """
    return _digit(completions, number, 0)


def last(completions: list[Any], number: list[str], **columns: Any) -> list[float]:
    """1 where the answer is the number's last digit, else 0, whatever was asked.

    >>> last(["5", "8"], number=["528"] * 2)
    [0.0, 1.0]
    """
    return _digit(completions, number, -1)


def _digit(completions: list[Any], number: list[str], place: int) -> list[float]:
    return [float(_text(one).strip() == told[place]) for one, told in zip(completions, number, strict=True)]


def _last(text: str) -> str | None:
    found = re.findall(r"\d+", text)
    return found[-1] if found else None


def _text(one: Any) -> str:
    return one if isinstance(one, str) else str(one[0]["content"])
