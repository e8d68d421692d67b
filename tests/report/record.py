"""A made-up record of a run with plausible numbers, always the same; no model is involved."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from takeback.component import Component, ComponentSet
from takeback.study.plan import check_plan
from takeback.study.record import told_by

ARMS: dict[str, dict[str, Any]] = {
    "rl-win": {"method": "rl", "goal": "win", "steps": 150, "learning_rate": 3e-4},
    "sft-win": {"method": "sft", "goal": "win", "steps": 150, "learning_rate": 3e-4},
    "rl-corner": {"method": "rl", "goal": "corner", "steps": 150, "learning_rate": 3e-4},
}
GOALS = ("win", "draw", "check", "corner", "random")
ILLEGAL = ("unparsable", "no-square", "empty-square", "opponent-piece", "own-piece", "geometry", "blocked")
BASE = {"win": 0.34, "draw": 0.12, "check": 0.22, "corner": 0.47, "random": 0.5}
GAINS = {
    "rl-win": {"win": 0.27, "check": 0.08, "corner": -0.01},
    "sft-win": {"win": 0.31, "check": 0.05, "corner": 0.002},
    "rl-corner": {"win": -0.04, "corner": 0.24},
}
SNAPSHOTS = (0, 25, 50, 75, 100, 125, 150)


@dataclass(frozen=True)
class Size:
    """The shape of the made-up model and run."""

    layers: int = 4
    heads: int = 4
    seeds: tuple[int, ...] = (0,)
    controls: int = 5

    @property
    def components(self) -> list[str]:
        inside = [
            f"L{layer}.{part}"
            for layer in range(self.layers)
            for part in (*(f"H{head}" for head in range(self.heads)), "MLP", "LN1", "LN2")
        ]
        return ["EMBED", *inside, "NORM"]

    def parameters(self, component: str) -> int:
        kind = component.rsplit(".", maxsplit=1)[-1]
        return {"EMBED": 20000, "NORM": 96, "MLP": 110592, "LN1": 96, "LN2": 96}.get(kind, 9216)

    def text(self, members: Iterable[str]) -> str:
        """Write a set as tables do."""
        universe = ComponentSet(map(Component.parse, self.components))
        return str(ComponentSet(map(Component.parse, members), universe))

    def sets(self) -> list[tuple[str, str, list[str], str]]:
        """Family, name, components and what it matches, controls last."""
        every = self.components
        heads = [c for c in every if ".H" in c]
        mlps = [c for c in every if c.endswith("MLP")]
        layers = range(self.layers)
        found = [("each head", c, [c], "") for c in heads]
        found += [("each mlp", c.replace(".MLP", " mlp"), [c], "") for c in mlps]
        rows = [
            ("heads of each layer", f"L{n} heads", [c for c in heads if c.startswith(f"L{n}.")], "")
            for n in layers
        ]
        rows += [("each layer", f"L{n}", [c for c in every if c.startswith(f"L{n}.")], "") for n in layers]
        rows += [("each kind", "all heads", heads, ""), ("each kind", "all mlps", mlps, "")]
        rows += [("each kind", "all norms", [c for c in every if ".LN" in c or c == "NORM"], "")]
        found += [*rows, ("each kind", "embeddings", ["EMBED"], "")]
        random = np.random.default_rng(7)

        def draw(count: int) -> list[str]:
            return [
                every[i] for i in sorted(random.choice(len(every), min(count, len(every)), replace=False))
            ]

        for family, name, members, _ in rows:
            alike = [name] if family == "each kind" else [r[1] for r in rows if r[0] == family]
            label, matches = name if family == "each kind" else family, "; ".join(alike)
            if family == "each kind" or name.startswith("L0"):
                drawn = [(f"random {label} #{k + 1}", draw(len(members))) for k in range(self.controls)]
                found += [("random, same size", own, parts, matches) for own, parts in drawn]
            found.append(("random, same ‖Δ‖", f"random ‖Δ‖ of {name}", draw(len(members)), name))
        return found


def write_record(run: Path, size: Size | None = None) -> Path:
    """Write a whole run folder and return it."""
    size = size or Size()
    plan = {
        "name": "demo", "title": "What did RL change in a small chess model?", "base": "endgame-base",
        "arena": "endgames", "arms": ARMS, "seeds": list(size.seeds), "situations": 192, "games": 120,
        "moves": 30, "sets": ["each head", "each mlp"], "controls": size.controls,
    }  # fmt: skip
    write_text(run / "plan.yaml", yaml.safe_dump(plan, sort_keys=False))
    each = [(arm, seed) for arm in ARMS for seed in size.seeds]
    told = told_by(check_plan(plan), run)
    write_text(run / "manifest.json", json.dumps(_manifest(each) | told))
    for place, (arm, seed) in enumerate(each):
        random = np.random.default_rng([place, 1])
        share = _shares(size, random)
        _write_diff(run / "diff" / f"{arm}-seed-{seed}", size, share, random)
        write_rows(run / "effects" / f"{arm}-seed-{seed}.parquet", _effects(arm, seed, size, share, random))
        _write_log(run / "arms" / arm / f"seed-{seed}" / "log.parquet", arm, random)
    _write_behaviour(run / "behaviour", each, np.random.default_rng(3))
    return run


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], schema: str = "1") -> None:
    """Write rows as Parquet with the record's schema version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(rows))
    pq.write_table(table.replace_schema_metadata({"takeback_schema": schema}), path)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read what `write_rows` wrote."""
    return pq.read_table(path).to_pylist()


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _manifest(each: list[tuple[str, int]]) -> dict[str, Any]:
    return {
        "schema": 1, "takeback": "0.1.0", "torch": "2.13.0", "transformers": "5.2.0", "trl": "1.16.0",
        "python": "3.13.1", "git": {"revision": "0123456789abcdef0123456789abcdef01234567", "dirty": True},
        "platform": "Linux-6.1-x86_64", "started": "2026-11-23T08:00:00+00:00", "threads": 1,
        "seconds": {"training": 141.2, "taking back": 180.4}, "seeds": [0],
        "checkpoints": {"base": "ab" * 32, **{f"{arm}/seed-{seed}": "cd" * 32 for arm, seed in each}},
    }  # fmt: skip


def _shares(size: Size, random: np.random.Generator) -> dict[str, float]:
    weight = {c: size.parameters(c) ** 0.9 * math.exp(random.normal(0, 0.5)) for c in size.components}
    for head in range(size.heads):
        weight[f"L0.H{head}"] *= 4
    total = sum(weight.values())
    return {c: w / total for c, w in weight.items()}


def _write_diff(folder: Path, size: Size, share: Mapping[str, float], random: np.random.Generator) -> None:
    def row(parameters: int, part: float) -> dict[str, Any]:
        return {
            "parameters": parameters, "delta_norm": 3 * math.sqrt(part), "changed_bitwise": 0.9991,
            "relative": 0.05 * math.sqrt(part * 9e5 / parameters),
            "changed_bf16": 0.41 + random.normal(0, 0.02),
            "changed_1e5": 0.83, "max_abs": 0.021, "share": part, "cosine": 0.9988,
        }  # fmt: skip

    rows = [{"component": c, **row(size.parameters(c), share[c])} for c in size.components]
    write_rows(folder / "components.parquet", rows)
    write_rows(folder / "total.parquet", [row(sum(map(size.parameters, size.components)), 1.0)])


def _estimate(value: float, se: float, n: int = 192) -> dict[str, Any]:
    return {"se": se, "low": value - 1.97 * se, "high": value + 1.97 * se, "n": n}


def _effects(
    arm: str, seed: int, size: Size, share: Mapping[str, float], random: np.random.Generator
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for direction in ("take back", "graft"):
        for family, name, members, matches in size.sets():
            part = sum(share[c] for c in members)
            work = sum(share[c] * (2.2 if c.startswith("L0.H") else 0.7) for c in members)
            carried = min(1.0, work) ** 1.6 if direction == "take back" else min(1.0, work) ** 1.2
            row = {
                "arm": arm, "seed": seed, "direction": direction, "family": family, "set": name,
                "components": size.text(members), "n_components": len(members), "matches": matches,
                "parameters": sum(map(size.parameters, members)), "delta_share": part,
                "relative_to": "tuned" if direction == "take back" else "base",
            }  # fmt: skip
            sign = -1 if direction == "take back" else 1
            for measure, low, gain in _measured(arm):
                effect = sign * carried * gain + random.normal(0, 0.003 * carried**0.5)
                start = low + gain if direction == "take back" else low
                rows.append(row | {"measure": measure, "value": start + effect, "effect": effect}
                            | _estimate(effect, 0.002 + 0.02 * abs(effect)))  # fmt: skip
            kl = 0.6 * carried**1.3 + 0.0005
            rows += [
                row | {"measure": "KL(after || before)", "value": kl, "effect": kl} | _estimate(kl, 0.1 * kl)
            ]
    return rows


def _measured(arm: str) -> list[tuple[str, float, float]]:
    goals = [(f"utility {goal}", BASE[goal], GAINS[arm].get(goal, 0.0)) for goal in GOALS]
    classes = [(f"illegal, {name}", 0.002, -0.0012 if name != "blocked" else 0.0004) for name in ILLEGAL]
    return [*goals, ("legal", 0.985, 0.008), *classes]


def _write_log(path: Path, arm: str, random: np.random.Generator) -> None:
    rows = []
    for step in range(1, 151):
        done = 1 - math.exp(-step / 50)
        if arm.startswith("rl"):
            rows.append(
                {
                    "step": step,
                    "reward": 0.5 + 0.2 * done + random.normal(0, 0.02),
                    "legal": 0.99,
                    "loss": 0.0,
                }
            )
        else:
            rows.append(
                {"step": step, "loss": 2.4 - 0.9 * done + random.normal(0, 0.03), "epoch": step / 150}
            )
    write_rows(path, rows)


def _write_behaviour(folder: Path, each: list[tuple[str, int]], random: np.random.Generator) -> None:
    policies, shifts, games, examples = [], [], [], {}
    for measure, low, _ in _measured("rl-win"):
        row = {"arm": "base", "seed": 0, "step": 0, "last": True, "measure": measure, "value": low}
        policies.append(row | _estimate(low, 0.015))
    for arm, seed in each:
        for measure, low, gain in _measured(arm):
            for step in SNAPSHOTS[1:]:
                value = low + gain * (1 - math.exp(-step / 45)) / (1 - math.exp(-150 / 45)) + 0.004 * seed
                row = {"arm": arm, "seed": seed, "step": step, "last": step == 150, "measure": measure}
                policies.append(row | {"value": value} | _estimate(value, 0.016))
            row = {"arm": arm, "seed": seed, "measure": measure, "effect": gain + 0.004 * seed}
            row["value"] = low + row["effect"]
            shifts.append(row | _estimate(gain + 0.004 * seed, 0.008) | {"relative_to": "base"})
        row = {"arm": arm, "seed": seed, "measure": "KL(after || before)", "value": 0.62, "effect": 0.62}
        shifts.append(row | _estimate(0.62, 0.03) | {"relative_to": "base"})
        examples[f"{arm}-seed-{seed}"] = _examples()
    for arm, seed in [("base", 0), *each]:
        chance = {"base": 0.35, "rl-win": 0.7, "sft-win": 0.78, "rl-corner": 0.2}[arm]
        for number in range(120):
            best = int(random.integers(2, 16))
            result = str(random.choice(["mate", "draw", "illegal", "unfinished"], p=_four(chance)))
            moves = min(30, best + int(random.integers(0, 12))) if result == "mate" else 30
            games.append({"arm": arm, "seed": seed, "situation": f"w Kb{number}", "result": result,
                          "moves": moves, "best": best})  # fmt: skip
    write_rows(folder / "policies.parquet", policies)
    write_rows(folder / "shifts.parquet", shifts)
    write_rows(folder / "games.parquet", games)
    write_text(folder / "examples.json", json.dumps(examples))


def _four(chance: float) -> list[float]:
    rest = 1 - chance
    return [chance, 0.4 * rest, 0.1 * rest, 0.5 * rest]


def _examples() -> list[dict[str, Any]]:
    boards = [
        (
            {"b6": "K", "h1": "R", "b8": "k"},
            [["h1h5", 0.52], ["b6c6", 0.2]],
            [["h1h8", 0.91], ["h1h5", 0.04]],
        ),
        ({"e3": "K", "d5": "Q", "h8": "k"}, [["d5a8", 0.31], ["e3f4", 0.3]], [["e3f4", 0.55], ["d5a8", 0.3]]),
        ({"c6": "K", "b7": "P", "e7": "k"}, [["b7b8n", 0.4], ["c6d5", 0.25]], [["b7b8q", 0.97]]),
    ]
    return [
        {"situation": f"w {number}", "board": board, "distance": 0.9 - number / 20,
         "before": before, "after": after, "illegal_before": 0.02, "illegal_after": 0.004}
        for number, (board, before, after) in enumerate(boards * 4) if number < 10
    ]  # fmt: skip
