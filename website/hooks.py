"""What mkdocs calls while it builds the site: pages made from code, and those of the repository made fit."""

from __future__ import annotations

import re
import sys
from html import unescape
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))

import made  # noqa: E402

SHOWN = {"demo/report.html": "runs/demo/report.html", "demo/lab": "runs/demo-lab"}
"""What the site shows where it was made before (`make demo`): its place in the site, and where it lies."""

_DOCTEST = re.compile(r"^```python\n(?=>>>)", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])+)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_PICTURE = re.compile(r'<img alt="([^"]*)" src="[^"]*?pictures/([\w-]+\.svg)"\s*/?>')
_WHERE_THERE = re.compile(r"<!-- where (\S+) is:\n(.*?)\n-->\n", re.DOTALL)
"""What a page says on the site alone, and there if what it tells of is in it."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the decisions in the order they were made."""
    assert config.nav is not None
    (decisions,) = (one["Decisions"] for one in config.nav if "Decisions" in one)
    decisions += [f"decisions/{page.name}" for page in made.decisions()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from code, and the demo's report and lab where they are there."""
    for uri, text in made.pages().items():
        files.append(File.generated(config, uri, content=text))
    for uri, origin in SHOWN.items():
        start = ROOT / origin
        for path in [start] if start.is_file() else sorted(start.rglob("*")):
            if path.is_file():
                place = uri if path == start else f"{uri}/{path.relative_to(start).as_posix()}"
                files.append(File.generated(config, place, content=path.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make a page of the repository a page of the site."""

    def kept(found: re.Match[str]) -> str:
        return f"{found[2]}\n\n" if (ROOT / SHOWN[found[1]]).exists() else ""

    def link(found: re.Match[str]) -> str:
        words, way, _ = found.groups()
        if "://" in way or way.startswith(("mailto:", "<")):
            return found[0]
        if way.endswith(".ipynb") and not page.file.src_uri.startswith("tutorials/"):
            return found[0].replace(".ipynb", ".md")
        origin = page.file.abs_src_path
        if origin is None:
            return found[0]
        target = (Path(origin).parent / way).resolve()
        if target == ROOT / "docs" / "decisions":
            return found[0].replace(way, f"{way.rstrip('/')}/index.md")
        outside = target.exists() and not target.is_relative_to(ROOT / "docs")
        return words if outside else found[0]  # what is no page stays a name

    return _LINK.sub(link, _DOCTEST.sub("```pycon\n", _WHERE_THERE.sub(kept, markdown)))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put pictures of ours into the page itself, so that their colours are those of day or night."""

    def drawn(found: re.Match[str]) -> str:
        svg = (ROOT / "docs" / "pictures" / found[2]).read_text(encoding="utf-8").strip()
        return f'<span class="picture" role="figure" aria-label="{unescape(found[1])}">{svg}</span>'

    return _PICTURE.sub(drawn, html)


def on_post_build(config: MkDocsConfig, **_: Any) -> None:
    """Write the style with the colours of pictures, and what lets search work from disk."""
    assets = Path(config.site_dir) / "assets"
    (assets / "site.css").write_text(made.style(), encoding="utf-8")
    (assets / "iframe-worker.js").write_bytes((Path(__file__).parent / "worker.js").read_bytes())
