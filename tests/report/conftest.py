"""One made-up record and its page for all tests that only read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from record import write_record
from takeback.report import write_report


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run folder; nobody changes it."""
    return write_record(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="session")
def page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of that run."""
    return write_report(run, tmp_path_factory.mktemp("page") / "report.html")
