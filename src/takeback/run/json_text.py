"""JSON from files that others wrote: bounded in size, depth and digits, with errors in one line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, cast

from takeback.run.reading import MOST_BYTES, MOST_DIGITS, MOST_LEVELS, read_text, unreadable


def read_json(
    path: str | Path | Traversable, missing: str = "", most: int = MOST_BYTES, *, strict: bool = False
) -> Any:
    """Return what a JSON file holds; see `parse_json`.

    Raises:
        Missing: it is not there, which `missing` may say.
        Unreadable: it is no regular file, has more than `most` bytes, or is no such JSON.
    """
    return parse_json(read_text(path, missing, most), path, strict=strict)


def read_object(path: str | Path | Traversable, missing: str = "", *, strict: bool = False) -> dict[str, Any]:
    """Return the object, values by name, that a JSON file holds; see `parse_json`.

    Raises:
        Missing: it is not there, which `missing` may say.
        Unreadable: it is no regular file, or holds something else.
    """
    found = read_json(path, missing, strict=strict)
    if not isinstance(found, dict):
        raise unreadable(path, f"it holds {_KINDS[type(found)]} where an object is wanted", "JSON")
    return cast("dict[str, Any]", found)


def parse_json(text: str | bytes, source: object, *, strict: bool = False) -> Any:
    """Return what a text holds as JSON; a strict one holds no NaN and no number that is infinite.

    Raises:
        Unreadable: it is no JSON, nests too deeply, or has a number of too many digits or half a character.

    >>> parse_json('{"layers": 3}', "config.json")
    {'layers': 3}
    >>> parse_json("[1, NaN]", "config.json", strict=True)
    Traceback (most recent call last):
    takeback.run.reading.Unreadable: config.json can't be read as JSON: it holds NaN, which is no JSON
    """
    finite: Mapping[str, Any] = {"parse_constant": _refused, "parse_float": _finite} if strict else {}
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        found: Any = json.loads(text, parse_int=_whole, **finite)
    except RecursionError:
        raise unreadable(source, f"it nests deeper than {MOST_LEVELS} levels", "JSON") from None
    except ValueError as error:
        raise unreadable(source, error, "JSON", getattr(error, "lineno", 1)) from None
    if _levels(found) > MOST_LEVELS:
        raise unreadable(source, f"it nests deeper than {MOST_LEVELS} levels", "JSON")
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise unreadable(source, "it holds half a character (\\ud800 or the like)", "JSON") from None
    return found


_KINDS = {list: "a list", str: "text", int: "a number", float: "a number", bool: "a truth value"} | {
    type(None): "null"
}


def _levels(value: Any) -> int:
    """Return how deep lists and objects lie in each other, looking at one level after another."""
    count, level = 0, [value] if isinstance(value, dict | list) else []
    while level and count <= MOST_LEVELS:
        count += 1
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
    return count


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"it holds a number of {len(digits):,} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"it holds {digits[:40]}, which is infinite")
    return value


def _refused(text: str) -> float:
    raise ValueError(f"it holds {text}, which is no JSON")
