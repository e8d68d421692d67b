"""Tries intervals over crossed runs and situations on made-up tables of which the truth is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from takeback.run.crossed import crossed_estimate
from takeback.run.stats import mean_estimate

Floats = NDArray[np.float64]

RUNS: Final = 8
CLUSTER: Final = 4
"""Situations of a cluster, in tables that have clusters."""

CASES: Final[Mapping[str, tuple[float, float, float]]] = {
    "all between runs": (1, 0, 0),
    "all between situations": (0, 1, 0),
    "all runs by situations": (0, 0, 1),
    "runs and situations": (0.5, 0.5, 0),
    "runs, and runs by situations": (0.5, 0, 0.5),
    "situations, and runs by situations": (0, 0.5, 0.5),
    "a third each": (1 / 3, 1 / 3, 1 / 3),
    "mostly situations": (0.15, 0.7, 0.15),
    "mostly runs": (0.7, 0.15, 0.15),
}
"""What share of the variance of the mean is from runs, from situations, and from how runs differ by these."""


def made_up(rng: np.random.Generator, shares: tuple[float, float, float], codes: NDArray[np.int64]) -> Floats:
    """Draw a table [runs, situations] of true mean 0, the variance of whose mean is 1."""
    groups = int(codes.max()) + 1
    runs, situations, both = np.sqrt(shares) * np.sqrt([RUNS, groups, RUNS * groups])
    table = runs * rng.normal(size=(RUNS, 1)) + situations * rng.normal(size=groups)[codes]
    return table + both * rng.normal(size=(RUNS, groups))[:, codes]


def coverage(
    case: str, situations: int, times: int, seed: int, cluster: int = 1
) -> tuple[float, float, float]:
    """Return how often 95% intervals hold the true mean: over both, over runs, over situations alone.

    >>> both, runs, _ = coverage("runs and situations", situations=64, times=40, seed=0)
    >>> both > runs
    True
    """
    rng = np.random.default_rng([seed, situations, cluster, list(CASES).index(case)])
    codes = np.arange(situations) // cluster
    held = np.zeros(3)
    for _ in range(times):
        table = made_up(rng, CASES[case], codes)
        found = crossed_estimate(table, codes)
        each = found.both, found.runs, mean_estimate(table.mean(axis=0), codes)
        held += [one.low is not None and one.high is not None and one.low <= 0 <= one.high for one in each]
    both, runs, alone = (held / times).tolist()
    return both, runs, alone


def tables(times: int, seed: int) -> Iterator[str]:
    """Give the lines of the table in Markdown."""
    error = 1.96 * (0.05 * 0.95 / times) ** 0.5
    yield (
        f"{times} tables of {RUNS} runs, seed {seed}; a coverage of 95% is known to ±{100 * error:.1f} "
        "points. In brackets the interval over runs alone, then over situations alone.\n"
    )
    sizes = ((128, 1), (512, 1), (512, CLUSTER))
    heads = [f"{n} situations" + (f" in {n // size} clusters" if size > 1 else "") for n, size in sizes]
    yield "| what varies | " + " | ".join(heads) + " |"
    yield "| --- | " + " | ".join("---" for _ in heads) + " |"
    for case in CASES:
        found = [coverage(case, n, times, seed, size) for n, size in sizes]
        cells = [f"{both:.1%} ({runs:.0%}, {alone:.0%})" for both, runs, alone in found]
        yield f"| {case} | " + " | ".join(cells) + " |"
