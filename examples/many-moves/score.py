"""Make the record of the page from what `run.py` kept, and decide the conjectures.

`python examples/many-moves/score.py RUN RECORD` writes into RECORD measured.parquet (a value of each model),
games.parquet (of each start of games, too), takebacks.parquet, learning.parquet, contrasts.parquet,
conjectures.parquet and the picture. Only seeds of which every arm is there count.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from design import ARMS, CUT, FARTHEST, HORIZON, SEEDS, STARTS
from scipy import special
from tables import picture

from run import EARNED, earned
from takeback.arenas import arena
from takeback.run.crossed import crossed_estimate
from takeback.run.power import bound, noncentrality
from takeback.run.sign_flips import weighted_contrast
from takeback.run.stats import Estimate
from takeback.run.tables import read_table, write_table
from takeback.study.conjectures import decided

CONTRASTS = {
    "games": ("rl-games", "rl-win"),
    "starts": ("rl-near", "rl-win"),
    "whole": ("rl-games", "rl-near"),
    "imitation": ("rl-win", "rft-win"),
    "learned": ("rl-games", "base"),
    "whole at the end": ("rl-games", "rl-near, end"),
}
"""Differences of two arms, the second taken from the first; `, end` is of the last model of a run."""
ENDS = tuple(f"{arm}, end" for arm in FARTHEST)
MATES = f"mates within {HORIZON}, perfect"
CUTS = ("readings", "takebacks")
LEAST = 5
"""Seeds of which takebacks are told."""
LOST = {
    "mates": MATES,
    "best": "mass on the fastest mates",
    "illegal": "ends illegal, perfect",
    "legal": "legal",
}
"""What takebacks are told by, and what it is called of whole models."""


def main() -> None:
    """Write the tables of a record."""
    run, record = map(Path, sys.argv[1:3])
    read = pd.concat([read_table(path) for path in sorted((run / "read").glob("*.parquet"))])
    read = read.fillna({"arm": "base", "at": "matched", "seed": -1}).astype({"seed": int})
    read["arm"] = read["arm"].where(read["at"] == "matched", read["arm"] + ", " + read["at"])
    seeds = complete(read)
    read = read[read["seed"].isin([-1, *seeds])]
    by_start = read["start"].notna()
    games = read[by_start].astype({"start": np.int16, "far": np.int8, "value": np.float32, "seed": np.int8})
    keys = ["arm", "seed", "measure"]
    means = games.groupby(keys, as_index=False)["value"].mean()
    measured = pd.concat([read.loc[~by_start, [*keys, "value"]], means], ignore_index=True)
    cuts = [read_table(path) for part in CUTS for path in sorted((run / part).glob("*.parquet"))]
    cut = pd.concat(cuts) if cuts else pd.DataFrame()
    found = pd.DataFrame([*whole(measured, games, seeds), *(parts(cut, seeds) if len(cut) else ())])
    record.mkdir(parents=True, exist_ok=True)
    write_table(measured.astype({"value": np.float64}), record / "measured.parquet")
    write_table(games[[*keys, "start", "far", "value"]].reset_index(drop=True), record / "games.parquet")
    if len(cut):
        by = ["arm", "seed", "family", "set", "components"]
        write_table(
            cut.groupby(by, as_index=False)[[name for name in LOST if name in cut]].mean(),
            record / "takebacks.parquet",
        )
    write_table(found, record / "contrasts.parquet")
    write_table(learned(run, games, seeds), record / "learning.parquet")
    (record / "mates.svg").write_text(picture(games), encoding="utf-8")
    write_table(decided(run, {"contrasts": found}), record / "conjectures.parquet")


def learned(run: Path, games: pd.DataFrame, seeds: Sequence[int]) -> pd.DataFrame:
    """Tell what steps of `rl-games`, and of runs beside the design, earned, and what they won."""
    mates = games[games["measure"] == MATES]
    parts = [
        mates.loc[mates["arm"] == arm, ["measure", "far", "value"]].assign(run="rl-games", when=when)
        for arm, when in {"base": "before", "rl-games": "after"}.items()
    ]
    for seed in seeds:
        steps = pd.DataFrame(earned(run / "models" / "rl-games" / f"seed-{seed}"))
        parts.append(steps.assign(run="rl-games", when="training"))
    beside = [read_table(path) for path in sorted((run / "side").glob("*.parquet"))]
    found = pd.concat([*parts, *(one[one["measure"].isin([MATES, *EARNED])] for one in beside)])
    keys = ["run", "when", "measure", "far", "step"]
    return found.groupby(keys, dropna=False, as_index=False, sort=False)["value"].mean()


def complete(read: pd.DataFrame) -> list[int]:
    """Return the seeds of which every arm has been read."""
    there = {(row.arm, row.seed) for row in read[["arm", "seed"]].drop_duplicates().itertuples()}
    return [seed for seed in SEEDS if all((arm, seed) in there for arm in (*ARMS, *ENDS))]


def whole(measured: pd.DataFrame, games: pd.DataFrame, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Compare whole models: p is right for all measures and contrasts that are told together."""
    tables = of_starts(games, seeds)
    at = measured.set_index(["measure", "arm", "seed"])["value"]
    names = [name for name in measured["measure"].unique() if not name.startswith("ends by")]

    def values(name: str, arm: str) -> list[float]:
        return [float(at[name, arm, -1 if arm == "base" else seed]) for seed in seeds]

    for contrast, (one, other) in CONTRASTS.items():
        asked = [name for name in names if np.isfinite([values(name, arm) for arm in (one, other)]).all()]
        sides = np.array([[values(name, arm) for name in asked] for arm in (one, other)]).transpose(0, 2, 1)
        constant = other == "base"
        tested = weighted_contrast(sides[:1] - sides[1:] if constant else sides, [1] if constant else [1, -1])
        for place, name in enumerate(asked):
            estimate, freedom = tested.estimates[place], float(len(seeds) - 1)
            if (name, one) in tables:
                crossed = crossed_estimate(tables[name, one] - tables[name, other], clusters())
                estimate, freedom = crossed.both, crossed.freedom or freedom
            about = {"contrast": contrast, "component": "", "kind": "", "measure": name}
            yield about | told(estimate, freedom, float(tested.p_family[place]) * len(CONTRASTS))


def of_starts(games: pd.DataFrame, seeds: Sequence[int]) -> dict[tuple[str, str], np.ndarray]:
    """Return what each measure is of each arm's runs and starts, shape (runs, starts)."""
    found: dict[tuple[str, str], np.ndarray] = {}
    for (name, arm), rows in games.groupby(["measure", "arm"]):
        wide = rows.pivot(index="seed", columns="start", values="value").to_numpy(np.float64)
        found[str(name), str(arm)] = np.repeat(wide, len(seeds), axis=0) if arm == "base" else wide
    return found


def clusters() -> list[str]:
    """Return the cluster of each start of games."""
    place: Any = arena("endgames")
    count, seed = STARTS
    found: dict[int, list[str]] = {far: [] for far in range(1, HORIZON + 1)}
    for one in place.situations("held-out", 64 * count * HORIZON, seed, goal="win"):
        some = found.get(place.distance(one) or 0, [])
        if len(some) < count:
            some.append(str(place.cluster(one)))
    return [one for some in found.values() for one in some]


def parts(cut: pd.DataFrame, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Tell what taking a component back loses, and where arms differ; p is right for all components."""
    cut = cut[cut["seed"].isin(seeds)]
    own = cut["components"].where(cut["set"] != "*", "*").where(cut["set"] != "", "")
    cut = cut.assign(set=cut["set"].where(cut["family"].str.startswith("random"), own))
    for column, measure in LOST.items():
        if column not in cut:
            continue
        mean = cut.pivot_table(index=["arm", "seed"], columns="set", values=column)
        known = [seed for seed in seeds if all((arm, seed) in mean.index for arm in CUT)]
        if len(known) < LEAST:
            continue
        mean = mean.dropna(axis="columns")  # later runs have more random sets
        sets = [name for name in cut["set"].unique() if name and name in mean]
        lost = {
            arm: np.array([[mean.loc[(arm, s), ""] - mean.loc[(arm, s), one] for one in sets] for s in known])
            for arm in CUT
        }
        tests = {f"lost by {arm}": ([lost[arm]], [1]) for arm in CUT}
        tests["lost, games"] = ([lost[arm] for arm in CUT], [1, -1])
        for contrast, (sides, weights) in tests.items():
            tested = weighted_contrast(np.array(sides), weights)
            for place, name in enumerate(sets):
                about = {"contrast": contrast, "component": name, "kind": kind(name), "measure": measure}
                yield about | told(tested.estimates[place], len(known) - 1.0, float(tested.p_family[place]))


def kind(name: str) -> str:
    """Return the kind of a component by its name; of a set that stands beside, `random` or `all`."""
    if name == "*" or name.startswith("random"):
        return "all" if name == "*" else "random"
    last = name.rsplit(".", 1)[-1]
    return "H" if last[0] == "H" else last


def told(found: Estimate, freedom: float, p: float) -> dict[str, Any]:
    """Return an estimate with its bound and the smallest effect that 80% of such tests would see at 5%."""
    seen = None
    if found.se is not None and freedom > 0:
        seen = noncentrality(freedom, float(special.stdtrit(freedom, 0.975))) * found.se
    return {
        "value": round(found.value, 12),  # a difference that is rounding is 0
        "low": found.low,
        "high": found.high,
        "bound": bound(found),
        "detectable": seen,
        "p_family": min(p, 1.0),
        "n": found.n,
    }


if __name__ == "__main__":
    main()
