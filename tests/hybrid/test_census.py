"""The page of all model types says what the command finds."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import transformers

from takeback.anatomy import families
from takeback.hybrid.census import PROVED, UNBUILT, Fate, census, model_types, page

PAGE = Path(__file__).parents[2] / "docs" / "model-types.md"
SAMPLE = ("bloom", "cohere", "deepseek_v3", "diffllama", "dory", "falcon", "llama", "mamba")

written = PAGE.read_text("utf-8")
of_this_version = pytest.mark.skipif(
    f"transformers {transformers.__version__}:" not in written,
    reason="the page is of another version of transformers, which has other model types",
)


def rows() -> dict[str, Fate]:
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in written.splitlines()]
    return {row[0]: Fate(*row) for row in cells if len(row) == 4 and row[0] not in ("model type", "---")}


@of_this_version
def test_the_page_has_every_model_type_and_counts_them() -> None:
    assert tuple(rows()) == model_types()
    assert page(rows().values()) == written
    assert Counter(fate.outcome for fate in rows().values())[PROVED] >= 100


def test_the_page_names_blocks_that_there_are() -> None:
    blocks = {fate.block for fate in rows().values() if fate.outcome == PROVED}
    assert blocks <= families().keys()


@pytest.mark.slow
@of_this_version
def test_the_page_agrees_with_the_command_on_some() -> None:
    assert [rows()[model_type] for model_type in SAMPLE] == list(census(SAMPLE))


@of_this_version
@pytest.mark.slow
def test_the_page_agrees_with_the_command_on_all() -> None:
    """Why a type can't be built may depend on what else is installed; whether it can be read may not."""
    for found in census(model_types()):
        there = rows()[found.model_type]
        if UNBUILT not in (found.outcome, there.outcome):
            assert there == found
        else:
            assert there.outcome == found.outcome or re.search("requires|library", there.told + found.told)
