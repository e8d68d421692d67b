"""Tables of docs/findings/small-worlds.md from what `takeback compare` kept of the three runs."""

from __future__ import annotations

from pathlib import Path

from takeback.run.tables import read_table
from takeback.study.comparison.markdown import of_comparison


def blocks(record: Path) -> dict[str, str]:
    """Return the page's tables and numbers, as Markdown by key."""
    means, contrasts = (read_table(record / f"{name}.parquet") for name in ("means", "contrasts"))
    return of_comparison(means, contrasts)
