"""The wheel holds the package, its data and its two models, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODELS = {
    f"takeback/models/{name}/{file}"
    for name in ("endgame-base", "endgame-mlp")
    for file in ("model.safetensors", "README.md", "recipe.yaml")
}
DATA = {"takeback/anatomy/families.toml", "takeback/draw/page.css", "takeback/planning/trees/tree.js"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    return next(place.glob("*.whl"))


def test_it_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    with ZipFile(wheel) as file:
        held = {name for name in file.namelist() if ".dist-info/" not in name}
    source = ROOT / "src"
    there = {
        path.relative_to(source).as_posix()
        for path in (source / "takeback").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == there
    assert held >= MODELS | DATA | {"takeback/py.typed"}
    assert not any("test" in Path(name).name for name in held)


def test_it_is_small_and_says_what_it_needs(wheel: Path) -> None:
    assert wheel.stat().st_size < 12_000_000
    with ZipFile(wheel) as file:
        told = {name.partition(".dist-info/")[2]: name for name in file.namelist() if ".dist-info/" in name}
        assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= told.keys()
        metadata = file.read(told["METADATA"]).decode()
        assert "takeback = takeback.cli:main" in file.read(told["entry_points.txt"]).decode()
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert "\nRequires-Dist: torch>=" in metadata
