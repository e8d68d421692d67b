"""The views of a run: the measured model of each arm and seed and, where models are loaded, snapshots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from takeback.anatomy import Anatomy
from takeback.checkpoint import Checkpoint
from takeback.component import Component
from takeback.findings.sweep import squared_norms
from takeback.findings.sweep.run import MATCHES
from takeback.findings.sweep.sets import CONTROLS, NamedSet
from takeback.lab.lab import Lab
from takeback.lab.scene import moved_colourings
from takeback.lab.stage import Stage
from takeback.lab.views import View, offered, several
from takeback.measure.bench import Bench
from takeback.policies.load import load_policy
from takeback.policies.policy import Policy
from takeback.run.errors import TakebackError
from takeback.run.tables import read_table, records
from takeback.study.measured import Snapshot
from takeback.study.plan import Plan, final_of, load_plan
from takeback.study.side import MeasuredSide, side_of

MOST: Final = 48
"""Sets of a table that are offered, at most."""

TOLD: Final = ("step", "value", "low", "high")
"""What is told of a measure over training."""

NAMES: Final = ("group", "order", "set", "name")
"""The columns by which tables of findings call their sets, the first that there is."""


def lab_of_run(run: Path, live: bool = False) -> Lab:
    """Return the lab of a run; without `live` it shows what the run holds, and no model is loaded.

    Raises:
        TakebackError: there is no run, or nothing of it was measured.
    """
    plan = load_plan(run / "plan.yaml")
    each = [(arm, seed) for arm in plan.arms for seed in plan.seeds]
    done = [who for who in each if (run / "effects" / f"{_name(who)}.parquet").exists()]
    if not done:
        raise TakebackError(f"{run} has measured no arm yet; run the plan, it goes on")
    models = {f"{arm}, seed {seed}": str(final_of(run, arm, seed)) for arm, seed in done} if live else {}
    views = [view for who in done for view in _views(plan, who, run, models)]
    return Lab(views, list(_course(run)))


def _views(plan: Plan, who: tuple[str, int], run: Path, models: Mapping[str, str]) -> Iterator[View]:
    """Yield the measured model first, then snapshots where models are loaded."""
    arm, seed = who
    title = f"{arm}, seed {seed}" if len(plan.seeds) > 1 else arm

    def opened(snapshot: Snapshot | None = None) -> Stage:
        return _stage(side_of(plan, who, run, load_policy if models else _refused), models, snapshot)

    parent = plan.parent(arm)
    yield View(_name(who), title, opened, arm, seed, None, parent, title)
    folder = final_of(run, *who).parent
    steps = sorted((int(one.name.removeprefix("step-")), one.name) for one in folder.glob("step-*"))
    for step, name in steps if models else ():
        snapped = partial(opened, Snapshot(name, step, 0.0))
        told = f"{title}, step {step}"
        yield View(f"{_name(who)}-{name}", told, snapped, arm, seed, step, parent, told)


def _stage(side: MeasuredSide, models: Mapping[str, str], snapshot: Snapshot | None) -> Stage:
    live, others = bool(models), dict(models)
    others.pop(f"{side.who[0]}, seed {side.who[1]}", None)
    if snapshot is not None:
        moment = replace(side, snapshot=snapshot)
        sets = offered(several(moment.pair.anatomy()))
        found = moment.moved
        bench = moment.bench.about_all()
        return Stage(bench, squared_norms(found), moved_colourings(found.components), sets, (), others)
    bench = side.bench
    if not live:
        setup = replace(bench.setup, load=_refused)
        bench = Bench(bench.pair, bench.arena, bench.situations, side.plan.measures, setup)
    moved = read_table(side.out / "diff" / side.name / "components.parquet")
    delta = {Component.parse(row["component"]): row["delta_norm"] ** 2 for row in records(moved)}
    swept = list(_swept(side.swept, bench.anatomy))
    plain = [one for one in swept if one.family not in CONTROLS and len(one.components) > 1]
    found = list(_found(side.out / "localise" / side.name, bench.anatomy))
    stage = Stage(
        bench.about_all(), delta, moved_colourings(moved), [*found, *offered(plain)], swept, others, live
    )
    if not live and stage.bench.unread([stage.nothing, stage.everything]):
        raise TakebackError(
            f"{side.run} holds no readouts of {side.name} that can be read here: run its plan again with "
            "readouts: true, or show it with --live"
        )
    return stage


def _refused(model: Checkpoint, arena: Any, *, placement: Any) -> Policy:
    raise TakebackError(f"this needs {model.ref}, and a record is shown without models; use --live")


def _swept(path: Path, anatomy: Anatomy) -> Iterator[NamedSet]:
    """Yield the sets of a sweep, random ones among them."""
    columns = ["family", "set", "components", "matches"]
    table = read_table(path, columns).drop_duplicates()
    for row in records(table):
        matches = tuple(one for one in str(row["matches"] or "").split(MATCHES) if one)
        yield NamedSet(row["family"], row["set"], anatomy.parse(row["components"]), matches)


def _found(folder: Path, anatomy: Anatomy) -> Iterator[dict[str, str]]:
    """Yield the sets that findings name: smallest ones, groups, and whatever a table has components of."""
    for path in sorted(folder.glob("*.parquet")):
        table = read_table(path)
        name = next((one for one in NAMES if one in table), None)
        if name is None or "components" not in table:
            continue
        kept = table[~table["family"].isin(CONTROLS)] if "family" in table else table
        for row in records(kept.drop_duplicates("components").head(MOST)):
            told = [str(row[one]) for one in ("measure", "direction") if row.get(one)]
            yield {
                "family": path.stem,
                "name": str(row[name]),
                "set": str(anatomy.parse(row["components"])),
                "title": str(row[name]),
                "note": ", ".join(told),
            }


def _course(run: Path) -> Iterator[dict[str, Any]]:
    """Yield how measures went over training, by arm and seed."""
    whole = run / "behaviour" / "policies.parquet"
    parts = [whole] if whole.exists() else sorted(whole.parent.glob(f"*/{whole.name}"))
    rows = [row for path in parts for row in records(read_table(path).sort_values("step", kind="stable"))]
    found: dict[tuple[str, int], dict[str, dict[str, list[Any]]]] = {}
    for row in rows:
        measures = found.setdefault((row["arm"], row["seed"]), {})
        columns = measures.setdefault(row["measure"], {of: [] for of in TOLD})
        for of, values in columns.items():
            values.append(row[of])
    for (arm, seed), measures in found.items():
        yield {"arm": arm, "seed": seed, "measures": measures}


def _name(who: tuple[str, int]) -> str:
    return f"{who[0]}-seed-{who[1]}"
