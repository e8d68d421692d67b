"""Reading the record of a run; nothing here trains or measures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from takeback.arenas import Words
from takeback.draw.page import Section
from takeback.measure.shift import KL
from takeback.measure.standard import LEGAL
from takeback.report.record import Arm, ArmChange, Record, matched
from takeback.report.rows import (
    BASE,
    DIRECTIONS,
    TAKE_BACK,
    Agency,
    Effect,
    Example,
    GameRow,
    MeasureAccount,
    Moved,
    MovedComponent,
    Reading,
    Shift,
    TableRow,
)
from takeback.run.errors import TakebackError
from takeback.run.json_text import read_json, read_object
from takeback.run.reading import fields_of
from takeback.run.tables import read_table, records
from takeback.run.yaml_text import read_yaml

R = TypeVar("R", bound=TableRow)

TOLD = frozenset({"words", "measures", "base", "arms"})
"""Fields of a manifest in which a run's arena, measures, base and arms say what they are."""

LOCALISED = ("localise", "explain")
"""The manifests in a run's `localise` folders, in the order they are shown."""

CONTRASTS = ("contrasts",)
"""The manifest of what arms differ in."""
CONJECTURES = ("conjectures",)
"""The manifest of what became of a run's conjectures."""


def read_record(run: Path) -> Record:
    """Read a run folder.

    Raises:
        TakebackError: the folder or a part that no report can do without is missing or can't be read.
    """
    if not run.is_dir():
        raise TakebackError(f"no run folder at {run}; `takeback demo` makes one")
    with fields_of(run, "a run", "run the plan again"):
        return _read(run)


def _read(run: Path) -> Record:
    plan = _plan(run / "plan.yaml")
    seeds = tuple(plan.get("seeds") or (0,))
    each = [(arm, seed) for arm in plan["arms"] for seed in seeds]
    _all_there(run, each)
    manifest = read_object(run / "manifest.json")
    told = _told(run, manifest)
    arms = tuple(
        _arm(run, name, place, seeds, (fields, told["arms"].get(name, {})))
        for place, (name, fields) in enumerate(plan["arms"].items())
    )
    measures = MeasureAccount.read(told["measures"], run / "manifest.json")
    games, agency = (run / "behaviour" / f"{name}.parquet" for name in ("games", "agency"))
    logs: dict[tuple[str, int], tuple[Mapping[str, Any], ...]] = {}
    for arm, seed in each:
        path = run / "arms" / arm / f"seed-{seed}" / "log.parquet"
        logs[arm, seed] = tuple(_table(path)) if path.exists() else ()
    record = Record(
        folder=run,
        plan=plan,
        base=str(told["base"]),
        words=_words(told["words"]),
        measures={measure.name: measure for measure in measures},
        manifest={name: value for name, value in manifest.items() if name not in told},
        arms=arms,
        readings=_rows(run / "behaviour" / "policies.parquet", Reading),
        shifts=_rows(run / "behaviour" / "shifts.parquet", Shift),
        agency=_rows(agency, Agency) if agency.exists() else (),
        games=_rows(games, GameRow) if games.exists() else None,
        examples=_examples(run / "behaviour" / "examples.json", each),
        logs=logs,
        changes={key: _change(run / "diff" / f"{key[0]}-seed-{key[1]}") for key in each},
        effects=tuple(
            row for arm in arms for seed in arm.seeds for row in _effects_of(run, arm, seed, measures)
        ),
        localised={key: _sections(run / "localise" / f"{key[0]}-seed-{key[1]}") for key in each},
        found={key: _found(run / "localise" / f"{key[0]}-seed-{key[1]}" / "changes.parquet") for key in each},
        contrasts=_sections(run, CONTRASTS),
        conjectures=_sections(run, CONJECTURES),
    )
    check_controls(record)
    return record


def check_controls(record: Record) -> None:
    """Refuse a record whose sets of several components have no random sets beside them.

    Single components are controls of each other; every larger set needs its own.

    Raises:
        TakebackError: names the arm, the seed, the direction and the sets that lack controls.
    """
    lacking: dict[str, list[str]] = {}
    for arm in record.arms:
        for direction in DIRECTIONS:
            rows = record.effects_of(arm, direction, arm.measure)
            for seed in arm.seeds:
                ours = [row for row in rows if row.seed == seed]
                where = f"{arm.name}, seed {seed}, {direction}"
                if not any(row.is_control for row in ours):
                    lacking[where] = ["every set"]
                    continue
                names = [
                    r.set for r in ours if not r.is_control and r.n_components > 1 and not matched(r, ours)
                ]
                if names:
                    lacking[where] = names
    if lacking:
        told = "; ".join(f"{where}: {', '.join(names)}" for where, names in lacking.items())
        raise TakebackError(
            f"no report without controls: random sets are missing for {told}; sweep with controls"
        )


def _plan(path: Path) -> Mapping[str, Any]:
    plan = read_yaml(path, f"{path.parent} is no run folder: it has no {path.name}")
    if not isinstance(plan, dict) or not isinstance(plan.get("arms"), dict) or not plan["arms"]:
        raise TakebackError(f"{path} names no arms, so there is nothing to report")
    return plan


def _told(run: Path, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the run's arena, measures, base and arms say of themselves.

    A run of the version before did not write it into its manifest: there its plan is asked again. Nothing
    else in reports knows of such runs.
    """
    if manifest.keys() >= TOLD:
        return {name: manifest[name] for name in TOLD}
    from takeback.study.plan import load_plan
    from takeback.study.record import told_by

    return told_by(load_plan(run / "plan.yaml"), run)


def _words(told: Mapping[str, Any]) -> Words:
    fields = dict(told)
    return Words(outcomes=tuple(fields.pop("outcomes")), **fields)


def _arm(
    run: Path,
    name: str,
    place: int,
    seeds: tuple[int, ...],
    about: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> Arm:
    """Make an arm from its fields in the plan and its method's account of itself."""
    fields, account = about
    path = run / "arms" / name / f"seed-{seeds[0]}" / "recipe.yaml"
    recipe = {**(read_yaml(path) if path.exists() else {}), **fields}
    if "goal" not in recipe:
        raise TakebackError(
            f"arm {name!r} of {run / 'plan.yaml'} has no goal, so its effects can't be ordered"
        )
    start = str(fields.get("parent", BASE))
    return Arm(name, place, str(recipe["goal"]), recipe, seeds, start, **account)


def _all_there(run: Path, each: Iterable[tuple[str, int]]) -> None:
    needed = ["manifest.json", "behaviour/policies.parquet", "behaviour/shifts.parquet"]
    for arm, seed in each:
        needed += [f"diff/{arm}-seed-{seed}/{name}.parquet" for name in ("components", "total")]
        needed.append(f"effects/{arm}-seed-{seed}.parquet")
    missing = [name for name in needed if not (run / name).exists()]
    if missing:
        raise TakebackError(f"{run} is not finished: it lacks {', '.join(missing)}; run it again, it goes on")


def _change(folder: Path) -> ArmChange:
    total = _rows(folder / "total.parquet", Moved)
    if len(total) != 1:
        raise TakebackError(f"{folder / 'total.parquet'} has {len(total)} rows instead of one; diff again")
    return ArmChange(_rows(folder / "components.parquet", MovedComponent), total[0])


def _examples(
    path: Path, each: Iterable[tuple[str, int]]
) -> Mapping[tuple[str, int], tuple[Example, ...]] | None:
    if not path.exists():
        return None
    found = read_json(path)
    return {key: tuple(map(_example, found.get(f"{key[0]}-seed-{key[1]}", ()))) for key in each}


def _example(fields: Mapping[str, Any]) -> Example:
    def mass(value: Any) -> float:
        return float(sum(value.values())) if isinstance(value, dict) else float(value)

    return Example(
        situation=str(fields["situation"]),
        board=fields.get("board") or {},
        distance=float(fields["distance"]),
        before=tuple((str(action), float(p)) for action, p in fields["before"]),
        after=tuple((str(action), float(p)) for action, p in fields["after"]),
        illegal_before=mass(fields["illegal_before"]),
        illegal_after=mass(fields["illegal_after"]),
    )


def _sections(folder: Path, names: Sequence[str] = LOCALISED) -> tuple[Section, ...]:
    """Return what commands found, by default of how a change is made, as they drew it; of none nothing."""
    manifests = [path for name in names if (path := folder / f"{name}.json").exists()]
    return tuple(section for path in manifests for section in _sections_of(path))


def _sections_of(path: Path) -> list[Section]:
    told = "remove it and run the plan again"
    with fields_of(path, "a result's manifest", told):
        return [Section.of(section) for section in read_json(path)["sections"]]


def _found(path: Path) -> Mapping[str, Mapping[str, float]]:
    return {row["measure"]: row for row in _table(path)} if path.exists() else {}


def _rows(path: Path, kind: type[R]) -> tuple[R, ...]:
    return kind.read(_table(path), path)


def _effects_of(run: Path, arm: Arm, seed: int, measures: Sequence[MeasureAccount]) -> tuple[Effect, ...]:
    """Read the effects that are drawn, a small part of a table that may have millions."""
    path = run / "effects" / f"{arm.name}-seed-{seed}.parquet"
    table = read_table(path)
    if {"measure", "direction"} <= set(table.columns):
        kinds = table["measure"].isin([one.name for one in measures if one.is_of_kind])
        own = [one.name for one in measures if one.reference]
        drawn = table["measure"].isin([arm.measure, LEGAL.name, KL.name, *own])
        table = table[drawn | (kinds & (table["direction"] == TAKE_BACK))]
    return Effect.read(records(table), path)


def _table(path: Path) -> list[dict[str, Any]]:
    return records(read_table(path))
