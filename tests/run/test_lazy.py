from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

INIT = """
from typing import TYPE_CHECKING

from takeback.run.lazy import lazy_names

if TYPE_CHECKING:
    from toy import nouns as nouns
    from toy.verb import verb as verb
    from toy.verb import other

lazy_names(__name__)
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    package = tmp_path / "toy"
    package.mkdir()
    (package / "__init__.py").write_text(INIT)
    (package / "nouns.py").write_text("")
    (package / "verb.py").write_text("def verb(): return 'called'\nother = 1\n")
    return tmp_path


@pytest.mark.parametrize(
    "before", ["", "import toy.verb", "from toy.verb import verb", "from toy import verb"]
)
def test_a_function_keeps_its_name_from_the_module_of_that_name(toy: Path, before: str) -> None:
    code = f"""
        import sys
        sys.path.insert(0, {str(toy)!r})
        import toy
        print("toy.verb" in sys.modules)
        {before}
        import toy.verb
        print(toy.verb(), toy.nouns.__name__, dir(toy), hasattr(toy, "other"))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["False", "called toy.nouns ['nouns', 'verb'] False"]
