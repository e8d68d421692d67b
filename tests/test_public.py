import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import takeback
from models import save_pair
from validation.planted import planted, world


def test_every_public_name_resolves_and_dir_shows_no_other():
    shown = dir(takeback)
    assert {"diff", "hybrid", "Pair", "open_pair", "ComponentSet", "UnknownName", "weights"} <= set(shown)
    for name in shown:
        value = getattr(takeback, name)
        assert not name.startswith("_")
        assert value.__name__.rpartition(".")[2] == name


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = takeback.nothing


def test_importing_takeback_loads_no_heavy_library():
    heavy = ("torch", "transformers", "numpy", "pandas", "scipy", "trl")
    code = f"import sys, takeback; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_pass_over_weights_loads_neither_torch_nor_a_compiler(tmp_path: Path):
    base, tuned = map(str, save_pair("gpt2", tmp_path))
    takeback.weights.diff(takeback.open_pair(base, tuned))  # compiles, if nothing is kept yet
    heavy = ("torch", "transformers", "scipy", "numba", "trl")
    for arguments in (["components", tuned], ["diff", base, tuned]):
        code = f"""
            import sys
            from takeback.cli import app
            app({arguments}, standalone_mode=False)
            print([name for name in {heavy} if name in sys.modules])
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]"


def test_what_a_user_holds_is_one_line_and_draws_itself(tmp_path: Path):
    pair = takeback.open_pair(*save_pair("gpt2", tmp_path))
    readouts = planted("pursuer", world(12))
    for value, words in (
        (pair, "Pair"),
        (pair.base, "gpt2, "),
        (pair.anatomy().parse("L0.*"), "L0.*"),
        (readouts, "12 situations"),
    ):
        assert words in repr(value)
        assert "\n" not in repr(value)
        assert value._repr_html_().lstrip().startswith("<")
    assert f"{sum(pair.anatomy().parameters(c) for c in pair.anatomy().universe):,} parameters" in repr(
        pair.tuned
    )


@pytest.mark.slow
def test_a_verb_is_never_hidden_by_a_module_of_its_name():
    code = """
        import takeback
        import takeback.hybrid.disk, takeback.weights.compare, takeback.weights.circuits.circuits
        import takeback.findings.sweep.run, takeback.findings.trajectory, takeback.measure.agency.agency
        verbs = ("diff", "hybrid", "sweep", "localise", "explain", "attribute", "course", "compare", "agency")
        print([name for name in verbs if type(getattr(takeback, name)).__name__ != "function"])
        print([name for name in ("compare", "circuits") if not callable(getattr(takeback.weights, name))])
        from takeback.hybrid import grafted
        print(grafted.__module__)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "[]", "takeback.hybrid.live"]
