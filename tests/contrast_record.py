"""A made-up record of a study with a planted carrier; no model is involved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from takeback.run.tables import write_table
from takeback.study.by_situation import OWN
from takeback.study.pursuit import KL, PURSUIT, SHARE

COMPONENTS = [f"L{layer}.{part}" for layer in range(4) for part in ("H0", "H1", "H2", "MLP")]
CARRIER = "L1.H1"
ARM = {"method": "sft", "steps": 2, "learning_rate": 1e-3}
ARMS = {
    name: {**ARM, "goal": name.split("-")[1]}
    for name in ("rl-win", "rl-corner", "rft-win", "rft-corner", "sft-win")
}
CONTRASTS = {
    "optimiser": {"rl-win": 1, "rft-win": -1},
    "optimisers": {"rl-win": "1/2", "rl-corner": "1/2", "rft-win": "-1/2", "rft-corner": "-1/2"},
    "alone": {"rl-win": 1},
}
CARRIERS = {"of": ["rl-win", "rl-corner"], "than": ["rft-win", "rft-corner"]}


def draw(
    extra: Mapping[str, float], seeds: Sequence[int], probe: bool
) -> dict[tuple[str, int], dict[str, np.ndarray]]:
    """Draw the losses of every run: pursuit follows legality, and with `probe` another skill.

    The carrier loses `extra` more, by arm.
    """
    level, skill = np.random.default_rng(0).exponential(0.05, size=(2, len(COMPONENTS)))
    found: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    for place, arm in enumerate(ARMS):
        for seed in seeds:
            rng = np.random.default_rng([place, seed])
            legal = level + rng.normal(0, 0.002, size=len(COMPONENTS))
            skilled = skill + rng.normal(0, 0.002, size=len(COMPONENTS))
            lost = 0.5 * legal + rng.normal(0, 0.01, size=len(COMPONENTS)) + (skilled if probe else 0)
            lost[COMPONENTS.index(CARRIER)] += extra.get(arm, 0.0)
            found[arm, seed] = {"legal": legal, "probe": skilled, "lost": lost}
    return found


def quantity_table(extra: Mapping[str, float]) -> pd.DataFrame:
    """Return the quantities that the rule needs."""
    rows = []
    for (arm, seed), drawn in draw(extra, range(8), probe=False).items():
        frame = pd.DataFrame({"component": COMPONENTS, "value": -drawn["lost"]})
        rows.append(frame.assign(arm=arm, seed=seed, source="take back", measure=OWN))
    return pd.concat(rows, ignore_index=True)


def write_study(
    run: Path, extra: Mapping[str, float], seeds: Sequence[int] = range(8), probe: bool = False
) -> Path:
    """Write a run of what `draw` draws."""
    run.mkdir(parents=True)
    plan = {
        "name": "made-up",
        "base": "endgame-base",
        "seeds": list(seeds),
        "arms": ARMS,
        "contrasts": CONTRASTS,
        "carriers": CARRIERS,
    }
    (run / "plan.yaml").write_text(yaml.safe_dump(plan))
    for place, ((arm, seed), drawn) in enumerate(draw(extra, seeds, probe).items()):
        numbers = drawn["legal"], drawn["lost"]
        _write_run(run, f"{arm}-seed-{seed}", ARMS[arm]["goal"], numbers, np.random.default_rng(place))
        if probe:
            _write_probe(run / "probes" / f"{arm}-seed-{seed}.parquet", drawn["probe"])
    return run


def _write_run(
    run: Path, name: str, goal: str, numbers: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> None:
    legal, lost = numbers
    moved = rng.uniform(0.01, 0.1, size=len(COMPONENTS))
    frame = pd.DataFrame({"component": COMPONENTS, "relative": moved, "share": moved / moved.sum()})
    write_table(frame, run / "diff" / name / "components.parquet")
    singles = pd.DataFrame({"family": "each head", "set": COMPONENTS, "components": COMPONENTS})
    random = {"family": "random, same size", "set": "random #1", "components": "L0.H0 L1.H0"}
    effects = [
        _effects(singles, "take back", "legal", -legal),
        _effects(singles, "graft", "legal", legal),
        _effects(singles, "take back", f"utility {goal}", -lost),
        _effects(pd.DataFrame([random]), "take back", "legal", np.array([-0.3])),
        _effects(pd.DataFrame([{**random, "family": "each layer"}]), "take back", "legal", np.array([-9.0])),
    ]
    write_table(pd.concat(effects, ignore_index=True), run / "effects" / f"{name}.parquet")
    losses = [
        pd.DataFrame({"component": COMPONENTS, "measure": measure, "loss": factor * lost})
        for measure, factor in ((SHARE, 1.0), (PURSUIT, 2.0), (KL, 3.0))
    ]
    table = pd.concat(losses, ignore_index=True).assign(made_of="by hand")
    write_table(table, run / "pursuit" / f"{name}.parquet")
    shifts = pd.DataFrame(
        {"measure": [f"utility {goal}", "legal"], "effect": [0.2 + rng.normal(0, 0.01), 1e-17]}
    )
    write_table(shifts, run / "behaviour" / name / "shifts.parquet")


def _effects(sets: pd.DataFrame, direction: str, measure: str, effect: np.ndarray) -> pd.DataFrame:
    counted = sets.assign(n_components=sets["components"].str.split().str.len())
    return counted.assign(direction=direction, measure=measure, effect=effect)


def _write_probe(path: Path, lost: np.ndarray) -> None:
    sets = pd.DataFrame({"set": COMPONENTS, "components": COMPONENTS})
    write_table(
        sets.assign(direction="take back", measure="probe mate in one", value=0.5, effect=-lost), path
    )
