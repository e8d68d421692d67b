"""How long it takes to merge trees of problems of several people.

    python benchmarks/trees.py [--people 10] [--problems 200] [--repeats 3]

prints a Markdown table: seconds by the wall clock and of CPU for reading the files, merging them with
proposals, merging the result again, and drawing the page. A third of each tree's problems are shared, word
for word by seven people of ten and nearly so by the others, as in the tests.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

sys.path.append(str(Path(__file__).parents[1] / "tests" / "planning" / "trees"))

from forest import large
from takeback.planning.trees import format_tree, merge, parse_tree
from takeback.planning.trees.picture import as_page

Result = TypeVar("Result")


def timed(repeats: int, call: Callable[[], Result]) -> tuple[Result, str]:
    """Return what a call gives, and its median seconds by wall clock and of CPU as table cells."""
    walls, cpus = list[float](), list[float]()
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        result = call()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return result, f"{statistics.median(walls):.2f} | {statistics.median(cpus):.2f}"  # pyright: ignore[reportPossiblyUnboundVariable]


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--people", type=int, default=10)
    options.add_argument("--problems", type=int, default=200)
    options.add_argument("--repeats", type=int, default=3)
    told = options.parse_args()
    texts = [(format_tree(one), one.name) for one in large(told.people, told.problems, seed=0)]
    trees, reading = timed(told.repeats, lambda: [parse_tree(*one) for one in texts])
    merged, merging = timed(told.repeats, lambda: merge(trees))
    big = parse_tree(format_tree(merged.tree), "big.md")
    _, again = timed(told.repeats, lambda: merge([big]))
    _, drawing = timed(told.repeats, lambda: as_page(big))
    given = sum(1 for tree in trees for _ in tree.walk())
    found = sum(not node.own.refers for node in big.walk())
    print(f"{given} problems of {told.people} people become {found}; {len(merged.proposals)} proposals\n")
    print("| | seconds | of CPU |\n|---|---|---|")
    for name, cells in [
        ("reading", reading), ("merging", merging), ("merging the result again", again), ("drawing", drawing)
    ]:  # fmt: skip
        print(f"| {name} | {cells} |")


if __name__ == "__main__":
    main()
