"""Tables and places of a page in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Write a table in Markdown.

    >>> print(table(("arm", "gain"), [("rl | win", "0.1")]))
    | arm | gain |
    | --- | --- |
    | rl \| win | 0.1 |
    """
    names = list(head)
    lines = [names, ["---"] * len(names), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def slug(key: str) -> str:
    """Write a key as it stands in a page.

    >>> slug("mean in tuned rl-win  takeback")
    'mean-in-tuned-rl-win-takeback'
    """
    return re.sub(r"[^a-z0-9]+", "-", key.lower())
