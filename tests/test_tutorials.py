"""The tutorials run from top to bottom on the model that ships, and their results draw themselves."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

TUTORIALS = Path(__file__).parents[1] / "docs" / "tutorials"
NAMES = sorted(path.stem for path in TUTORIALS.glob("*.ipynb"))
STEPS = "4"
SITUATIONS = {"find-and-repair": "64"}
"""Halves of fewer show no damage there; the others run with half as many."""


def cells(name: str, kind: str) -> list[str]:
    book = json.loads((TUTORIALS / f"{name}.ipynb").read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    return ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == kind]


def run_cell(code: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does, and return the value of its last line if that is an expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_is_kept_without_outputs_and_asks_which_pair_at_the_top(name: str) -> None:
    book = json.loads((TUTORIALS / f"{name}.ipynb").read_text(encoding="utf-8"))
    assert not any(cell.get("outputs") for cell in book["cells"])
    assert "TAKEBACK_BASE" in cells(name, "code")[0]
    assert "%pip install" in cells(name, "markdown")[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_runs_and_draws(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAKEBACK_SITUATIONS", SITUATIONS.get(name, "32"))
    monkeypatch.setenv("TAKEBACK_STEPS", STEPS)
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = [run_cell(code, names) for code in cells(name, "code")]
    drawn = [one for one in shown if hasattr(one, "_repr_html_")]
    assert drawn
    assert any("<svg" in one._repr_html_() for one in drawn)
