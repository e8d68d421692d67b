"""The report of a run: one HTML file made from the record alone, without torch and without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from takeback.run.files import atomic_file

if TYPE_CHECKING:
    from takeback.run.jobs import Workers
    from takeback.study import Plan

__all__ = ["run_plan", "write_report"]


def run_plan(plan: Plan, out: str | Path, workers: Workers = 1) -> Path:
    """Run a plan into the folder `out`, write the report and return its path; see `takeback.study.run_plan`.

    Raises:
        TakebackError: as there, or as `write_report`.
    """
    from takeback.study import run_plan as run_to_record

    return run_to_record(plan, out, workers, write_report)


def write_report(run: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a run folder and return its path, `report.html` in that folder unless told.

    Raises:
        TakebackError: the run is not there, not finished, or has sets without their random controls.
    """
    from takeback.report.html import render
    from takeback.report.read import read_record

    run = Path(run)
    path = run / "report.html" if out is None else Path(out)
    text = render(read_record(run))
    with atomic_file(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path
