"""Train the arms of `plan.yaml` one by one, those first that tell most: `python examples/smollm2/run.py runs/smollm2`.

What is trained lies where `takeback study run examples/smollm2/plan.yaml -o runs/smollm2` looks for it, so that command then
measures it and trains nothing anew. A killed run goes on. `--only rl:0 sft:1` trains some of them.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

from takeback.study.plan import Plan, final_of, load_plan
from takeback.training import train

HERE = Path(__file__).parent
FIRST = ("rl:0", "rft:0", "sft:0", "rl-form:0", "rl-ignored:0", "rl:1", "rl-lora:0", "rft:1", "sft:1", "dpo:0")
"""Arms and seeds in the order of what they tell; the rest follows as the plan has it."""
ONCE = ("rl-form", "rl-ignored", "dpo", "rl-lora")
"""Arms of which one seed is trained."""


def order(plan: Plan) -> list[tuple[str, int]]:
    """Return arms and seeds in the order in which they are trained."""
    first = [(arm, int(seed)) for arm, _, seed in (one.partition(":") for one in FIRST)]
    rest = [(arm, seed) for seed in plan.seeds for arm in plan.arms if arm not in ONCE or seed == 0]
    return list(dict.fromkeys([one for one in first if one[0] in plan.arms] + rest))


def main() -> None:
    """Train what is asked and not there yet; say what each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder of the run")
    parser.add_argument("--plan", type=Path, default=HERE / "plan.yaml")
    parser.add_argument("--only", nargs="*", metavar="ARM:SEED")
    given = parser.parse_args()
    plan = load_plan(given.plan)
    for arm, seed in order(plan):
        run = final_of(given.out, arm, seed).parent
        if (run / "final").exists() or (given.only and f"{arm}:{seed}" not in given.only):
            continue
        began, cpu = time.time(), time.process_time()

        def told(done: int, steps: int, who: str = f"{arm} seed {seed}", cpu: float = cpu) -> None:
            print(f"{time.strftime('%H:%M:%S')} {who}: {done} of {steps}, {time.process_time() - cpu:.0f} CPU s", flush=True)

        train(plan.recipe(arm, seed, given.out), run, told)
        cost = {
            "seconds": round(time.time() - began),
            "CPU seconds": round(time.process_time() - cpu),
            "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
        (run / "cost.json").write_text(json.dumps(cost) + "\n", encoding="utf-8")
        print(f"{arm} seed {seed} is done: {cost}", flush=True)


if __name__ == "__main__":
    main()
