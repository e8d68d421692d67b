"""Bends inputs: bytes, texts and JSON, by draws of one generator."""

from __future__ import annotations

import json
import random
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**9, 10**30, 1e300, float("inf"), float("nan"), 0.5, 2**70),
    *("", "x" * 400, "\ud800", "../x", "~nobody", "<script>", [], {}, [[[[1]]]], ["a"], {"a": 1}),
)
TOKENS = (
    *("[" * 300, "{" * 300, "- " * 300, "&a [*a]", "*a", "!!int x", "2026-99-01", "9" * 6000, ".inf", "~"),
    *("\0", "\ufeff", "\ud7ff", "'", '"', "#", "---\n", "*" * 40, "~", "L0.H*", "\t", "{#a}", "!!python/x 1"),
)


def bytes_of(data: bytes, draw: random.Random) -> bytes:
    """Change one to three stretches of bytes."""
    for _ in range(draw.randint(1, 3)):
        at, length = draw.randrange(len(data) + 1), draw.choice((1, 1, 2, 8, 64))
        new = draw.choice((b"", draw.randbytes(length), b"\xff" * length, b"\0" * length, data[:length]))
        data = data[:at] + new + data[at + draw.choice((0, length)) :]
    return data[: draw.randrange(len(data) + 1)] if draw.random() < 0.1 else data


def text_of(text: str, draw: random.Random) -> bytes:
    """Put tokens of trouble into a text, or bend its bytes."""
    if draw.random() < 0.15:
        return text.encode()
    if draw.random() < 0.4:
        return bytes_of(text.encode(), draw)
    for _ in range(draw.randint(1, 2)):
        at = draw.randrange(len(text) + 1)
        text = text[:at] + draw.choice(TOKENS) + text[at + draw.choice((0, 0, 1, 9)) :]
    return text.encode("utf-8", "surrogatepass")


def json_of(value: Any, draw: random.Random) -> bytes:
    """Replace, drop or add a value somewhere within, or bend the text."""
    if draw.random() < 0.25:
        return text_of(json.dumps(value), draw)
    whole = json.loads(json.dumps(value))
    places = [(whole, key) for key in _keys(whole)]
    for box, key in places:
        places += [(box[key], inner) for inner in _keys(box[key])]
    for box, key in draw.sample(places, min(len(places), draw.randint(1, 2))):
        if draw.random() < 0.25 and key in _keys(box):
            del box[key]
        elif isinstance(box, dict) or key < len(box):
            box[key] = draw.choice(VALUES)
    return json.dumps(whole).encode("utf-8", "surrogatepass")


def _keys(value: Any) -> list[Any]:
    return (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
