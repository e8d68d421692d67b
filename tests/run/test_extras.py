"""Without an extra, a command says in one line which one to install, and leaves nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = "method: sft\nparent: endgame-base\ngoal: win\nsteps: 1\nbatch: 4\nlearning_rate: 0.001\n"


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
