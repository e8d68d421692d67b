"""Without an extra, a command says in one line which one to install, and leaves nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from takeback.run.errors import TakebackError
from takeback.run.extras import needed

SOURCE = Path(__file__).resolve().parents[2] / "src" / "takeback"
RECIPE = "method: sft\nparent: endgame-base\ngoal: win\nsteps: 1\nbatch: 4\nlearning_rate: 0.001\n"


@pytest.mark.slow
@pytest.mark.parametrize("library", ["trl", "datasets"])
def test_training_names_its_extra(library: str, tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(RECIPE)
    code = (
        f"import sys; sys.modules[{library!r}] = None; sys.argv = ['takeback', 'train', {str(recipe)!r}, "
        f"'-o', {str(out)!r}]; from takeback.cli import main; main()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == f"takeback: {library} is not installed: pip install 'takeback[train]'\n"
    assert not out.exists()


def test_a_library_that_is_there_but_broken_is_told_so(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "half_there.py").write_text("import nowhere_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TakebackError, match=r"^half-there can't be imported \(No module named 'nowhere_at_"):
        needed("half_there", "train")
    with pytest.raises(TakebackError, match=r"^nowhere-at-all is not installed: .*\[gguf\]' to read X$"):
        needed("nowhere_at_all", "gguf", " to read X")


def test_no_other_line_says_what_to_install() -> None:
    said = [file.name for file in SOURCE.rglob("*.py") if re.search(r"pip install", file.read_text("utf-8"))]
    assert said == ["extras.py"]
