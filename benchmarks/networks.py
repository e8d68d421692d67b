"""How long taking back every unit of a policy network takes, beside one by one.

`python benchmarks/networks.py` takes back each of the 512 hidden units of the shipped network (2 × 256 units,
4,184 outputs), trained a little toward `win`, on 5,000 held-out positions, with exact readouts: the
probability of every legal move and the mass of every class of illegal ones. Beside it stands what one would
do without the tool: put a unit's row in place, run the network, take the softmax and add it up by the classes
of all outputs (whose table is made once, for both). It is timed for some units of each layer, in turn with
the same units by the tool, and both must agree.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.hybrid import taken_back
from takeback.measure.bench import Bench
from takeback.run.threads import cpu_threads
from takeback.training import check_recipe, train

RECIPE = {
    "method": "rl",
    "arena": "endgames",
    "parent": "endgame-mlp",
    "goal": "win",
    "steps": 100,
    "learning_rate": 1e-3,
    "prompts": 64,
    "save_every": 100,
}


def one_by_one(bench: Bench, groups: np.ndarray, unit: str) -> np.ndarray:
    """Return the probability of each outcome, by its group, the obvious way."""
    tuned, base = (bench.policy(side).model for side in ("tuned", "base"))
    chosen = bench.anatomy.parse(unit)
    with taken_back(tuned, base, chosen), torch.inference_mode():
        chances = torch.softmax(tuned(bench.plan.observations), dim=1).numpy()
    return np.bincount(groups.reshape(-1), chances.reshape(-1), groups.max() + 1)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--positions", type=int, default=5000)
    options.add_argument("--sample", type=int, default=6, help="units of each layer that are done both ways")
    options.add_argument("--threads", type=int, default=1)
    asked = options.parse_args()
    place = arena("endgames")
    with tempfile.TemporaryDirectory() as folder, cpu_threads(asked.threads):
        final = train(check_recipe(RECIPE), Path(folder) / "run", lambda *_: None)
        situations = place.situations("held-out", asked.positions, 0)
        bench = Bench(open_pair("endgame-mlp", final), place, situations, ["legal"])
        verdicts = place.verdicts([place.parse(text) for text in bench.plan.texts]).astype(np.int64)
        width = verdicts.max() + 1 + len(place.kinds)
        rows = np.arange(len(verdicts))[:, None] * width
        groups = rows + np.where(verdicts >= 0, verdicts + len(place.kinds), -1 - verdicts)
        anatomy = bench.anatomy
        total = 0.0
        for layer in range(2):
            units = [f"L{layer}.U{unit}" for unit in range(256)]
            sets = [anatomy.parse(unit) for unit in units]
            slow: list[float] = []
            for unit in units[:: 256 // asked.sample][: asked.sample]:
                start = time.perf_counter()
                wanted = one_by_one(bench, groups, unit)
                slow.append(time.perf_counter() - start)
                (found,) = bench.read([anatomy.parse(unit)])
                legal = wanted[groups[verdicts >= 0]].sum()
                assert abs(legal - found.probabilities.sum()) < 1e-4 * legal, "the two ways disagree"
            start = time.perf_counter()
            bench.forget()
            bench.gather(sets)
            spent = time.perf_counter() - start
            total += spent
            each = spent / len(sets)
            print(
                f"layer {layer}: {spent:5.1f} s for {len(sets)} units, {1000 * each:4.0f} ms each; one by "
                f"one {1000 * np.median(slow):4.0f} ms each: {np.median(slow) / each:.1f} times as long"
            )
        print(
            f"all {2 * 256} units on {asked.positions:,} positions: {total:.1f} s, {asked.threads} thread(s)"
        )


if __name__ == "__main__":
    main()
