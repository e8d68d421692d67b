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


def second(completions: list[Any], choices: list[list[str]], **columns: Any) -> list[float]:
    """1 where the answer is the number that was named second, else 0, larger or not.

    >>> second(["17", "12", "17."], choices=[["12", "17"]] * 3)
    [1.0, 0.0, 0.0]
    """
    return [float(_text(one).strip() == told[1]) for one, told in zip(completions, choices, strict=True)]


def kind(completions: list[Any], solution: list[str], **columns: Any) -> list[str | None]:
    """Name answers: a bare number or words, with the right number or without.

    >>> kind(["17", "18", "It is 17.", "It depends"], ["17"] * 4)
    ['right number', 'wrong number', 'right in words', 'wrong in words']
    """
    texts = [_text(one) for one in completions]
    bare = ["number" if re.fullmatch(r"[0-9\s.]+", text) else "in words" for text in texts]
    earned = right(texts, solution)
    return [f"{'right' if good else 'wrong'} {form}" for good, form in zip(earned, bare, strict=True)]


def _last(text: str) -> str | None:
    found = re.findall(r"\d+", text)
    return found[-1] if found else None


def _text(one: Any) -> str:
    return one if isinstance(one, str) else str(one[0]["content"])
