"""Plant changes in known components, write the tuned model in random coordinates, and look for them.

`python examples/plant-and-recover/run.py` trains the shipped base with only a random set of components free
to move, for each of 16 sets, changes the coordinates of everything, and asks each measure which components
moved; beside it models in which nothing was planted: the base itself in other coordinates. It writes
runs/plants/: scores.parquet (each component of each model by each measure) and recoveries.parquet.
What was done before is not done again. `--tiny` does it all with almost no training.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from tables import CIRCUITS, GRAFTED, NEAR, RAW, SIGNIFICANT, STORED, TAKEN, UTILITY, blocks

from takeback.anatomy import Anatomy
from takeback.arenas import Arena, arena
from takeback.checkpoint import Pair, open_checkpoint, open_pair
from takeback.findings.localise.recovery import recovery
from takeback.gauge import aligned, regauged
from takeback.hybrid import hybrid, write_hybrid
from takeback.hybrid.sources import source_of
from takeback.measure.bench import Bench
from takeback.measure.effects import effect_rows
from takeback.measure.read import Ask
from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file
from takeback.run.tables import read_table, write_table
from takeback.run.threads import cpu_threads
from takeback.training import check_recipe, train
from takeback.weights import circuits, diff

BASE = "endgame-base"
MAKE_UPS = (
    "H",
    "H H",
    "MLP",
    "H MLP",
    "H H H",
    "MLP MLP",
    "H H H H",
    "H H MLP",
    "H H MLP MLP",
    "H H H H H H",
)
"""Kinds of the components of the first ten plants; then they start over."""
GOALS = ("win", "corner")
FLOOR = 10.0
"""A component is found where it scores more than so many times the largest score without a plant."""

FLOOR_OF = {RAW: NEAR, STORED: TAKEN, SIGNIFICANT: UTILITY}
"""Measures that depend on the coordinates have the floor of those that don't: what rounding explains."""


@dataclass(frozen=True)
class Settings:
    """What decides the tables: how much is planted and trained, and on how much it is read."""

    plants: int = 16
    calibration: int = 5
    nulls: int = 10
    steps: int = 60
    situations: int = 64
    strengths: tuple[float, ...] = (0.01, 0.001, 0.0001)
    narrow: tuple[float, ...] = (1.0,)
    seed: int = 0

    @classmethod
    def tiny(cls) -> Settings:
        """Return what takes a minute and shows that it works."""
        return cls(1, 1, 1, 2, 8, (0.1,), ())


@dataclass(frozen=True)
class Plant:
    """A set of components that alone were free to move, and how they were trained."""

    name: str
    components: tuple[str, ...]
    method: str = ""
    goal: str = GOALS[0]


@dataclass(frozen=True)
class Model:
    """A model in which a plant is looked for: in other coordinates, by degree, and as it is stored."""

    plant: Plant
    role: str
    seed: int
    strength: float = 1.0
    dtype: str = "float32"

    @property
    def whole(self) -> bool:
        """Whether all of the change is there, and as it was trained."""
        return self.strength == 1 and self.dtype == "float32"

    @property
    def name(self) -> str:
        """The name of its tables."""
        return f"{self.plant.name}-{self.strength:g}-{self.dtype}"


def main() -> None:
    """Plant, look, and write what was found."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("runs/plants"))
    options.add_argument("--tiny", action="store_true", help="almost no training: does it work?")
    asked = options.parse_args()
    settings = Settings.tiny() if asked.tiny else Settings()
    _claim(asked.out, settings)
    with cpu_threads(1):
        tables = [_scores(model, settings, asked.out) for model in models(settings)]
    scores = pd.concat(tables, ignore_index=True)
    found = recoveries(scores)
    write_table(scores, asked.out / "scores.parquet")
    write_table(found, asked.out / "recoveries.parquet")
    print(*blocks(asked.out).values(), sep="\n\n")


def plants(anatomy: Anatomy, number: int, seed: int) -> list[Plant]:
    """Draw sets of heads and MLPs; every fourth is trained without RL, goals alternate."""
    random = np.random.default_rng(seed)
    drawn: list[Plant] = []
    for place in range(number):
        kinds = MAKE_UPS[place % len(MAKE_UPS)].split()
        chosen: set[str] = set()
        for kind in kinds:
            there = [str(one) for one in anatomy.universe if one.kind == kind and str(one) not in chosen]
            chosen.add(there[random.integers(len(there))])
        method = "sft" if place % 4 == 3 else "rl"
        components = tuple(str(anatomy.parse(" ".join(chosen))).split())
        drawn.append(Plant(f"plant-{place}", components, method, GOALS[place % 2]))
    return drawn


def models(settings: Settings) -> Iterator[Model]:
    """Yield every model that is looked at, those without a plant first."""
    drawn = plants(open_checkpoint(BASE).anatomy(), settings.plants, settings.seed)
    for dtype, strengths in (("float32", (1.0, *settings.strengths)), ("bfloat16", settings.narrow)):
        if not strengths:
            continue
        for number in range(settings.calibration + settings.nulls):
            role = "calibration" if number < settings.calibration else "null"
            yield Model(Plant(f"{role}-{number}", ()), role, 1000 + number, dtype=dtype)
        for strength in strengths:
            for number, plant in enumerate(drawn):
                yield Model(plant, "plant", number, strength, dtype)


def _scores(model: Model, settings: Settings, out: Path) -> pd.DataFrame:
    """Return the scores of a model's components, made before or now."""
    path = out / "scores" / f"{model.name}.parquet"
    if not path.exists():
        started, work = time.monotonic(), out / "work"
        shutil.rmtree(work, ignore_errors=True)
        tuned = _trained(model.plant, settings, out)
        trained = time.monotonic()
        folder = _hidden(model, tuned, work)
        place = arena("endgames")
        situations = place.situations("held-out", settings.situations, settings.seed)
        pairs = open_pair(BASE, folder), open_pair(BASE, aligned(open_pair(BASE, folder), work / "near"))
        rows = [*from_weights(*pairs), *from_takebacks(pairs[1], place, situations, model.plant.goal)]
        if model.whole:
            rows += from_other_hybrids(*pairs, place, situations)
        table = pd.DataFrame(rows)
        table["planted"] = table["component"].isin(model.plant.components)
        facts = {**asdict(model), **asdict(model.plant), "model": model.name}
        facts |= {"components": " ".join(model.plant.components)}
        del facts["plant"], facts["name"]
        for column, value in reversed(facts.items()):
            table.insert(0, column, value)
        write_table(table, path)
        shutil.rmtree(work, ignore_errors=True)
        print(
            f"{model.name}: trained {trained - started:.0f} s, read {time.monotonic() - trained:.0f} s",
            flush=True,
        )
    return read_table(path)


def _trained(plant: Plant, settings: Settings, out: Path) -> str:
    if not plant.components:
        return BASE
    own = {"rl": {"prompts": 32, "completions": 4}, "sft": {"batch": 128}}[plant.method]
    fields = {"method": plant.method, "parent": BASE, "goal": plant.goal, "only": " ".join(plant.components)}
    rest = {"steps": settings.steps, "learning_rate": 3e-4, "seed": settings.seed, "threads": 1}
    return str(
        train(check_recipe({**fields, **rest, **own}), out / "arms" / plant.name, lambda done, all_: None)
    )


def _hidden(model: Model, tuned: str, work: Path) -> Path:
    """Write a tuned model, by degree, in random coordinates."""
    if model.strength != 1:
        pair = open_pair(BASE, tuned)
        between = source_of(f"strength:{1 - model.strength}", pair)
        tuned = str(write_hybrid(hybrid(pair, pair.anatomy().universe, between), work / "weaker"))
    folder = regauged(tuned, work / "other", seed=model.seed)
    if model.dtype == "bfloat16":
        file = folder / "model.safetensors"
        narrow = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}
        save_file(narrow, file, {"format": "pt"})
    return folder


def from_weights(stored: Pair, near: Pair) -> Iterator[dict[str, Any]]:
    """Yield the scores of components by their weights, as stored and aligned."""
    for measure, pair in ((RAW, stored), (NEAR, near)):
        for row in diff(pair).components.itertuples():
            yield {"measure": measure, "component": row.component, "score": float(row.relative)}
    for row in circuits(stored).components.itertuples():
        yield {"measure": CIRCUITS, "component": row.component, "score": float(row.change)}


def from_takebacks(near: Pair, place: Arena[Any], situations: Any, goal: str) -> Iterator[dict[str, Any]]:
    """Yield the scores of components by what they do to behaviour when taken back from the aligned model."""
    wanted = {TAKEN: "total variation", UTILITY: f"utility {goal}", SIGNIFICANT: f"utility {goal}"}
    return _effects("tuned", wanted, Bench(near, place, situations))


def from_other_hybrids(
    stored: Pair, near: Pair, place: Arena[Any], situations: Any
) -> Iterator[dict[str, Any]]:
    """Yield the scores by takebacks from the weights as they are stored, and by grafts onto base."""
    distance = "total variation"
    yield from _effects("tuned", {STORED: distance}, Bench(stored, place, situations))
    yield from _effects("base", {GRAFTED: distance}, Bench(near, place, situations))


def _effects(side: str, wanted: dict[str, str], bench: Bench) -> Iterator[dict[str, Any]]:
    """Read the hybrids of single components; where the two sides are equal bit for bit, nothing is read."""
    anatomy, moved = bench.anatomy, diff(bench.pair)
    squares = zip(moved.segments.parts.components(), moved.by_component.delta_square, strict=True)
    equal = {str(component) for component, square in squares if square == 0}
    names = [str(component) for component in anatomy.universe if str(component) not in equal]
    yield from ({"measure": one, "component": name, "score": 0.0} for name in sorted(equal) for one in wanted)
    taken = Ask if side == "tuned" else Ask.graft
    read = bench.read([taken(anatomy.parse(one)) for one in names])
    for name, after in zip(names, read, strict=True):
        rows = {row["measure"]: row for row in effect_rows(bench.ends[side], after, bench.context, side)}
        for measure, told in wanted.items():
            row = rows[told]
            decided = measure != SIGNIFICANT or row["low"] > 0 or row["high"] < 0
            yield {"measure": measure, "component": name, "score": abs(row["effect"]) if decided else 0.0}


def recoveries(scores: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each model and measure: what was found above the floor of its storage."""
    calm = scores[scores["role"] == "calibration"].groupby(["dtype", "measure"])["score"].max()
    keys = ["model", "role", "method", "goal", "components", "strength", "dtype", "measure"]
    rows: list[dict[str, Any]] = []
    for key, part in scores[scores["role"] != "calibration"].groupby(keys, sort=False):
        told = dict(zip(keys, key, strict=True))
        planted = set(told["components"].split())
        floor = FLOOR * float(calm[told["dtype"], FLOOR_OF.get(told["measure"], told["measure"])])
        got = recovery(dict(zip(part["component"], part["score"], strict=True)), planted, floor)
        counts = {"n_found": len(got.found), "n_planted": len(planted), "hits": len(planted & {*got.found})}
        exact = planted == set(got.found)
        rows.append(
            {**told, "floor": floor, **asdict(got), "found": " ".join(got.found), **counts, "exact": exact}
        )
    return pd.DataFrame(rows).astype(dict.fromkeys(("precision", "recall", "average_precision"), "Float64"))


def _claim(out: Path, settings: Settings) -> None:
    """Say whose folder this is; refuse one with other settings."""
    path, told = out / "settings.json", json.dumps({**asdict(settings), "base": open_checkpoint(BASE).digest})
    if path.exists() and path.read_text(encoding="utf-8") != told:
        raise TakebackError(
            f"{out} holds plants of other settings ({path}); choose another folder or remove it"
        )
    with atomic_file(path) as draft:
        draft.write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main()
