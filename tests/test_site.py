"""The site builds strictly and offline; every page is reached, and guides are short."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import takeback
from takeback.cli.printed import EXITS, PRINTED

ROOT = Path(__file__).parents[1]
GUIDES = sorted(path for path in (ROOT / "docs" / "guides").glob("*.md") if path.stem != "index")
GUIDE_WORDS = 800
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "object": "data"}


def _made() -> Any:
    spec = importlib.util.spec_from_file_location("made", ROOT / "website" / "made.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _made()


class Links(HTMLParser):
    """What a page leads to, and what it loads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ways: list[str] = []
        self.loaded: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "a":
            self.ways.append(told.get("href") or "")
        elif tag in LOADING and told.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(told.get(LOADING[tag]) or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, built as `make site` does."""
    place = tmp_path_factory.mktemp("site")
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--site-dir", str(place)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "WARNING" not in ran.stderr
    return place


def _pages(site: Path) -> dict[Path, Links]:
    found = (page for page in sorted(site.rglob("*.html")) if page.relative_to(site).parts[0] != "demo")
    return {page: Links(page.read_text(encoding="utf-8")) for page in found if page.name != "404.html"}


def _targets(page: Path, ways: list[str]) -> Iterator[Path]:
    for way in ways:
        parts = urlsplit(way)
        if not parts.scheme and parts.path:
            yield (page.parent / unquote(parts.path)).resolve()


@pytest.mark.slow
def test_pages_load_nothing_from_another_host_and_are_two_clicks_away(site: Path) -> None:
    pages = _pages(site)
    assert len(pages) > 100
    loaded = {one for links in pages.values() for one in links.loaded if "//" in one}
    assert loaded == set()
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"']*", styles) == []

    home = site / "index.html"
    once = set(_targets(home, pages[home].ways)) & pages.keys()
    twice = {one for page in once for one in _targets(page, pages[page].ways)}
    assert {page.relative_to(site).as_posix() for page in pages.keys() - once - twice - {home}} == set()
    gone = {
        f"{page.name}: {target}"
        for page, links in pages.items()
        for target in _targets(page, links.ways)
        if not target.exists()
    }
    assert gone == set()


@pytest.mark.slow
def test_pictures_stand_in_the_page_and_take_its_colours(site: Path) -> None:
    page = (site / "guides" / "where-did-it-move.html").read_text(encoding="utf-8")
    assert '<span class="picture"' in page
    assert "var(--" in page
    colours = (site / "assets" / "site.css").read_text(encoding="utf-8")
    assert all(f"[data-md-color-scheme={one}] {{ --arm0:" in colours for one in ("default", "slate"))


@pytest.mark.slow
def test_examples_in_docstrings_are_shown_as_code(site: Path) -> None:
    page = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert '<span class="gp">&gt;&gt;&gt; </span>' in page
    assert "<blockquote>" not in page


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_a_guide_is_short_has_a_picture_and_leads_on(guide: Path) -> None:
    text = guide.read_text(encoding="utf-8")
    assert len(text.split()) < GUIDE_WORDS
    (picture,) = re.findall(r"!\[[^\]]+\]\((\S+)\)", text)
    assert (guide.parent / picture).stat().st_size < 50_000
    assert "## Go deeper" in text


def test_the_reference_has_every_command_option_and_name() -> None:
    text = made.commands()
    told = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for name, command in made.walk():
        assert f"\n## {name}\n" in text
        family = name.split()[0]
        assert f"\n## {name}" in told or f"\n## {family}\n" in told, (
            f"docs/commands.md says nothing of {name}"
        )
        for option in made.options(command):
            assert f"`{option.opts[0]}`" in text
    named = {name for name in dir(takeback) if not name.startswith("_")}
    assert all(_is_package(name) for name in named - {*made.public()})


def _is_package(name: str) -> bool:
    return (ROOT / "src" / "takeback" / name / "__init__.py").exists()


def test_the_page_on_json_is_what_commands_are_held_to() -> None:
    page = (ROOT / "docs" / "reference" / "json.md").read_text(encoding="utf-8")
    assert page == made.json_output(), "run `python website/made.py`"
    told = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert all(f"\n| {code} | " in told for code in EXITS)


def test_every_command_prints_json_and_says_what() -> None:
    every = dict(made.walk())
    assert every.keys() == PRINTED.keys()
    lacking = [
        name
        for name, one in every.items()
        if all("--json" not in option.opts for option in made.options(one))
    ]
    assert lacking == []
