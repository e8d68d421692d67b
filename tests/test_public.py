import ast
import subprocess
import sys
from pathlib import Path

import pytest

import takeback


def test_every_public_name_resolves_and_is_declared_for_type_checkers():
    tree = ast.parse(Path(takeback.__file__).read_text())
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    declared = {
        (node.module, alias.asname)
        for node in imported
        for alias in node.names
        if alias.asname and node.module not in {"takeback.component", "takeback.run.errors"}
    }
    assert declared == {(f"takeback.{home}", name) for name, home in takeback._HOME_OF.items()}
    for name in takeback._HOME_OF:
        assert name in dir(takeback)
        assert getattr(takeback, name).__name__ == name


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = takeback.nothing


def test_importing_takeback_loads_no_heavy_library():
    heavy = ("torch", "transformers", "numpy", "pandas", "scipy", "trl")
    code = f"import sys, takeback; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
