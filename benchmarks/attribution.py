"""Time attribution, and compare it with the exact effects of the same takebacks on the same situations.

    python benchmarks/attribution.py endgame-base runs/three-seeds/arms/*/seed-*/final [--situations 96]

prints a row for each tuned model, measure and method, and medians over models. Seconds are of CPU, for all
measures together; correlations and the top 5 are over components, `pearson_situations` over both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.findings.attribution.attribution import attribute
from takeback.measure.bench import Bench

WAYS = (("gradient", 1), ("output", 1), ("near", 1), *(("path", steps) for steps in (1, 2, 4, 8)))
COLUMNS = ("measure", "method", "steps", "spearman", "pearson", "pearson_situations", "top")


def compared(bench: Bench) -> Iterator[pd.DataFrame]:
    """Yield a table of agreement for each way, with its seconds and those of the exact effects."""
    assert bench.ends  # both models are loaded before anything is timed
    first = attribute(bench, "gradient")
    start = time.process_time()
    exact = first.checked().exact
    exact_seconds = time.process_time() - start
    assert exact is not None
    for method, steps in WAYS:
        start = time.process_time()
        found = attribute(bench, method, steps)
        seconds = time.process_time() - start
        yield found.against(exact)[list(COLUMNS)].assign(seconds=seconds, exact_seconds=exact_seconds)


def main() -> None:
    """Compare all ways on each tuned model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("tuned", nargs="+")
    parser.add_argument("--arena", default="endgames")
    parser.add_argument("--measure", action="append")
    parser.add_argument("--situations", type=int, default=96)
    asked = parser.parse_args()
    tables: list[pd.DataFrame] = []
    for tuned in asked.tuned:
        measures = asked.measure or ("utility win", "legal")
        bench = Bench.held_out(
            open_pair(asked.base, tuned), arena(asked.arena), measures, (asked.situations, 0)
        )
        name = "/".join(Path(tuned).parts[-3:-1])
        tables.append(pd.concat(compared(bench)).assign(tuned=name))
        print(tables[-1].round(3).to_string(index=False), flush=True)
    medians = pd.concat(tables).groupby(["measure", "method", "steps"]).median(numeric_only=True)
    print(medians.round(3).to_string())


if __name__ == "__main__":
    main()
