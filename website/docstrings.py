"""Lets the examples in docstrings be shown as code."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\n).+)*(?:\n\n>>> .*(?:\n(?!\n).+)*)*", re.MULTILINE)


class Doctests(Extension):
    """Puts a fence around the doctests of every docstring."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of what was read."""
        if obj.docstring and ">>>" in obj.docstring.value:
            text = re.sub(r" *# doctest: .*", "", obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub(lambda found: f"```pycon\n{found[0]}\n```", text)
