"""Tries the package with the lowest and the newest libraries that pyproject.toml allows, and prints Markdown.

`python -m validation.versions` makes environments with the lowest versions on the oldest Python and with the
newest on each, with all extras and with none. It installs the wheel and runs the tests of `TESTED` against
it, which touch each extra of `all`; without extras it runs commands from a folder that is no checkout. Then
it prints which version of each library was tried. uv must be installed, as pip can't take lowest versions.
What uv reads from the environment holds here too: `UV_FIND_LINKS`, `UV_TORCH_BACKEND=cpu`, `UV_OVERRIDE`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PYTHONS: Final = ("3.11", "3.12", "3.13")
ENDS: Final = {"lowest": "lowest-direct", "newest": "highest"}
COMPILED: Final = (
    *("llvmlite", "numba", "numpy", "pandas", "pyarrow", "pydantic-core", "pygame", "pyyaml", "rapidfuzz"),
    *("ray", "safetensors", "scipy", "tokenizers", "torch"),
)
"""Taken as wheels: an old release is not compiled for a Python that came after it."""

RUNNERS: Final = ("hypothesis", "psutil", "pytest", "pytest-timeout", "pytest-xdist")
TESTED: Final = (
    *(
        "tests/anatomy",
        "tests/checkpoint",
        "tests/hybrid",
        "tests/weights/test_diff.py",
        "tests/findings/sweep",
    ),
    *("tests/arenas/gym", "tests/arenas/test_eval_tasks.py", "tests/test_cli.py"),
    *("tests/training/test_train.py", "tests/training/test_lora.py"),
    *("docs/checkpoints.md", "docs/python.md"),
)
"""Of these the tests that are not slow; and of Ray, whose tests all are, those of `ON_RAY`."""

ON_RAY: Final = (
    "tests/run/test_ray.py::test_two_nodes_diff_like_one_process",
    "tests/run/test_ray.py::test_an_error_in_an_actor_is_the_error_here",
)
COMMANDS: Final = (
    "--help",
    "components endgame-base",
    "hybrid endgame-base endgame-base --take-back L0.H0 -o out",
    "diff endgame-base out",
    "family endgame-base",
    "behaviour endgame-base --arena endgames --situations 4 -o rows",
)


def uv(*words: str, cwd: Path = ROOT) -> None:
    """Run uv, and end with what it said where it fails."""
    program = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if program is None:
        raise SystemExit("uv is not installed: pip install uv")
    run = subprocess.run([program, *words], cwd=cwd, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"uv {' '.join(words[:2])} failed:\n{run.stderr[-3000:]}")


def bounds(requirements: Iterable[str]) -> dict[str, str]:
    """Return the lowest version of each library that requirements bound from below.

    >>> bounds(["trl>=1.16,<2", "takeback[train,chess]"])
    {'trl': '1.16'}
    """
    found = (re.match(r"([\w.-]+)(?:\[.*\])?>=([\w.]+)", one) for one in requirements)
    return {one[1]: one[2] for one in found if one}


def bounded() -> dict[str, str]:
    """Return the lowest versions that `pyproject.toml` allows of what the extra `all` brings."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"]
    names = re.findall(r"[\w-]+", extras["all"][0])[1:]
    return bounds([*project["dependencies"], *(one for name in names for one in extras[name])])


@dataclass(frozen=True)
class Cell:
    """Is one environment: a Python, an end of the bounds, and whether it has no extras."""

    python: str
    end: str
    bare: bool

    def __str__(self) -> str:
        return f"{self.python}-{self.end}{'-bare' * self.bare}"

    def made(self, folder: Path) -> dict[str, str]:
        """Make it, with the wheel that is in the folder, and return the versions in it."""
        place, lines = folder / str(self), folder / f"{self}.txt"
        wheels = [word for name in COMPILED for word in ("--only-binary", name)]
        extras = () if self.bare else ("--extra", "all")
        settings = ("-q", "--python", self.python, "--resolution", ENDS[self.end], "-o", str(lines))
        uv("pip", "compile", "pyproject.toml", *extras, *settings, *wheels)
        uv("venv", "-q", "--clear", "-p", self.python, str(place))
        into = ("pip", "install", "-q", "-p", str(place))
        uv(*into, "--no-deps", "-r", str(lines))
        uv(*into, "--no-deps", str(next(folder.glob("*.whl"))))
        if not self.bare:
            uv(*into, *RUNNERS)
        return dict(re.findall(r"^([\w-]+)==(\S+)", lines.read_text(encoding="utf-8"), re.MULTILINE))

    def tried(self, folder: Path) -> str:
        """Run the tests in it, or the commands where it has no extras, and return what became of them."""
        python, log = folder / str(self) / "bin" / "python", folder / f"{self}.log"
        return commands(python, log) if self.bare else suite(python, log)


def suite(python: Path, log: Path) -> str:
    """Run the tests against what is installed and return what pytest says at last."""
    options = ("-q", "-W", "default", "-p", "no:cacheprovider", "--tb=short")
    words = [str(python), "-P", "-m", "pytest", *options]
    on_ray = log.with_suffix(".ray.log")
    said = _last([*words, "-m", "not slow", *TESTED], ROOT, log)
    return f"{said}; on Ray {_last([*words, *ON_RAY], ROOT, on_ray)}"


def commands(python: Path, log: Path, some: Sequence[str] = COMMANDS) -> str:
    """Run commands outside the checkout and return how many ended well, and the first that did not."""
    with tempfile.TemporaryDirectory() as place:
        for done, command in enumerate(some):
            words = [str(python.parent / "takeback"), *command.split()]
            run = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
            if run.returncode:
                log.write_text(run.stdout + run.stderr, encoding="utf-8")
                return f"{done} commands, then `{command}` ended with {run.returncode}"
    return f"{len(some)} commands"


def _last(words: Sequence[str], cwd: Path, log: Path) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with log.open("w", encoding="utf-8") as out:
        subprocess.run(words, cwd=cwd, env=env, stdout=out, stderr=subprocess.STDOUT, check=False)
    lines = log.read_text(encoding="utf-8").splitlines()
    return re.sub(r"[= ]*\bin [\d.]+s.*|^=+ ", "", lines[-1]) if lines else "nothing was said"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pythons", nargs="*", default=[*PYTHONS])
    parser.add_argument("--ends", nargs="*", choices=ENDS, default=[*ENDS])
    parser.add_argument("--extras", nargs="*", choices=["all", "none"], default=["all", "none"])
    parser.add_argument("--folder", type=Path, help="where environments and logs stay; else they are removed")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (asked.folder or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.whl"):
            old.unlink()
        uv("build", "-q", "--wheel", "-o", str(folder))
        cells = [
            Cell(python, end, extras == "none")
            for python, end, extras in product(asked.pythons, asked.ends, asked.extras)
            if end == "newest" or python == PYTHONS[0]
        ]
        print("| Python | versions | extras | result | seconds |\n| --- | --- | --- | --- | ---: |")
        versions = dict[Cell, dict[str, str]]()
        for cell in cells:
            versions[cell], began = cell.made(folder), time.monotonic()
            said, extras = cell.tried(folder), "none" if cell.bare else "all"
            spent = time.monotonic() - began
            print(f"| {cell.python} | {cell.end} | {extras} | {said} | {spent:.0f} |", flush=True)
    whole = [cell for cell in cells if not cell.bare] or cells
    print(f"\n| library | {' | '.join(map(str, whole))} |\n| --- |" + " --- |" * len(whole))
    for name in bounded():
        print(f"| {name} | {' | '.join(versions[cell].get(name, '') for cell in whole)} |")


if __name__ == "__main__":
    main()
