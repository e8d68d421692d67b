"""Score the rules and the conjectures from what `run.py` measured.

`python examples/carries-agency/score.py RUN RECORD` writes into RECORD what the page is made of:
measured.parquet, conditions.parquet, verdicts.parquet and conjectures.parquet.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from carrier_rules import AFTER, conditions, verdicts
from known_sets import MIRRORED, SEEDS, S

from takeback.run.tables import read_table, write_table
from takeback.study.conjectures import decided, read_lock


def main() -> None:
    """Write the tables of a record."""
    run, record = map(Path, sys.argv[1:3])
    measured = pd.concat([read_table(path) for path in sorted((run / "cells").glob("*.parquet"))])
    measured = complete(measured.reset_index(drop=True))
    floats = {one: np.float32 for one in measured if one == "value" or one[1:].isdecimal()}
    record.mkdir(parents=True, exist_ok=True)
    write_table(measured.astype(floats).reset_index(drop=True), record / "measured.parquet")
    found = conditions(measured)
    told = flagged(verdicts(found))
    write_table(found, record / "conditions.parquet")
    write_table(told, record / "verdicts.parquet")
    write_table(matched(run), record / "matched.parquet")
    told, found = (one[~one["rule"].isin(AFTER)] for one in (told, found))
    tables = {"carriers": told, "contrasts": found}
    outcomes = decided(run, tables).assign(time=read_lock(run).time)
    write_table(outcomes, record / "conjectures.parquet")


def matched(run: Path) -> pd.DataFrame:
    """Return how far each kept model was from base, and after how many steps, on the matching situations."""
    rows: list[dict[str, Any]] = []
    for path in sorted((run / "models").glob("*/*/seed-*/*/kept.json")):
        name, goal, seed, arm = path.parts[-5:-1]
        for stop, told in json.loads(path.read_text(encoding="utf-8")).items():
            about = {"set": name, "goal": goal, "seed": int(seed.removeprefix("seed-"))}
            rows.append({**about, "arm": arm.replace("_", " "), "wanted": float(stop), **told})
    return pd.DataFrame(rows)


def complete(measured: pd.DataFrame) -> pd.DataFrame:
    """Keep the sets and arms of which every seed and goal is there."""
    keys = measured[["set", "goal", "arm", "seed"]].drop_duplicates()
    whole = keys.groupby(["set", "arm"]).size()
    kept = {key for key, number in whole.items() if number == 2 * len(SEEDS)}
    return measured[[key in kept for key in zip(measured["set"], measured["arm"], strict=True)]]


def flagged(told: pd.DataFrame) -> pd.DataFrame:
    """Add `has`, whether a component of its part is named, and `both`, whether it is so both ways round."""
    some = told[told["named"] & ~told["whole"]]
    parts = {*zip(some["set"], some["pair"], some["rule"], some["part"], strict=True)}
    right = told[told["named"] & told["should"] & told["whole"]]
    names = {*zip(right["set"], right["pair"], right["rule"], strict=True)}
    has = [(r.set, r.pair, r.rule, r.part) in parts for r in told.itertuples()]
    both = [{(r.set, r.pair + end, r.rule) for end in ("", MIRRORED)} <= names for r in told.itertuples()]
    return told.assign(has=has, both=np.where(np.array(both) & (told["unit"] == S), 1.0, 0.0))


if __name__ == "__main__":
    main()
