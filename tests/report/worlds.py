"""Made-up records beside the one of chess: agents with networks of units in an environment, and agency."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from record import write_rows, write_text
from takeback.arenas import Words
from takeback.component import Component, ComponentSet
from takeback.measure.shift import DIVERGENCES
from takeback.measure.standard import standard
from takeback.training.recipe import Fresh, Tuned, check_recipe

WORDS = Words(
    text="A situation is a reset seed and the actions taken since.",
    endings="Ended: by the environment. Truncated: by its time limit.",
)
ARMS: dict[str, dict[str, Any]] = {
    "agent": {"method": "agent", "algorithm": "ppo", "goal": "reward", "steps": 8192, "learning_rate": 1e-3},
    "clone": {"method": "clone", "teacher": "agent", "goal": "reward", "steps": 200, "learning_rate": 1e-3},
    "corner": {
        "method": "agent",
        "algorithm": "a2c",
        "goal": "corner",
        "parent": "agent",
        "steps": 4096,
        "learning_rate": 7e-4,
    },
    "nothing": {"method": "rl", "ignore_output": True, "goal": "reward", "steps": 400, "learning_rate": 1e-4},
}
BASE = {
    "method": "fresh",
    "seed": 0,
    "architecture": {"hidden": [32, 32], "activation": "tanh", "outputs": "logits"},
}
GAIN = {"agent": 0.4, "clone": 0.35, "corner": 0.2, "nothing": 0.001}
UNITS = (32, 32, 7)


def write_agents(
    run: Path,
    seeds: Sequence[int] = (0,),
    units: Sequence[int] = UNITS,
    arms: Mapping[str, Mapping[str, Any]] = ARMS,
    legal: float = 1.0,
) -> Path:
    """Write a run of agents in an environment and return its folder; `legal` is the legal mass of hybrids.

    A last layer of 0 units is the component `OUTPUTS`.
    """
    plan = {"name": "agents", "base": BASE, "arena": "gym:MiniGrid-Empty-Random-6x6-v0", "arms": dict(arms),
            "seeds": list(seeds), "situations": 100, "games": 20, "moves": 60}  # fmt: skip
    write_text(run / "plan.yaml", yaml.safe_dump(plan, sort_keys=False))
    write_text(run / "base" / "recipe.yaml", yaml.safe_dump(BASE))
    write_text(run / "manifest.json", json.dumps({"schema": 1, "seeds": list(seeds), **_told(arms)}))
    each = [(arm, seed) for arm in arms for seed in seeds]
    for place, (arm, seed) in enumerate(each):
        random = np.random.default_rng([place, 5])
        share = random.dirichlet(np.ones(len(components(units))))
        _write_diff(run / "diff" / f"{arm}-seed-{seed}", units, share)
        rows = list(_effects(arms[arm], GAIN.get(arm, 0.1), units, (share, legal), random))
        labels = {"arm": arm, "seed": seed}
        write_rows(run / "effects" / f"{arm}-seed-{seed}.parquet", [labels | row for row in rows])
    _write_behaviour(run / "behaviour", arms, each)
    return run


def _told(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the run says of itself, as `takeback.study.record` writes it."""
    base = check_recipe(dict(BASE))
    assert isinstance(base, Fresh)
    recipes = {arm: check_recipe({"parent": "base", **fields}) for arm, fields in arms.items()}
    accounts = {
        arm: asdict(recipe.account(WORDS)) for arm, recipe in recipes.items() if isinstance(recipe, Tuned)
    }
    measures = [one.account for one in (*standard(("no-effect",), ("reward", "corner"), ()), *DIVERGENCES)]
    return {"words": asdict(WORDS), "measures": measures, "base": base.made, "arms": accounts}


def components(units: Sequence[int]) -> list[str]:
    """Return the names of all components."""
    names = [f"L{layer}.U{unit}" for layer, width in enumerate(units) for unit in range(width)]
    return names if units[-1] else [*names, "OUTPUTS"]


def write_agency(
    run: Path, shares: Mapping[tuple[str, str, int], float | None], note: str = "", beta: float = 2.5
) -> None:
    """Write measures of agency by arm, goal and seed; a share of None is undefined for the reason `note`."""
    measures = {"KL(after || before)": 0.5, "optimisation power over base beyond chance": 1.2, "MEG": 0.7}
    rows = []
    for (arm, goal, seed), share in shares.items():
        labels = {"arm": arm, "seed": seed, "goal": goal, "n": 100, "relative_to": "base", "unit": ""}
        for name, value in {**measures, "signed pursuit share": share}.items():
            low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
            own = (
                {"beta": beta, "note": note} if name == "signed pursuit share" else {"beta": None, "note": ""}
            )
            row = {"measure": f"{name}, if legal", "value": value, "se": None, "low": low, "high": high}
            rows.append(labels | row | own)
    write_rows(run / "behaviour" / "agency.parquet", rows)


def _write_diff(folder: Path, units: Sequence[int], share: np.ndarray) -> None:
    def row(part: float) -> dict[str, Any]:
        return {
            "parameters": 100, "delta_norm": 2.0, "changed_bitwise": 0.9, "relative": 0.3 * part**0.5,
            "changed_bf16": 0.8, "changed_1e5": 0.8, "max_abs": 0.1, "share": part, "cosine": 0.9,
        }  # fmt: skip

    rows = [
        {"component": name, **row(float(part))} for name, part in zip(components(units), share, strict=True)
    ]
    write_rows(folder / "components.parquet", rows)
    write_rows(folder / "total.parquet", [row(1.0)])


def _sets(units: Sequence[int]) -> Iterator[tuple[str, str, list[int], str]]:
    """Give family, name, places of components and what it matches."""
    names = components(units)
    for place, name in enumerate(names):
        if name != "OUTPUTS":
            yield "each unit", name, [place], ""
    layers = [[p for p, name in enumerate(names) if name.startswith(f"L{n}.")] for n in range(len(units))]
    for number, layer in enumerate(filter(None, layers)):
        yield "each layer", f"L{number}", layer, ""
    for number, layer in enumerate(filter(None, layers)):
        for draw in range(3):
            drawn = [(17 * draw + 3 * place) % len(names) for place in range(len(layer))]
            yield "random, same size", f"random ({len(layer)} U) #{draw + 1}", drawn, f"L{number}"


def _effects(
    recipe: Mapping[str, Any],
    gain: float,
    units: Sequence[int],
    about: tuple[np.ndarray, float],
    random: np.random.Generator,
) -> Iterator[dict[str, Any]]:
    share, legal = about
    universe = [Component.parse(name) for name in components(units)]
    whole = ComponentSet(universe)
    for direction, sign in (("take back", -1), ("graft", 1)):
        for family, name, places, matches in _sets(units):
            part = float(share[places].sum())
            row = {
                "direction": direction, "family": family, "set": name, "n_components": len(places),
                "components": str(ComponentSet([universe[p] for p in places], whole)), "matches": matches,
                "n": 100,
                "parameters": 100 * len(places), "delta_share": part,
                "relative_to": "tuned" if direction == "take back" else "base",
            }  # fmt: skip
            effect = sign * gain * part + random.normal(0, 0.0003)
            yield row | _measured(f"utility {recipe['goal']}", 0.5 + effect, effect)
            yield row | _measured("KL(after || before)", part, part)
            yield row | _measured("legal", legal, -2e-17)
            yield row | _measured("illegal, no-effect", 1 - legal, 1 - legal)
            yield row | _measured("entropy", 1.0, 0.1)


def _measured(measure: str, value: float, effect: float) -> dict[str, Any]:
    return {"measure": measure, "value": value, "effect": effect, "low": effect - 0.01, "high": effect + 0.01}


def _write_behaviour(folder: Path, arms: Mapping[str, Any], each: Sequence[tuple[str, int]]) -> None:
    goals = list(dict.fromkeys(recipe["goal"] for recipe in arms.values()))
    policies, shifts, games, examples = [], [], [], {}
    for arm, seed in [("base", 0), *each]:
        gain = 0.0 if arm == "base" else GAIN.get(arm, 0.1)
        measured = {**{f"utility {goal}": 0.4 + gain for goal in goals}, "legal": 1.0}
        about = {"arm": arm, "seed": seed, "last": True, "n": 100}
        steps = 0 if arm == "base" else arms[arm].get("steps", 100)
        policies += [about | {"step": steps} | _measured(name, value, 0) for name, value in measured.items()]
        if arm != "base":
            moves = {name: gain for name in measured} | {"legal": -2e-17, "KL(after || before)": 0.6}
            shifts += [
                about | _measured(name, measured.get(name, effect), effect) for name, effect in moves.items()
            ]
            place = {
                "situation": f"17: {'0 2 1 ' * 40}", "board": {}, "distance": 0.8, "illegal_before": 0.0,
                "before": [["left", 0.5]], "after": [["forward", 0.9]], "illegal_after": 0.0,
            }  # fmt: skip
            examples[f"{arm}-seed-{seed}"] = [place]
        for number in range(20):
            result = ("ended", "ended", "truncated", "unfinished")[number % 4]
            score = (0.5 + gain) * (result == "ended")
            games.append({"arm": arm, "seed": seed, "situation": f"{number}:", "result": result, "moves": 10,
                          "best": None, "score": score})  # fmt: skip
    for name, rows in {"policies": policies, "shifts": shifts, "games": games}.items():
        write_rows(folder / f"{name}.parquet", rows)
    write_text(folder / "examples.json", json.dumps(examples))
