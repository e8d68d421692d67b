"""Builds a release and checks it: what it says of itself, its size, and that it installs and runs elsewhere.

`python -m validation.release` writes `dist/`, which must not hold anything else. The version stands in
`pyproject.toml`; a tag on this commit, `CITATION.cff` and a heading of `CHANGELOG.md` have to say the same.
The wheel is made from the source distribution. Both are installed, with nothing but what they ask for, on the
oldest and the newest Python, and run from a folder that is no checkout. uv must be
installed, which `make release` sees to.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from validation.versions import COMMANDS, PYTHONS, ROOT, commands, uv

DIST: Final = ROOT / "dist"
MOST_BYTES: Final = 12_000_000
WORKERS: Final = (
    "sweep endgame-base out --arena endgames --situations 4 --sets L0.H0 --workers 2 -o effects.parquet"
)
RUN: Final = (*COMMANDS, WORKERS, "doctor")


def version() -> str:
    """Return the version that `pyproject.toml` gives."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["version"]


def disagreements(number: str, tags: list[str], citation: str, changelog: str) -> list[str]:
    r"""Return who says something else than the version.

    >>> disagreements("0.2.0", ["v0.2.0"], "version: 0.2.0\n", "# Changelog\n\n## 0.2.0 (2026-12-01)\n")
    []
    >>> disagreements("0.2.0", ["v0.3.0"], "version: 0.1.0\n", "# Changelog\n\n## Unreleased\n")
    ['the tag is v0.3.0', 'CITATION.cff says 0.1.0', 'CHANGELOG.md has no heading for it']
    """
    found = [f"the tag is {tag}" for tag in tags if tag != f"v{number}"]
    cited = re.search(r"^version: *[\"']?([^\s\"']+)", citation, re.MULTILINE)
    if cited is None or cited[1] != number:
        found.append(f"CITATION.cff says {cited[1] if cited else 'nothing'}")
    if not re.search(rf"^## {re.escape(number)}(?:\s|$)", changelog, re.MULTILINE):
        found.append("CHANGELOG.md has no heading for it")
    return found


def _tags() -> list[str]:
    """Return the versions that this commit is tagged with; none in a copy without git or tags."""
    words = ["git", "tag", "--points-at", "HEAD"]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    return [one for one in told if re.fullmatch(r"v\d.*", one)]


def _built() -> list[Path]:
    if DIST.exists():
        shutil.rmtree(DIST)
    uv("build", "-q", "-o", str(DIST))
    return sorted([*DIST.glob("*.whl"), *DIST.glob("*.tar.gz")])


def _described(files: list[Path]) -> None:
    """Check the files' metadata, and that the long description can be shown."""
    words = [sys.executable, "-m", "twine", "check", "--strict", *map(str, files)]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"twine check failed:\n{run.stdout}{run.stderr}")


def _small(files: list[Path]) -> None:
    for file in files:
        if file.stat().st_size >= MOST_BYTES:
            raise SystemExit(f"{file.name} has {file.stat().st_size:,} bytes; at most {MOST_BYTES:,}")
        print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB", flush=True)


def _held(archive: Path) -> None:
    """Check that the source distribution has what a release needs beside the code."""
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    lacking = {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"} - names
    if lacking:
        raise SystemExit(f"{archive.name} lacks {', '.join(sorted(lacking))}")


def _installed(file: Path, python: str, folder: Path) -> None:
    place = folder / f"{python}-{file.suffix[1:]}"
    uv("venv", "-q", "--clear", "-p", python, str(place))
    uv("pip", "install", "-q", "-p", str(place), "-c", str(ROOT / "constraints.txt"), str(file))
    log = folder / f"{place.name}.log"
    said = commands(place / "bin" / "python", log, RUN)
    print(f"{file.name} on Python {python}: {said}", flush=True)
    if log.exists():
        raise SystemExit(log.read_text(encoding="utf-8")[-3000:])


def main() -> None:
    """Build and check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pythons", nargs="*", default=[PYTHONS[0], PYTHONS[-1]])
    parser.add_argument("--dry", action="store_true", help="only say where the version is not the same")
    asked = parser.parse_args()
    number = version()
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("CITATION.cff", "CHANGELOG.md")]
    wrong = disagreements(number, _tags(), *texts)
    for line in wrong:
        print(f"version {number}: {line}", file=sys.stderr)
    if asked.dry:
        raise SystemExit(bool(wrong))
    files = _built()
    _described(files)
    _small(files)
    _held(next(one for one in files if one.suffix == ".gz"))
    with tempfile.TemporaryDirectory() as scratch:
        for python in asked.pythons:
            for file in files:
                _installed(file, python, Path(scratch))
    if wrong:
        raise SystemExit(f"what was built works; it can't be released as {number} before all say so")
    print(f"dist/ holds {number}; `git tag v{number}` and `twine upload dist/*` publish it")


if __name__ == "__main__":
    main()
