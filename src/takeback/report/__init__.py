"""The report of a run: one HTML file made from the record alone, without torch and without a network."""

from __future__ import annotations

from pathlib import Path

from takeback.run.files import atomic_file

__all__ = ["write_report"]


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
