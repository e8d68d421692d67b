"""Tries the package with the lowest and the newest libraries that pyproject.toml allows, and prints Markdown.

`python -m validation.versions` makes an environment for each Python and each end of the bounds, with all
extras and with none, installs the wheel, and runs a fast part of the tests against it; without extras it runs
commands from a folder that is no checkout. uv must be installed, as pip has no way to take lowest versions.
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
from collections.abc import Sequence
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
    *("tests/arenas/gym", "tests/training/test_train.py", "tests/training/test_lora.py", "tests/test_cli.py"),
    *("docs/checkpoints.md", "docs/python.md"),
)
COMMANDS: Final = (
    "--help",
    "components endgame-base",
    "hybrid endgame-base endgame-base --take-back L0.H0 -o out",
    "diff endgame-base out",
    "family endgame-base",
    "behaviour endgame-base --arena endgames --situations 4 -o rows",
)
TOLD: Final = ("torch", "transformers", "pydantic", "numpy", "pandas", "pyarrow", "peft", "trl", "gymnasium")


def _uv(*words: str, cwd: Path = ROOT) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise SystemExit("uv is not installed: pip install uv")
    run = subprocess.run([uv, *words], cwd=cwd, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"uv {' '.join(words[:2])} failed:\n{run.stderr[-3000:]}")


def made(folder: Path, python: str, end: str, bare: bool) -> tuple[Path, str]:
    """Make an environment and return its interpreter and the versions in it, as text."""
    place, lines = folder / f"{python}-{end}{'-bare' * bare}", folder / f"{python}-{end}{'-bare' * bare}.txt"
    wheels = [word for name in COMPILED for word in ("--only-binary", name)]
    extras = () if bare else ("--extra", "all")
    settings = ("-q", "--python", python, "--resolution", ENDS[end], "-o", str(lines))
    _uv("pip", "compile", "pyproject.toml", *extras, *settings, *wheels)
    _uv("venv", "-q", "--clear", "-p", python, str(place))
    into = ("pip", "install", "-q", "-p", str(place))
    _uv(*into, "--no-deps", "-r", str(lines))
    _uv(*into, "--no-deps", str(next(folder.glob("*.whl"))))
    if not bare:
        _uv(*into, *RUNNERS)
    found = dict(re.findall(r"^([\w-]+)==(\S+)", lines.read_text(encoding="utf-8"), re.MULTILINE))
    return place / "bin" / "python", ", ".join(f"{name} {found[name]}" for name in TOLD if name in found)


def tests(python: Path, log: Path) -> str:
    """Run the tests against what is installed and return what pytest says at last."""
    options = ("-q", "-m", "not slow", "-W", "default", "-p", "no:cacheprovider", "--tb=short")
    words = [str(python), "-P", "-m", "pytest", *options, *TESTED]
    return _last(words, ROOT, log)


def commands(python: Path, log: Path) -> str:
    """Run commands outside the checkout and return how many ended well, and the first that did not."""
    with tempfile.TemporaryDirectory() as place:
        for done, command in enumerate(COMMANDS):
            words = [str(python.parent / "takeback"), *command.split()]
            run = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
            if run.returncode:
                log.write_text(run.stdout + run.stderr, encoding="utf-8")
                return f"{done} commands, then `{command}` ended with {run.returncode}"
    return f"{len(COMMANDS)} commands"


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
        _uv("build", "-q", "--wheel", "-o", str(folder))
        print("| Python | versions | extras | result | seconds |\n| --- | --- | --- | --- | ---: |")
        for python, end, extras in product(asked.pythons, asked.ends, asked.extras):
            interpreter, versions = made(folder, python, end, extras == "none")
            log, began = folder / f"{python}-{end}-{extras}.log", time.monotonic()
            said = (commands if extras == "none" else tests)(interpreter, log)
            spent = time.monotonic() - began
            print(f"| {python} | {end}: {versions} | {extras} | {said} | {spent:.0f} |", flush=True)


if __name__ == "__main__":
    main()
