"""Wherever the tool's words say that something is not told from chance, they say how large it can be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import takeback

SOURCE = Path(takeback.__file__).parent
NULL = re.compile(r"told from chance|(?:that|which) includes 0|[Nn]othing beyond noise|stands out from")
LIMITS = {"at_most", "_at_most", "reach", "within", "nulls"}
"""Functions that write a bound, and what noise of one size reaches."""
OF_NOTES = {"study/contrasts/show.py"}
"""Files whose notes say of the words elsewhere what they mean."""


def sentences(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield the texts in code that are no docstrings, with the function that each stands in."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            told = ast.get_docstring(function, clean=False)
            for node in ast.walk(function):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value != told:
                    yield node.value, function


def test_no_null_is_worded_without_its_bound():
    found = 0
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        for text, function in sentences(ast.parse(path.read_text(encoding="utf-8"))):
            if NULL.search(text) and name not in OF_NOTES:
                found += 1
                used = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
                used |= {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
                assert used & LIMITS, f"{name}: {text!r} says no bound"
    assert found >= 4, "the words that this looks for are still those of the tool"
