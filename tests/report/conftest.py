"""Made-up records and their pages for all tests that only read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from record import write_record
from takeback.report import write_report
from worlds import write_agency, write_agents


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run folder; nobody changes it."""
    return write_record(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="session")
def page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of that run."""
    return write_report(run, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="session")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of agents in an environment; nobody changes it."""
    run = write_agents(tmp_path_factory.mktemp("agents") / "run")
    goals = ("reward", "corner")
    arms = ("agent", "clone", "corner", "nothing")
    write_agency(run, {(arm, goal, 0): 0.3 for arm in arms for goal in goals})
    return run


@pytest.fixture(scope="session")
def agents_page(agents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of that run."""
    return write_report(agents, tmp_path_factory.mktemp("agents") / "report.html")
