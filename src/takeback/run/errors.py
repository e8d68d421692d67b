"""Errors that a user can act on: each says what was wrong, what was there and what to do."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any


class TakebackError(ValueError):
    """A mistake in the input, told in one line; the command line prints it without a traceback."""


class TakebackWarning(UserWarning):
    """Something odd that a user should know, told in one line, as errors are."""


class UnknownName(TakebackError):
    """A name that nothing answers to; the message lists the nearest ones that exist."""


def warned(text: str) -> None:
    """Warn the user of something odd that is no obstacle."""
    warnings.warn(text, TakebackWarning, stacklevel=3)


_TOLD = set[str]()


def show_warnings_in_lines() -> None:
    """From now on print each warning of this package once, as a line, and others as Python does."""
    warnings.showwarning = _show


def _show(message: Warning | str, category: type[Warning], *where: Any) -> None:
    text = warnings.formatwarning(message, category, *where[:2])
    if issubclass(category, TakebackWarning):
        text = f"takeback: warning: {message}\n"
        if text in _TOLD:
            return
        _TOLD.add(text)
    print(text, end="", file=sys.stderr, flush=True)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """Build the error for `name`, which is not one of the `known` names of this `kind`.

    >>> print(unknown_name("goal", "wim", ["win", "draw", "check"]))
    unknown goal 'wim': did you mean 'win'? known: win, draw, check
    """
    names = list(known)
    name = name if len(name) <= 200 else f"{name[:200]}…"
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f": did you mean {' or '.join(map(repr, near))}?" if near else ";"
    shown = ", ".join(names[:12]) + (f", … ({len(names)} in all)" if len(names) > 12 else "")
    return UnknownName(f"unknown {kind} {name!r}{hint} known: {shown or 'none'}")


_LOOKED_AT = 2000
"""Files of a folder that are looked at for one with nearly the name."""


def near_by(path: str | Path) -> str:
    """Say which file or folder beside a path that is not there has nearly its name; nothing if none has.

    >>> near_by("nowhere/at/all")
    ''
    """
    place = Path(path)
    try:
        names = [one.name for one in islice(place.parent.iterdir(), _LOOKED_AT) if one.exists()]
    except OSError:
        return ""
    near = difflib.get_close_matches(place.name, names, n=1, cutoff=0.7)
    return f" (did you mean {str(place.with_name(near[0]))!r}?)" if near else ""
