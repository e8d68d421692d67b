"""The tables of the page on SmolLM2, from its record.

The record holds `costs.parquet` (by `commands.py`) and what each arm and seed logged as it trained, in
`learning/ARM-seed-N.parquet`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.draw.markdown import table
from takeback.draw.numbers import interval, number
from takeback.run.stats import mean_estimate
from takeback.run.tables import read_table

REWARD = "reward"
STRETCH = 20
"""Steps whose rewards are taken together."""


def blocks(record: Path) -> dict[str, str]:
    """Return Markdown by key, of what the record has."""
    made: dict[str, str] = {}
    if (costs := record / "costs.parquet").exists():
        heads = ("command", "CPU seconds", "peak memory, MiB", "of the model's size")
        made["costs"] = table(heads, _costs(read_table(costs)))
    logs = {path.stem: read_table(path) for path in sorted((record / "learning").glob("*.parquet"))}
    if curves := {name: learning(log) for name, log in logs.items() if REWARD in log}:
        longest = max(map(len, curves.values()))
        rows = [
            (_steps(n), *(one[n] if n < len(one) else "" for one in curves.values())) for n in range(longest)
        ]
        made["learning"] = table(("steps", *curves), rows)
    return made


def learning(log: pd.DataFrame) -> list[str]:
    """Return the mean reward of each stretch of steps with its interval over steps, as text.

    Every step has problems that were not trained on before, so this is a curve on unseen problems.

    >>> learning(pd.DataFrame({"reward": [0.25, 0.5, 0.75]}))
    ['0.500 [−0.121, 1.121]']
    """
    rewards = log[REWARD].to_numpy(np.float64)
    return [_told(rewards[start : start + STRETCH]) for start in range(0, len(rewards), STRETCH)]


def _steps(n: int) -> str:
    return f"{n * STRETCH + 1}–{(n + 1) * STRETCH}"


def _told(some: NDArray[np.float64]) -> str:
    found = mean_estimate(some)
    return f"{number(found.value)} {interval(found.low, found.high)}"


def _costs(costs: pd.DataFrame) -> list[tuple[str, ...]]:
    return [
        (
            f"`{row.command}`",
            number(float(row.cpu_seconds), 0),
            number(float(row.peak_mib), 0),
            number(float(row.peak_mib / row.model_mib), 1),
        )
        for row in costs.itertuples()
    ]
