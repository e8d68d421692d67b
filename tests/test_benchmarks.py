"""Every benchmark finds what it measures; the numbers are nobody's test."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_can_be_loaded(benchmark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(benchmark.parent))
    assert callable(runpy.run_path(str(benchmark), run_name=f"benchmark_{benchmark.stem}")["main"])
