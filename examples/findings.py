"""Every number of every page of findings, for the page that opens them: keys begin with the page's name."""

from __future__ import annotations

from pathlib import Path

from pages import given, made


def blocks(record: Path) -> dict[str, str]:
    """Return Markdown by key, of all pages whose record lies in a folder."""
    pages = [page for page in made() if (record / page.stem).is_dir()]
    return {
        f"{page.stem}-{key}": text
        for page in pages
        for key, text in given(page.read_text(encoding="utf-8")).items()
    }
