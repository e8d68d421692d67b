"""What `pyproject.toml` allows is what the page on reliability says was tried."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

from validation.versions import PYTHONS, Cell, bounded

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line[:1] == "|"]
HEAD = next(row for row in ROWS if row[0] == "library")
TRIED = {
    row[0]: dict(zip(HEAD, row, strict=True)) for row in ROWS if row[0] in bounded() and len(row) == len(HEAD)
}


@pytest.mark.parametrize("library", bounded())
def test_a_lower_bound_is_the_lowest_that_was_tried(library: str) -> None:
    assert Version(TRIED[library][str(Cell(PYTHONS[0], "lowest", False))]) == Version(bounded()[library])


def test_every_python_that_is_named_was_tried_with_the_newest() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        named = " ".join(tomllib.load(file)["project"]["classifiers"])
    assert re.findall(r"Python :: (3\.\d+)", named) == [*PYTHONS]
    wanted = {(python, "newest", extras) for python in PYTHONS for extras in ("all", "none")}
    wanted |= {(PYTHONS[0], "lowest", extras) for extras in ("all", "none")}
    told = {tuple(row[:3]): row[3] for row in ROWS if row[0] in PYTHONS}
    assert wanted <= told.keys()
    assert not any("failed" in said or "ended with" in said for said in told.values())
