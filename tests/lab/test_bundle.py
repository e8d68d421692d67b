"""The built page is what its sources give, and asks nothing of anybody else."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from takeback.lab.server import PAGE

SOURCES = Path(__file__).parents[2] / "lab"
NAMES = ("build.mjs", "index.html", "package-lock.json", "package.json", "src", "tsconfig.json")
BUILT = json.loads((PAGE / "built.json").read_text())
MOST = 150_000


def test_the_page_was_built_from_these_sources() -> None:
    found = (SOURCES / name for name in NAMES)
    paths = [path for one in found for path in ([one] if one.is_file() else one.rglob("*")) if path.is_file()]
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda one: one.relative_to(SOURCES).as_posix()):
        digest.update(path.relative_to(SOURCES).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    assert digest.hexdigest() == BUILT["sources"], "the sources changed: run make page"


def test_the_page_is_as_it_was_built() -> None:
    files = {path.name: path.read_bytes() for path in PAGE.iterdir() if path.name != "built.json"}
    assert {name: hashlib.sha256(each).hexdigest() for name, each in files.items()} == BUILT["files"]
    assert sum(len(files[name]) for name in ("index.html", "lab.js", "lab.css")) < MOST
    assert len(files["widget.js"]) < MOST


@pytest.mark.parametrize("name", ["index.html", "lab.js", "lab.css", "widget.js"])
def test_the_page_names_no_other_host_and_makes_no_code_of_texts(name: str) -> None:
    text = (PAGE / name).read_text(encoding="utf-8")
    hosts = set(re.findall(r"(?:https?:|wss?:)?//[a-z0-9-]+\.[a-z0-9.]+", text)) - {"http://www.w3.org"}
    assert not hosts
    assert not re.search(
        r"\beval\(|new Function\(|document\.write|insertAdjacentHTML|@import|url\((?!#)", text
    )


def test_texts_are_put_into_the_page_as_texts_alone() -> None:
    for path in (SOURCES / "src").rglob("*.ts*"):
        told = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|DOMParser", told, re.IGNORECASE), path


def test_modules_are_small() -> None:
    for path in (SOURCES / "src").rglob("*.ts*"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 400, path
