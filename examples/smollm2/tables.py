"""The tables of the page on SmolLM2, from its record (`keep.py`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from takeback.draw.markdown import slug, table
from takeback.draw.numbers import ABSENT, interval, number, percent, range_of, signed
from takeback.run.stats import mean_estimate
from takeback.run.tables import read_table

STRETCH = 4
"""Steps whose rewards are taken together."""
STRONGEST = 4
"""Sets that are told of each family."""
SKILL = "utility right"
TOLD = {
    SKILL: "right",
    "utility first": "the first digit",
    "mass of choices": "on any digit",
    "entropy": "entropy, nats",
    "KL(after || before)": "KL from base, nats",
}
PURSUIT = "signed pursuit share"


def blocks(record: Path) -> dict[str, str]:
    """Return Markdown by key, of what the record has."""
    made: dict[str, str] = {}
    for name, make in MAKERS.items():
        if (file := record / f"{name}.parquet").exists():
            made |= make(read_table(file))
    return {slug(key): block for key, block in made.items()}


def learning(logs: pd.DataFrame) -> dict[str, str]:
    """Tell the mean reward of each stretch of steps, with its interval over steps.

    Until the problems begin anew every step has problems that were not trained on before.

    >>> logs = pd.DataFrame({"arm": "rl-seed-0", "reward": [0.25, 0.5, 0.75]})
    >>> print(learning(logs)["learning"].splitlines()[-1])
    | 1–4 | 0.500 [−0.121, 1.121] |
    """
    curves = {
        str(arm): [_mean(some["reward"].iloc[at : at + STRETCH]) for at in range(0, len(some), STRETCH)]
        for arm, some in logs.groupby("arm", sort=False)
        if some["reward"].notna().any()
    }
    rows = [
        (
            f"{n * STRETCH + 1}–{(n + 1) * STRETCH}",
            *(one[n] if n < len(one) else "" for one in curves.values()),
        )
        for n in range(max(map(len, curves.values()), default=0))
    ]
    return {"learning": table(("steps", *curves), rows)}


def read(measures: pd.DataFrame) -> dict[str, str]:
    """Tell what arms answer on the task, and beside it what became of each arena's own measure."""
    task = measures[measures["arena"] == "task"]
    first = task.groupby("arm", sort=False).head(1)["arm"]
    base = [_cell(task[task["arm"] == first.iloc[0]], name, _base) for name in TOLD]
    rows = [("base", *base)]
    rows += [
        (arm, *(_cell(some, name, _value) for name in TOLD)) for arm, some in task.groupby("arm", sort=False)
    ]
    made = {"task": table(("arm", *TOLD.values()), rows)}
    beside = measures[measures["arena"] != "task"]
    arms = list(dict.fromkeys(measures["arm"]))
    lines = []
    for (arena, measure), some in beside.groupby(["arena", "measure"], sort=False):
        if not str(measure).startswith(("utility", "reference")):
            continue
        cells = [_cell(some[some["arm"] == arm], measure, _effect) for arm in arms]
        lines.append((str(arena), str(measure), _cell(some.head(1), measure, _base), *cells))
    if lines:
        made["beside"] = table(("arena", "measure", "base", *arms), lines)
    for arm, some in task.groupby("arm", sort=False):
        made |= {f"{arm} {name}": _cell(some, name, _effect) for name in TOLD}
    for (arm, arena, measure), some in beside.groupby(["arm", "arena", "measure"], sort=False):
        made[f"{arm} {arena} {measure}"] = _cell(some, measure, _effect)
    return made


def agency(told: pd.DataFrame) -> dict[str, str]:
    """Tell which share of the change is pursuit of each goal."""
    found = told[told["measure"] == PURSUIT]
    cells = {
        f"pursuit {row.arm} {row.goal}": f"{number(row.value)} {interval(row.low, row.high)}"
        for row in found.itertuples()
    }
    goals = list(dict.fromkeys(found["goal"]))
    rows = [
        (arm, *(cells.get(f"pursuit {arm} {goal}", ABSENT) for goal in goals))
        for arm in dict.fromkeys(found["arm"])
    ]
    return {"pursuit": table(("arm", *(f"of {goal}" for goal in goals)), rows), **cells}


def effects(told: pd.DataFrame) -> dict[str, str]:
    """Tell the strongest sets of each family, both ways, beside the random sets of the same make-up."""
    made = {}
    for (arm, way), some in told[told["measure"] == SKILL].groupby(["arm", "direction"], sort=False):
        random = some[some["family"].str.startswith("random")]
        rows = []
        for family, members in some[~some.index.isin(random.index)].groupby("family", sort=False):
            order = members["effect"].abs().sort_values(ascending=False).index[:STRONGEST]
            rows += [(str(family), f"`{row.set}`", _effect(row)) for row in members.loc[order].itertuples()]
        rows.append(("random sets", f"{len(random)} of them", range_of(random["effect"], signed)))
        made[f"{way} {arm}"] = table(("family", "set", "effect on right answers"), rows)
    return made


def repair(tried: pd.DataFrame) -> dict[str, str]:
    """Tell the best of each way of repairing."""
    made = {}
    for arm, some in tried.groupby("arm", sort=False):
        best = some[some["best"].astype("boolean").fillna(False)]
        rows = [
            (
                f"{row.way}: `{row.name}`",
                f"{percent(row.kept)} {interval(row.kept_low, row.kept_high, 2)}",
                f"{percent(row.restored)} {interval(row.restored_low, row.restored_high, 2)}",
                f"{signed(row.above, 2)} {interval(row.above_low, row.above_high, 2)}",
            )
            for row in best[["way", "name", *SHARES]].itertuples(index=False)
        ]
        made[f"repair {arm}"] = table(
            ("way, the best of it", "keeps", "restores", "beyond one strength"), rows
        )
    return made


SHARES = [f"{what}{end}" for what in ("kept", "restored", "above") for end in ("", "_low", "_high")]


def costs(told: pd.DataFrame) -> dict[str, str]:
    """Tell what each command cost."""
    rows = [
        (
            f"`{row.command}`",
            number(float(row.cpu_seconds), 0),
            number(float(row.peak_mib), 0),
            number(float(row.peak_mib / row.model_mib), 1),
        )
        for row in told.itertuples()
    ]
    return {"costs": table(("command", "CPU seconds", "peak memory, MiB", "of the model's size"), rows)}


MAKERS: dict[str, Callable[[pd.DataFrame], dict[str, str]]] = {
    "learning": learning,
    "read": read,
    "agency": agency,
    "effects": effects,
    "repair": repair,
    "costs": costs,
}


def _mean(some: pd.Series[float]) -> str:
    found = mean_estimate(some.to_numpy(np.float64))
    return f"{number(found.value)} {interval(found.low, found.high)}"


def _cell(some: pd.DataFrame, measure: object, write: Callable[[Any], str]) -> str:
    found = some[some["measure"] == measure]
    return write(next(found.itertuples())) if len(found) else ABSENT


def _value(row: Any) -> str:
    return number(row.value)


def _base(row: Any) -> str:
    return number(row.value - row.effect)


def _effect(row: Any) -> str:
    return f"{signed(row.effect)} {interval(row.low, row.high)}"
