"""CPU seconds of commands that only read weights, on a tiny pair, and of `--help`.

    python benchmarks/start.py [--before SRC] [--runs 5]

`--before` names the `src` folder of another checkout, which is measured in turns with this one. The first
call of `diff` on a machine compiles its loops and is not counted, nor is the writing of bytecode.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMITS = {"--help": 0.3, "components": 1.5, "diff": 1.5}
"""What each command may take."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="the src folder of another checkout")
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    sources = {"now": ROOT / "src"} | ({"before": asked.before} if asked.before else {})
    with tempfile.TemporaryDirectory() as folder:
        base, tuned = _pair(Path(folder))
        calls = {"--help": ["--help"], "components": ["components", tuned], "diff": ["diff", base, tuned]}
        for source in sources.values():
            _seconds(calls["diff"], source)
        print(
            f"{'command':12}{'limit':>8}"
            + "".join(f"{name:>10}" for name in sources)
            + "   median CPU seconds"
        )
        for name, arguments in calls.items():
            taken: dict[str, list[float]] = {one: [] for one in sources}
            for _ in range(asked.runs):
                for one, source in sources.items():
                    taken[one].append(_seconds(arguments, source))
            cells = "".join(f"{statistics.median(times):10.2f}" for times in taken.values())
            print(f"{name:12}{LIMITS[name]:8.1f}{cells}")


def _pair(folder: Path) -> tuple[str, str]:
    """Write two random models of a few thousand parameters in another process, which may load torch."""
    code = "import sys; from pathlib import Path; import models; models.save_pair('gpt2', Path(sys.argv[1]))"
    paths = os.pathsep.join((str(ROOT / "tests"), str(ROOT / "src")))
    subprocess.run([sys.executable, "-c", code, folder], env=os.environ | {"PYTHONPATH": paths}, check=True)
    return str(folder / "base"), str(folder / "tuned")


def _seconds(arguments: list[str], source: Path) -> float:
    """Run a command of a checkout and return the seconds of processor time that it took, in all threads."""
    code = "import sys; from takeback.cli import main; main()"
    before = os.times()
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(source)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


if __name__ == "__main__":
    main()
