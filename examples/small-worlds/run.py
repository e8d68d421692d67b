"""Train a shallow network and an ordinary RL agent, take them apart, and set them side by side.

`python examples/small-worlds/run.py --seeds 2` writes runs/small-worlds/: a report for each run, and
compare/compare.html. What was done before is not done again.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from takeback.compare import compare
from takeback.findings import Findings
from takeback.study import load_plan, run_plan

HERE = Path(__file__).parent


def main() -> None:
    """Run the plans of this folder with so many seeds each."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--plans", nargs="+", default=["mlp", "agent"], help="which plans of this folder")
    options.add_argument("--seeds", type=int, default=2, help="training runs of each arm")
    options.add_argument("--out", type=Path, default=Path("runs/small-worlds"))
    options.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1))
    asked = options.parse_args()
    runs: list[Path] = []
    for name in asked.plans:
        plan = load_plan(HERE / f"{name}.yaml", seeds=list(range(asked.seeds)))
        runs.append(asked.out / name)
        print(f"report: {run_plan(plan, runs[-1], asked.workers)}")
    found = Findings("Small worlds side by side", (), {"compare": compare(runs)}, "compare")
    found.write(asked.out / "compare")
    found.print()


if __name__ == "__main__":
    main()
