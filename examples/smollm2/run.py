"""Train the arms of both plans one by one, those first that tell most.

`python examples/smollm2/run.py runs`; a killed run goes on, and `--only rl:0 sft:1` trains some. What is
trained lies where `takeback study run examples/smollm2/plan.yaml -o runs/smollm2` and `… once.yaml -o
runs/smollm2-once` look for it, so those commands then measure it and train nothing anew.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path

from takeback.study.conjectures import lock
from takeback.study.plan import Plan, final_of, load_plan
from takeback.training import train

HERE = Path(__file__).parent
PLANS = ("plan.yaml", "once.yaml")
FIRST = (
    "rl:0",
    "sft:0",
    "rft:0",
    "rl-first:0",
    "rl:1",
    "rl-lora:0",
    "sft:1",
    "rft:1",
    "dpo:0",
    "rl-ignored:0",
)
"""Arms and seeds in the order of what they tell; the rest follows as the plans have it."""


def order(plans: Sequence[Plan]) -> list[tuple[Plan, str, int]]:
    """Return arms and seeds in the order in which they are trained."""
    every = {f"{arm}:{seed}": (plan, arm, seed) for plan in plans for seed in plan.seeds for arm in plan.arms}
    return [every[name] for name in dict.fromkeys((*FIRST, *every))]


def main() -> None:
    """Train what is asked and not there yet; say what each took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="the folder of the runs")
    parser.add_argument("--only", nargs="*", metavar="ARM:SEED")
    given = parser.parse_args()
    plans = [load_plan(HERE / name) for name in PLANS]
    for plan in plans:  # what is expected is locked before anything has run
        lock(plan.conjectures, given.out / plan.name)
    for plan, arm, seed in order(plans):
        out = given.out / plan.name
        run = final_of(out, arm, seed).parent
        if (run / "final").exists() or (given.only and f"{arm}:{seed}" not in given.only):
            continue
        began, cpu = time.time(), time.process_time()

        def told(done: int, steps: int, who: str = f"{arm} seed {seed}", cpu: float = cpu) -> None:
            used = time.process_time() - cpu
            print(f"{time.strftime('%H:%M:%S')} {who}: {done} of {steps}, {used:.0f} CPU s", flush=True)

        train(plan.recipe(arm, seed, out), run, told)
        cost = {
            "seconds": round(time.time() - began),
            "CPU seconds": round(time.process_time() - cpu),
            "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
        (run / "cost.json").write_text(json.dumps(cost) + "\n", encoding="utf-8")
        print(f"{arm} seed {seed} is done: {cost}", flush=True)


if __name__ == "__main__":
    main()
