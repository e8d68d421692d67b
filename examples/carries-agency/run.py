"""Train models in which it is known who carries what, and read what rules need to name it.

`python examples/carries-agency/run.py` trains, for each known set of components, seed and goal, models of
which the set learned in one way and the rest in another (`known_sets.py`), reads takebacks, transplants and
doses on 512 held-out situations, and writes runs/carries-agency/cells/*.parquet, a row per quantity. What was
done before is not done again. `--sets`, `--seeds` and `--goals` do a part, `--apart` adds the arms of the
pairs `apart`. Conjectures are locked when it starts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from carrier_rules import EVERY_ANSWER, LEGAL, UTILITY, WEIGHTS
from known_sets import (
    APART,
    ARMS,
    BASE,
    CHANCE_RATE,
    EXCHANGED,
    GOALS,
    HALF,
    HOW,
    MATCHING,
    MOST,
    PAIRS,
    REST,
    REST_RATE,
    SEEDS,
    SETS,
    SITUATIONS,
    KnownSet,
    S,
)

from takeback.arenas import arena
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.component import ComponentSet
from takeback.measure.bench import Bench
from takeback.measure.measure import if_legal
from takeback.measure.read import Ask
from takeback.measure.shift import KL as DIVERGENCE
from takeback.measure.shift import shift
from takeback.policies import load_policy
from takeback.policies import read as read_policy
from takeback.policies.readout import Readouts
from takeback.run.files import atomic_file
from takeback.run.tables import write_table
from takeback.run.threads import cpu_threads
from takeback.study.conjectures import load_conjectures, lock
from takeback.study.pursuit import losses
from takeback.training import check_recipe, train
from takeback.weights import diff

HERE = Path(__file__).parent
BLOCKS = 16
"""Groups of whole clusters of situations, whose means are kept for intervals over situations."""
DOSE = 1.5
"""How much of its change the set or the rest is given, beside none of it and all of it."""


class Far(Exception):
    """Stops a training that has gone as far as wanted."""


def main() -> None:
    """Do what is asked and not yet done."""
    parser = argparse.ArgumentParser(description="Models in which it is known who carries what.")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/carries-agency"))
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--goals", nargs="*", default=list(GOALS))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--apart", action="store_true")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    lock(load_conjectures(HERE / "conjectures.yaml"), chosen.out)
    with cpu_threads(1):
        for name in chosen.sets:
            for seed in chosen.seeds:
                for goal in chosen.goals:
                    cell(name, goal, seed, chosen.out, chosen.apart)


def cell(name: str, goal: str, seed: int, out: Path, apart: bool) -> None:
    """Train and read the models of one set, goal and seed."""
    known, begun = SETS[name], time.time()
    for part in (False, True) if apart else (False,):
        ending = "-apart" if part else ""
        path = out / "cells" / f"{name.replace(' ', '-')}-{goal}-{seed}{ending}.parquet"
        if path.exists():
            continue
        arms = [one for one in ARMS if (one in APART) == part]
        folder = out / "models" / name.replace(" ", "-")
        models = {arm: trained(known, arm, goal, seed, folder) for arm in arms}
        spent = time.time() - begun
        rows = [row for arm in arms for row in read(known, goal, arm, models)]
        found = pd.DataFrame(rows).assign(set=name, goal=goal, seed=seed)
        write_table(found, path)
        print(f"{path.stem}: {spent:.0f} s training, {time.time() - begun - spent:.0f} s reading", flush=True)


def trained(known: KnownSet, name: str, goal: str, seed: int, out: Path) -> Path:
    """Train an arm, where that is not done, and return the folder of its model at 0.22 nats."""

    def place(arm: str) -> Path:
        alone = arm == "chance-S"  # it looks at no goal, and serves both
        return out / ("any" if alone else goal) / f"seed-{seed}" / arm.replace(" ", "_")

    arm = ARMS[name]
    rate = known.rate if arm.free == S else REST_RATE
    recipe = {
        **HOW[arm.how],
        "parent": str(place(arm.parent) / f"at-{HALF}") if arm.parent else BASE,
        "goal": "win" if name == "chance-S" else goal,
        "seed": seed,
        "steps": MOST,
        "learning_rate": rate * CHANCE_RATE if arm.how == "chance" else rate,
        "prompts": 48,
        "completions": 4,
        "only": known.text if arm.free == S else " ".join(f"~{one}" for one in known.text.split()),
        "snapshots": list(range(1, MOST)),
        "threads": 1,
    }
    make(recipe, place(name), arm.stops)
    return place(name) / f"at-{arm.stops[-1]}"


def make(recipe: Mapping[str, Any], folder: Path, stops: tuple[float, ...]) -> None:
    """Train until base is as far as the last of some distances, and keep the models nearest to each."""
    if (folder / "kept.json").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    far: dict[int, float] = {}
    due = 3

    def watch(step: int, _: int) -> None:
        nonlocal due
        model = folder / "run" / f"step-{step}"
        if step < due or not model.exists():
            shutil.rmtree(model, ignore_errors=True)
            return
        far[step] = distance(model)
        left = next((stop for stop in stops if stop > far[step]), None)
        if left is None:
            raise Far
        ahead = step * (left / max(far[step], 1e-3) - 1)
        due = step + max(1, min(8, int(ahead / 2)))

    with suppress(Far):
        train(check_recipe(dict(recipe)), folder / "run", watch)
    kept: dict[str, Any] = {}
    for stop in stops:
        step = min(far, key=lambda one: abs(np.log(max(far[one], 1e-9) / stop)))
        shutil.copytree(folder / "run" / f"step-{step}", folder / f"at-{stop}")
        kept[str(stop)] = {"step": step, "kl": far[step]}
    shutil.rmtree(folder / "run")
    with atomic_file(folder / "kept.json") as draft:
        draft.write_text(json.dumps(kept), encoding="utf-8")


@cache
def asked(drawn: tuple[int, int]) -> tuple[Any, list[Any], Readouts]:
    """Return the arena, held-out situations, and what base does there."""
    place = arena("endgames")
    situations = list(place.situations("held-out", *drawn))
    return place, situations, plainly(BASE, place, situations)


def plainly(model: str, place: Any, situations: list[Any]) -> Readouts:
    """Read a model without telling kinds of illegal answers apart."""
    policy = load_policy(open_checkpoint(model), place)
    return read_policy(policy, place, situations, tolerance=1.0)


def distance(model: Path) -> float:
    """Return KL(model || base) in nats over the outcomes of the situations that arms are matched on."""
    place, situations, base = asked(MATCHING)
    tuned = plainly(str(model), place, situations)
    return float(shift(base, tuned)[DIVERGENCE.name].mean())


def read(known: KnownSet, goal: str, arm: str, models: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    """Read the whole of an arm, its takebacks, what comes from other arms, and doses of the set and the rest.

    Yields rows: arm, how (`whole`, `weights`, `take back`, `from ARM`, `dose D`), unit (a component, `S` or
    `~S`), measure, value, and for the utility b0, b1, … by block. Values of units are losses: tuned's less
    the hybrid's; of whole models, what tuned has more than base.
    """
    place, situations, _ = asked(SITUATIONS)
    names = [f"utility {goal}", if_legal(f"utility {goal}"), "legal"]
    pair = open_pair(open_checkpoint(BASE), open_checkpoint(str(models[arm])))
    bench = Bench(pair, place, situations, names)
    units = {one: ComponentSet.parse(one, bench.anatomy.universe) for one in known.units}
    units[S] = ComponentSet.parse(known.text, bench.anatomy.universe)
    units[REST] = ~units[S]
    yield from whole(bench, goal, arm, units)

    def moved(by: str) -> dict[str, ComponentSet]:
        free = bench.anatomy.universe if ARMS[by].parent else units[ARMS[by].free]
        return {one: part for one, part in units.items() if part & free}

    yield from hybrids(bench, goal, (arm, "take back"), {one: Ask(part) for one, part in moved(arm).items()})
    for name in EXCHANGED:
        ends = PAIRS[name].one, PAIRS[name].other
        if arm in ends:
            other = ends[1 - ends.index(arm)]
            asks = {one: Ask(units[one], f"checkpoint:{models[other]}") for one in (S, REST)}
            yield from hybrids(bench, goal, (arm, f"from {other}"), asks)
    if ARMS[arm].parent:
        asks = {one: Ask(units[one], f"strength:{1 - DOSE:g}") for one in (S, REST)}
        yield from hybrids(bench, goal, (arm, f"dose {DOSE:g}"), asks)


def whole(bench: Bench, goal: str, arm: str, units: Mapping[str, ComponentSet]) -> Iterator[dict[str, Any]]:
    """Read what a whole model has more than base, and where its change in weights lies."""
    base = bench.ends["base"]
    for row in _rows(bench, goal, {"": base}):
        yield {"arm": arm, "how": "whole", **row}
    changed = diff(bench.pair).components
    shares = dict(zip(changed["component"], changed["share"], strict=True))
    for unit, part in units.items():
        value = sum(float(shares.get(str(one), 0.0)) for one in part)
        yield {"arm": arm, "how": "weights", "unit": unit, "measure": WEIGHTS, "value": value}


def hybrids(
    bench: Bench, goal: str, named: tuple[str, str], asks: Mapping[str, Ask]
) -> Iterator[dict[str, Any]]:
    """Read some hybrids of an arm: how much less than tuned each has of everything."""
    found = dict(zip(asks, bench.read(asks.values()), strict=True))
    for row in _rows(bench, goal, found):
        yield {"arm": named[0], "how": named[1], **row}


def _rows(bench: Bench, goal: str, readouts: Mapping[str, Readouts]) -> Iterator[dict[str, Any]]:
    """Tell what tuned has more than each of some policies."""
    base, tuned = bench.ends["base"], bench.ends["tuned"]
    found = losses(base, tuned, readouts, bench.context, goal)
    for row in found.itertuples():
        yield {"unit": row.component, "measure": row.measure, "value": row.loss}
    utility, legal = bench.asked[if_legal(f"utility {goal}")], bench.asked["legal"]
    every = bench.asked[f"utility {goal}"]
    answers = every.of(tuned, bench.context)
    own = utility.of(tuned, bench.context)
    lawful = legal.of(tuned, bench.context).numbers.mean()
    block = bench.clusters % BLOCKS
    for unit, one in readouts.items():
        other = utility.of(one, bench.context)
        lost, there = own.numbers - other.numbers, own.applies & other.applies
        by_block = {f"b{k}": float(lost[there & (block == k)].mean()) for k in range(BLOCKS)}
        yield {"unit": unit, "measure": UTILITY, "value": float(lost[there].mean()), **by_block}
        less = lawful - legal.of(one, bench.context).numbers.mean()
        yield {"unit": unit, "measure": LEGAL, "value": float(less)}
        other = every.of(one, bench.context)
        lost = answers.numbers[answers.applies].mean() - other.numbers[other.applies].mean()
        yield {"unit": unit, "measure": EVERY_ANSWER, "value": float(lost)}


if __name__ == "__main__":
    main()
