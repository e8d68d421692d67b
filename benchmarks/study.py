"""The steps of one arm and seed of a study, before there was one bench and now: hybrids read, CPU seconds.

    python benchmarks/study.py --run runs/demo                  # a run of the demo, measured anew
    python benchmarks/study.py --run runs/demo --before OLD/src # with a checkout of the version before

Without `--before` a worktree of that version is made for the while. Each version measures the arm in a folder
of its own, in a process of its own, one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BEFORE = "49aed65"
"""The last version with four holders of two policies."""

MEASURE = '''
import hashlib, importlib, json, sys, time
from pathlib import Path
from takeback.study.arm import run_arm
from takeback.study.plan import load_plan
from takeback.study import steps

run, arm, seed, out = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
try:
    home = importlib.import_module("takeback.policies.language.policy")
except ModuleNotFoundError:
    home = importlib.import_module("takeback.behaviour.language.policy")
kind, reads, told, known = home.LanguagePolicy, [], [], {}

def weights(held):
    """Hash a model or a state dict, once."""
    if id(held) not in known:
        tensors = held if isinstance(held, dict) else held.state_dict()
        mark = hashlib.sha256()
        for name in sorted(tensors):
            mark.update(tensors[name].detach().contiguous().numpy().tobytes())
        known[id(held)] = mark.hexdigest(), held
    return known[id(held)][0]

def name_of(hybrids, path):
    """Name a hybrid: grafting S and taking back all else are one."""
    taken = path[0]
    for part in path[1:]:
        taken = taken | part
    whole, rest = weights(hybrids.model), weights(hybrids._source)
    if not taken:
        return whole
    if not ~taken:
        return rest
    return str(sorted([(whole, str(~taken)), (rest, str(taken))]))

read, read_hybrids = kind.read, kind.read_hybrids

def one(policy, plan, **more):
    reads.extend(("alone", weights(policy.model), text) for text in plan.texts)
    told[-1]["hybrids"] += 1
    return read(policy, plan, **more)

def several(policy, plan, views, *more, **named):
    reads.extend((name_of(*view), text) for view in views for text in plan.texts)
    told[-1]["hybrids"] += len(views)
    return read_hybrids(policy, plan, views, *more, **named)

def do(held, step, make):
    told.append({"step": step.name, "hybrids": 0})
    began = time.process_time()
    done(held, step, make)
    told[-1]["seconds"] = time.process_time() - began

done = steps.Steps.do
kind.read, kind.read_hybrids, steps.Steps.do = one, several, do
plan = load_plan(run / "plan.yaml").model_copy(update={"games": 0})
run_arm(plan, arm, seed, out, lambda *_: None)
print(json.dumps({"steps": told, "readings": len(reads), "distinct": len(set(reads))}))
'''


def measured(src: Path, run: Path, arm: str, seed: int) -> dict[str, Any]:
    """Measure an arm and seed of a run once more with one version: its steps, and what was read."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for part in (f"arms/{arm}/seed-{seed}", "base"):
            if (run / part).exists():
                shutil.copytree(run / part, out / part)
        env = {**os.environ, "PYTHONPATH": str(src), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-c", MEASURE, str(run), arm, str(seed), str(out)]
        ran = subprocess.run(words, env=env, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def table(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return both side by side in Markdown."""
    each = [{one["step"]: one for one in found["steps"]} for found in (before, after)]
    lines = ["| step | hybrids before | now | CPU s before | now |", "| --- | --- | --- | --- | --- |"]
    totals = [0, 0, 0.0, 0.0]
    for step in each[0]:
        rows = [side.get(step, {"hybrids": 0, "seconds": 0.0}) for side in each]
        row = [one["hybrids"] for one in rows] + [one["seconds"] for one in rows]
        totals = [total + value for total, value in zip(totals, row, strict=True)]
        if any(row[:2]) or max(row[2:]) > 0.5:
            lines.append(f"| {step} | {row[0]} | {row[1]} | {row[2]:.1f} | {row[3]:.1f} |")
    lines.append(f"| all | {totals[0]} | {totals[1]} | {totals[2]:.1f} | {totals[3]:.1f} |")
    for name, found in (("before", before), ("now", after)):
        again = found["readings"] - found["distinct"]
        lines.append(
            f"\n{name}: {found['readings']:,} times a hybrid in a situation, {again:,} of them again"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure both versions and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--run", type=Path, required=True, help="a run whose arm is trained")
    parser.add_argument("--arm", default="rl-win")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--before", type=Path, help="the src of a checkout of the version before")
    asked = parser.parse_args()
    here = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        old = asked.before
        if old is None:
            tree = Path(folder) / "before"
            subprocess.run(["git", "-C", here, "worktree", "add", "-q", "--detach", tree, BEFORE], check=True)
            old = tree / "src"
        try:
            sides = [
                measured(src.resolve(), asked.run.resolve(), asked.arm, asked.seed)
                for src in (old, here / "src")
            ]
        finally:
            if asked.before is None:
                subprocess.run(["git", "-C", here, "worktree", "remove", "--force", old.parent], check=True)
    print(table(*sides))


if __name__ == "__main__":
    main()
