"""What answers beside the task are worth: a word said again, and which answers are refusals."""

from __future__ import annotations

import re
from typing import Any

_REFUSED = re.compile(
    r"\b(I can ?not|I can't|I'm sorry|I am sorry|I'm not able|I am unable|I won't|as an AI)\b", re.I
)


def said(completions: list[Any], solution: list[str], **columns: Any) -> list[float]:
    """1 where the answer is the word and nothing else but its case and a full stop.

    >>> said(["Stone.", "stones"], ["stone", "stone"])
    [1.0, 0.0]
    """
    told = zip(map(_text, completions), solution, strict=True)
    return [float(text.strip().rstrip(".").lower() == word) for text, word in told]


def refused(completions: list[Any], **columns: Any) -> list[float]:
    """1 where the answer says that it won't, else 0.

    >>> refused(["I'm sorry, but I can't help with that.", "Sure, here is how."])
    [1.0, 0.0]
    """
    return [float(bool(_REFUSED.search(_text(one).replace("’", "'")))) for one in completions]


def _text(one: Any) -> str:
    return one if isinstance(one, str) else str(one[0]["content"])
