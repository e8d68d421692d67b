"""Train a shallow network and an ordinary RL agent, take them apart, and set them side by side.

`python examples/small-worlds/run.py --seeds 2` writes runs/small-worlds/: a report for each run, and
compare/compare.html. What was done before is not done again. `--tiny` does it all with almost no training,
which shows that it works and nothing else.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from takeback.draw.result import Results
from takeback.report import run_plan
from takeback.study import Plan, load_plan
from takeback.study.comparison import compare

HERE = Path(__file__).parent


def main() -> None:
    """Run plans of this folder with so many seeds each, and compare them."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--plans", nargs="+", default=["mlp", "agent"], help="which plans of this folder")
    options.add_argument("--seeds", type=int, default=2, help="the first so many of each plan")
    options.add_argument("--out", type=Path, default=Path("runs/small-worlds"))
    options.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1))
    options.add_argument("--tiny", action="store_true", help="almost no training: does it work?")
    asked = options.parse_args()
    runs: list[Path] = []
    for name in asked.plans:
        plan = load_plan(HERE / f"{name}.yaml")
        changes: dict[str, Any] = {"seeds": plan.seeds[: asked.seeds]}
        plan = load_plan(HERE / f"{name}.yaml", **changes)
        if asked.tiny:
            plan = load_plan(HERE / f"{name}.yaml", **changes, **tiny(plan))
        runs.append(asked.out / name)
        print(f"report: {run_plan(plan, runs[-1], asked.workers)}")
    found = Results("Small worlds side by side", (), {"compare": compare(runs)}, "compare")
    found.write(asked.out / "compare")
    found.print()


def tiny(plan: Plan) -> dict[str, Any]:
    """Return what makes a plan take seconds: few steps, situations and sets."""
    short = {"steps": 8, "snapshots": [4], "save_every": 8}
    arms = {name: {**arm, **short} for name, arm in plan.arms.items()}
    for arm in arms.values():
        if arm["method"] == "agent":
            arm |= {"steps": 512, "snapshots": [256], "settings": {"n_steps": 32, "batch_size": 64}}
        if "teacher" in arm:
            arm["situations"] = 64
    few = {"situations": 12, "games": 2, "moves": 5, "controls": 1}
    return {"arms": arms, "sets": ["each layer"], "localise": {}, **few}


if __name__ == "__main__":
    main()
