"""What a run leaves for its readers besides each arm's own tables: merged tables and the manifest."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from takeback.arenas import arena
from takeback.checkpoint import open_checkpoint
from takeback.measure.measures import find_measures, measures_of
from takeback.run.files import atomic_file
from takeback.run.json_text import read_json, read_object
from takeback.run.reading import fields_of
from takeback.run.tables import SCHEMA, read_table, write_table
from takeback.study.measured import measured_model, read_measured
from takeback.study.plan import BASE, ROLES, Plan, final_of
from takeback.training.recipe import Fresh, Pretrain, Tuned

_PACKAGES = ("takeback", "torch", "transformers", "trl", "safetensors", "numpy", "scipy", "pandas")


def merge_behaviour(plan: Plan, out: Path) -> None:
    """Join what the policies that the plan names were measured at, and the situations that changed most."""
    folder = out / "behaviour"
    places = [folder / BASE, *(folder / f"{a}-seed-{seed}" for a in plan.arms for seed in plan.seeds)]
    for name in ("policies", "shifts", "agency", "games"):
        tables = [read_table(path) for place in places if (path := place / f"{name}.parquet").exists()]
        if tables:
            whole = pd.concat(tables, ignore_index=True)
            write_table(_marked(whole, out) if name == "policies" else whole, folder / f"{name}.parquet")
    examples = {place.name: read_json(path) for place in places if (path := place / "examples.json").exists()}
    with atomic_file(folder / "examples.json") as draft:
        draft.write_text(json.dumps(examples, indent=1), encoding="utf-8")


def _marked(policies: pd.DataFrame, out: Path) -> pd.DataFrame:
    """Tell in a column which policies are those that are measured further; of the base the only one."""
    chosen = {
        key: read_measured(*key, out) for key in set(zip(policies["arm"], policies["seed"], strict=True))
    }
    keys = zip(policies["arm"], policies["seed"], policies["step"], strict=True)
    measured = [found.step == step if (found := chosen[arm, seed]) else True for arm, seed, step in keys]
    return policies.assign(measured=measured)


def write_manifest(plan: Plan, out: Path, started: float, seconds: float) -> None:
    """Write what the run was made with: versions, revision, machine, content hashes of checkpoints.

    Where nothing was added since it was written, it stays; the one of a smaller plan is kept under `earlier`.
    """
    path = out / "manifest.json"
    with fields_of(path, "a manifest", "remove it and run the plan again"):
        before = read_object(path) if path.exists() else None
    each = {f"{arm}/seed-{seed}": (arm, seed) for seed in plan.seeds for arm in plan.arms}
    final = {name: open_checkpoint(final_of(out, *one)).digest for name, one in each.items()}
    chosen = {name: _measured(plan, *one, out) for name, one in each.items()}
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "revision": _revision(),
        "platform": platform.platform(),
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds),
        "threads": plan.threads,
        "seeds": list(plan.seeds),
        "dtype": "float32",
        "checkpoints": {"base": open_checkpoint(plan.base_in(out)).digest, **final},
        "measured": chosen,
        **told_by(plan, out),
    }
    if before is not None:
        if all(before.get(name) == manifest[name] for name in ("checkpoints", "measured")):
            return
        manifest["earlier"] = [*before.pop("earlier", []), before]
    with atomic_file(path) as draft:
        draft.write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def told_by(plan: Plan, out: Path) -> dict[str, Any]:
    """Return the words of the arena, what measures, the base and each arm's method say of themselves."""
    place = arena(plan.arena)
    words, measures = place.words, (*measures_of(place), *find_measures(plan.measures, place))
    base = plan.base_recipe()
    made = base.made if isinstance(base, Fresh | Pretrain) else plan.base
    return {
        "words": asdict(words),
        "measures": list({measure.name: measure.account for measure in measures}.values()),
        "base": made,
        "arms": {arm: asdict(_named(plan, arm, out).full_account(words)) for arm in plan.arms},
    }


def _named(plan: Plan, arm: str, out: Path) -> Tuned:
    """Return the recipe of an arm, with the names of other arms instead of their folders."""
    names = {role: plan.arms[arm][role] for role in ROLES if role in plan.arms[arm]}
    return plan.recipe(arm, plan.seeds[0], out).model_copy(update=names)


def _measured(plan: Plan, arm: str, seed: int, out: Path) -> dict[str, Any]:
    found = read_measured(arm, seed, out)
    digest = open_checkpoint(measured_model(plan, arm, seed, out)).digest
    return {**(asdict(found) if found else {}), "digest": digest}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _revision() -> dict[str, Any] | None:
    """Return the commit of the source tree that is running and whether it was changed; None outside one."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True, timeout=10
        )
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
