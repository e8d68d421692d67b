"""Without an extra, a command says in one line which one to install, and leaves nothing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from takeback.cli import main
from takeback.run.errors import TakebackError
from takeback.run.extras import needed

SOURCE = Path(__file__).resolve().parents[2] / "src" / "takeback"
RECIPE = "method: sft\nparent: endgame-base\ngoal: win\nsteps: 1\nbatch: 4\nlearning_rate: 0.001\n"


@pytest.mark.parametrize("library", ["trl", "datasets"])
def test_training_names_its_extra(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import takeback.training.onpolicy  # transformers looks once for what is there, and remembers

    assert takeback.training.onpolicy
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(RECIPE)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(sys, "argv", ["takeback", "train", str(recipe), "-o", str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"takeback: {library} is not installed: pip install 'takeback[train]'\n"
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
