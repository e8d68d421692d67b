from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from takeback.run import machine_code as module
from takeback.run.machine_code import machine_code
from takeback.run.sealed import unseal

TYPES = (*["int64"] * 3, *["*float32"] * 3, "float32", "*float32")


def add(rows: int, rank: int, columns: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    shapes = ((rows, columns), (rows, rank), (rank, columns))
    weight, left, right = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    merged = np.zeros_like(weight)
    places = [part.ctypes.data for part in (weight, left, right)]
    machine_code("takeback.checkpoint.merge", "add_product", *TYPES)(
        rows, rank, columns, *places, 0.5, merged.ctypes.data
    )
    np.testing.assert_allclose(merged, weight + (left @ right) * np.float32(0.5), rtol=1e-5, atol=1e-6)
    return merged


def test_what_is_kept_does_what_was_compiled_and_needs_no_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAKEBACK_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_LOADED", {})
    first = add(5, 3, 7)
    (kept,) = (tmp_path / "machine-code").glob("*.code")
    code = """
        import sys, numpy as np
        from takeback.run.machine_code import machine_code
        rng = np.random.default_rng(0)
        weight, left, right = (rng.standard_normal(s).astype(np.float32) for s in ((5, 7), (5, 3), (3, 7)))
        merged = np.zeros_like(weight)
        add = machine_code("takeback.checkpoint.merge", "add_product", *TYPES)
        add(5, 3, 7, *(part.ctypes.data for part in (weight, left, right)), 0.5, merged.ctypes.data)
        print("numba" in sys.modules, merged.tobytes().hex())
    """
    code = f"TYPES = {TYPES!r}\n{textwrap.dedent(code)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", first.tobytes().hex()]
    assert kept.exists()


def test_where_nothing_can_be_kept_it_is_compiled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("TAKEBACK_CACHE", str(blocked))
    monkeypatch.setattr(module, "_LOADED", {})
    add(2, 1, 3)


DAMAGE = {
    "cut": lambda data: data[:-7],
    "flipped": lambda data: data[:99] + bytes([data[99] ^ 1]) + data[100:],
    "empty": lambda data: b"",
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_code_is_compiled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setenv("TAKEBACK_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_LOADED", {})
    add(2, 1, 3)
    (kept,) = (tmp_path / "machine-code").glob("*.code")
    kept.write_bytes(damage(kept.read_bytes()))
    module._LOADED.clear()
    add(2, 1, 3)
    assert unseal(kept.read_bytes())
